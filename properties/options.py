"""What a run is asked to do."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PROFILES", "Options", "Profile"]


@dataclass(frozen=True)
class Profile:
    """How much is done.

    Args:
        cases: cases every claimed clause gets in every dtype.
        shared: among how many of its properties these are shared at most; where there are more, each gets
            this part of them all the same.
        observed: cases a property that is not claimed gets.
        digits: problems made of handwritten digits.
        shrink_seconds: time to look for a smaller failing input, per clause.
        shrink_total: the same, for all clauses together.
    """

    cases: int
    shared: int
    observed: int
    digits: int
    shrink_seconds: float
    shrink_total: float


PROFILES = {
    "quick": Profile(cases=10, shared=2, observed=2, digits=10, shrink_seconds=0.25, shrink_total=0.5),
    "default": Profile(cases=100, shared=3, observed=10, digits=100, shrink_seconds=2.0, shrink_total=6.0),
    # For implementations that take a hundred times as long as a library: kernels run by an interpreter.
    "interpreter": Profile(cases=10, shared=3, observed=3, digits=10, shrink_seconds=2.0, shrink_total=12.0),
    "thorough": Profile(
        cases=1000, shared=3, observed=20, digits=1000, shrink_seconds=2.0, shrink_total=60.0
    ),
}


@dataclass(frozen=True)
class Options:
    """What to verify and how.

    Args:
        targets: implementations, as the command line takes them.
        dtypes: names of formats; empty for all that are claimed.
        device: device the implementations run on.
        seed: seed of every draw; of the first run of draws, if there are several.
        seeds: how many seeds, from ``seed`` on; each gives every property all its cases.
        profile: name in :data:`PROFILES`.
        examples: cases per property and dtype, in place of the profile's.
        model: accuracy model in place of the claimed ones.
        data: ``"digits"`` adds problems on real data.
        clauses: only these clauses; empty for all.
        in_process: run the implementations in this process.
        timeout: seconds one call may take.
        shrink: whether to look for smaller failing inputs.
        jobs: processes that explore; None for two, or one a core for the thorough profile.
        descents: problems on which the energy is followed along the trajectory, for the report's figures.
        first: whether to end as soon as one claimed clause is broken, without a smaller input.
    """

    targets: tuple[str, ...]
    dtypes: tuple[str, ...] = ()
    device: str = "cpu"
    seed: int = 0
    seeds: int = 1
    profile: str = "default"
    examples: int | None = None
    model: str | None = None
    data: str | None = None
    clauses: tuple[str, ...] = ()
    in_process: bool = False
    timeout: float = 20.0
    shrink: bool = True
    jobs: int | None = None
    descents: int = 0
    first: bool = False
