"""What this machine can do at most: bytes, products, exponentials, and how long the least call takes.

The ceilings are those of PyTorch's own operators, each on an input that suits it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch.nn.functional import scaled_dot_product_attention

from hopspec.properties.bench.measure import Contender, take_turns
from hopspec.properties.bench.record import Figure
from hopspec.properties.reporting.terminal import Progress

__all__ = ["BANDWIDTH", "CALL", "CEILING", "EXP", "OPERATOR", "PRODUCT", "measure", "product", "use_threads"]

CEILING = "ceiling"
BANDWIDTH, PRODUCT, EXP, CALL = "GB/s", "GFLOP/s", "10^9/s", "us"
OPERATOR = "operator on one number"

# Numbers in an array far larger than the last cache, and in one that the cache of a core holds.
LARGE, SMALL = 1 << 26, 1 << 17
SIDE = 1024
TURN = 0.01


@dataclass(frozen=True)
class Probe:
    """An operator on an input that suits it.

    Args:
        name: name of the ceiling.
        unit: of the rate, or :data:`CALL` where the time itself counts.
        amount: what one call is worth, in units of 10^9.
        call: the operator.
    """

    name: str
    unit: str
    amount: float
    call: Callable[[], object]


def measure(threads: int, rounds: int, progress: Progress) -> list[Figure]:
    """The ceilings with one thread and with ``threads``, one value per round.

    Args:
        threads: how many.
        rounds: rounds of every measurement.
        progress: told about every ceiling.
    """
    found = []
    for count in dict.fromkeys((1, threads)):
        detail = f"{count} thread{'s' * (count > 1)}"
        probes = list(_probes())
        with use_threads(count):
            for done, probe in enumerate(probes):
                progress(f"ceilings, {detail}", done, len(probes))
                contender = Contender(probe.name, partial(_ready, probe.call))
                (timed,) = take_turns([contender], rounds, turn=TURN)
                values = (1e6 * x if probe.unit == CALL else probe.amount / x for x in timed.seconds)
                found.append(Figure(CEILING, probe.name, detail, probe.unit, tuple(values)))
        progress(f"ceilings, {detail}", len(probes), len(probes))
    return found


def product(dtype: str) -> str:
    """Name of the ceiling of matrix products in a dtype."""
    return f"product of matrices, {dtype}"


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Give PyTorch so many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _probes() -> Iterator[Probe]:
    source = torch.Generator().manual_seed(0)
    large = torch.randn(LARGE, generator=source)
    size = 4e-9 * LARGE
    yield Probe("sum of a large array", BANDWIDTH, size, large.sum)
    yield Probe("copy of a large array", BANDWIDTH, 2 * size, partial(torch.empty_like(large).copy_, large))
    for dtype in ("float32", "bfloat16"):
        square = torch.randn(SIDE, SIDE, generator=source).to(getattr(torch, dtype))
        yield Probe(product(dtype), PRODUCT, 2e-9 * SIDE**3, partial(torch.mm, square, square))
    small = torch.randn(SMALL, generator=source)
    yield Probe("exp", EXP, 1e-9 * SMALL, partial(torch.exp, small, out=torch.empty_like(small)))
    one = torch.ones(1)
    yield Probe(OPERATOR, CALL, 0.0, partial(torch.add, one, one, out=torch.empty(1)))
    token = torch.ones(1, 1, 1, 64)
    attention = partial(scaled_dot_product_attention, token, token, token)
    yield Probe("attention, one query and one memory", CALL, 0.0, attention)


def _ready(call: Callable[[], object]) -> Callable[[], object]:
    return call
