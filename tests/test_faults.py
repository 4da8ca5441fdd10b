"""The planted faults: each is killed by the properties it names, and every property kills one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch

from hopspec.properties.checks import CHECKS, Check
from hopspec.properties.faults import FAULTS, KINDS, RIGHT, Fault
from hopspec.properties.faults.kernel import DTYPES
from hopspec.properties.host import InProcessHost
from hopspec.properties.judgement import Case
from hopspec.properties.kills.hunting import SharingRun, families_of
from hopspec.properties.results import Cell, Report, Verdict
from hopspec.properties.runner import Options, verify
from hopspec.properties.subject import Subject
from hopspec.types import Implementation

# Properties on real data repeat others of the same clause.
DRAWN = {c.name: c for c in CHECKS if c.family != "digits"}
SEEDS = 3
# What merging the results of parts can break.
MERGED_CLAUSES = (
    "MHN-BND-2",
    "MHN-BND-3",
    "MHN-BND-6",
    "MHN-BND-8",
    "MHN-ENE-7",
    "MHN-LSE-2",
    "MHN-MSK-2",
    "MHN-MSK-4",
    "MHN-NFI-1",
    "MHN-NFI-3",
)
# The right kernel in the attention form has tests of its own.
ATTENTION_CHECKS = {name for name, check in DRAWN.items() if check.clause.startswith("MHN-ATT-")}
BATCH_CHECKS = {name for name, check in DRAWN.items() if check.clause == "MHN-DOM-9"}
# A clause shares its cases among its properties.
EXAMPLES = 44


def survey(
    target: str,
    dtype: str,
    clauses: tuple[str, ...] = (),
    *,
    isolated: bool = False,
    examples: int = EXAMPLES,
) -> Report:
    """Verify one implementation in one dtype."""
    return verify(
        Options(
            targets=(target,),
            dtypes=(dtype,),
            profile="quick",
            shrink=False,
            clauses=clauses,
            examples=examples if clauses else None,
            in_process=not isolated,
            timeout=1.0,
        )
    )


class UntilBroken(SharingRun):
    """A run in which a property gets no more cases once it has failed."""

    def _judge(self, cell: Cell, check: Check, case: Case, subject: Subject) -> None:
        super()._judge(cell, check, case, subject)
        if cell.broken:
            cell.needed = min(cell.needed, cell.cases)


def until_broken(target: str, dtype: str, clauses: tuple[str, ...]) -> Report:
    """What :func:`survey` finds, as soon as it is found."""
    options = Options((target,), (dtype,), profile="quick", shrink=False, clauses=clauses, examples=EXAMPLES)
    run = UntilBroken(options, [Subject(InProcessHost(target), options)], Report(settings={**vars(options)}))
    for family in families_of(run.checks):
        run.take(family)
        run.explore(family, lambda *_: None)
    return run.report


@pytest.mark.parametrize("dtype", DTYPES)
def test_right_kernel_passes(dtype: str) -> None:
    report = survey("hopspec.properties.faults:RIGHT", dtype)
    assert [(c.check, c.failure) for c in report.failures] == []
    assert report.exit_status == 0
    assert {c.check for c in report.cells if c.verdict is Verdict.NOT_CLAIMED} <= {
        "saturated_retrieval_is_bitwise",
        "update_is_correctly_rounded",
        "means_are_correctly_rounded",
        "merged_parts_within_bounds",
        "swamped_sums_within_bound",
        *BATCH_CHECKS,
        *ATTENTION_CHECKS,
    }


@pytest.mark.parametrize("dtype", DTYPES)
def test_right_merging_passes(dtype: str) -> None:
    report = survey("hopspec.properties.faults:RIGHT_MERGING", dtype, MERGED_CLAUSES, examples=6)
    assert [(c.check, c.failure) for c in report.failures] == []
    assert report.exit_status == 0
    judged = {c.check for c in report.cells if c.cases}
    assert "merged_parts_within_bounds" in judged


@pytest.mark.parametrize("dtype", DTYPES)
def test_right_batch_invariant_kernel_passes(dtype: str) -> None:
    report = survey("hopspec.properties.faults:RIGHT_BATCH_INVARIANT", dtype, ("MHN-DOM-9",))
    assert [(c.check, c.failure) for c in report.failures] == []
    assert report.exit_status == 0
    assert {c.check for c in report.cells if c.cases} == BATCH_CHECKS


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_fault_is_killed_by_each_property_it_names(fault: Fault) -> None:
    clauses = tuple(sorted({DRAWN[name].clause for name in fault.killed_by}))
    if fault.isolated:
        report = survey(f"fault:{fault.name}", fault.dtype, clauses, isolated=True)
    else:
        report = until_broken(f"fault:{fault.name}", fault.dtype, clauses)
    assert set(fault.killed_by) - {c.check for c in report.broken} == set()
    assert report.exit_status == 1


def test_every_property_kills_a_fault() -> None:
    assert set(DRAWN) - {name for fault in FAULTS.values() for name in fault.killed_by} == set()


def test_faults_are_of_every_kind_and_claim_what_the_right_kernel_does() -> None:
    kinds = Counter(fault.kind for fault in FAULTS.values())
    assert min(kinds[kind] for kind in KINDS) >= 5
    assert len(FAULTS) >= 60
    for fault in FAULTS.values():
        assert fault.killed_by, fault.name
        assert fault.dtype in fault.implementation.capabilities.dtypes
        assert fault.what.endswith("."), fault.name
        if fault.implementation.settle is not None:
            claimed = replace(fault.implementation.capabilities, batch_invariant=False)
            assert claimed == RIGHT.capabilities


def results(implementation: Implementation[torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    """Everything an implementation computes for one draw of normal bfloat16 inputs."""
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(4, 16, generator=generator).bfloat16()
    memory = torch.randn(64, 16, generator=generator).bfloat16()
    found = {"retrieve": implementation.retrieve(query, memory, beta=0.25)}
    for name in ("association", "log_normalizer", "energy"):
        function = getattr(implementation, name)
        if function is not None:
            found[name] = function(query, memory, beta=0.25)
    if implementation.evaluate is not None:
        values = torch.randn(64, 16, generator=generator).bfloat16()
        evaluated = implementation.evaluate(query, memory, beta=0.25, values=values)
        found |= {f"evaluate {name}": part for name, part in evaluated._asdict().items()}
    if implementation.settle is not None:
        found["settle"] = implementation.settle(query, memory, beta=0.25, eps=2.0**-6, max_steps=40).state
    return found


def is_close(fault: Fault, expected: list[dict[str, torch.Tensor]]) -> bool:
    """Whether ``torch.testing.assert_close`` with bfloat16 defaults accepts every result of the fault."""
    for seed in range(SEEDS):
        try:
            for name, actual in results(fault.implementation, seed).items():
                torch.testing.assert_close(
                    actual, expected[seed][name], rtol=1.6e-2, atol=1e-5, check_dtype=False
                )
        except (AssertionError, TypeError):
            return False
    return True


def test_half_of_the_faults_pass_assert_close() -> None:
    expected = [results(RIGHT, seed) for seed in range(SEEDS)]
    close = [fault.name for fault in FAULTS.values() if is_close(fault, expected)]
    assert len(close) >= len(FAULTS) / 2
