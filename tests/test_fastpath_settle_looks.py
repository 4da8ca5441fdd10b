"""How often settling looks at its results: each look makes a device wait for the host."""

from typing import Any

import pytest
import torch
from looks import Looks
from torch import Tensor

from hopspec.fastpath import _flash, _iterate, settle

pytestmark = pytest.mark.usefixtures("one_thread")


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("route", ["plain", "masks", "strides", "leading"])
def test_at_most_one_look_in_a_step(route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    query, memory = draw(1, 30, 5), draw(2, 11, 5)
    keep = None
    if route == "masks":
        keep = draw(3, 30, 11) > 0
        keep[4] = False
    elif route == "strides":
        memory = torch.stack((memory, memory), -1)[..., 0]
    elif route == "leading":
        query, memory = draw(1, 3, 10, 5), draw(2, 3, 11, 5)
    looks = Looks()
    kernel = _flash.FLASH
    assert kernel is not None

    def counted(*args: Any, **options: Any) -> tuple[Tensor, Tensor]:
        looks.update()
        return kernel(*args, **options)

    monkeypatch.setattr(_flash, "FLASH", counted)
    step = _iterate._Walk.step
    numbers: list[int] = []

    def watched(walk: _iterate._Walk) -> _iterate._Step:
        done = step(walk)
        numbers.append(done.number)
        return done

    monkeypatch.setattr(_iterate._Walk, "step", watched)
    with looks:
        settled = settle(query, memory, beta=0.35, keep=keep, eps=1e-3, max_steps=300)
    assert len(set(settled.steps.flatten().tolist())) > 5
    assert len(numbers) > 10
    # Before the first update come looks at the arguments, after it one more at its results.
    assert max(looks.before[2 : len(numbers)]) <= 1
    assert sum(looks.before[2 : len(numbers)]) > 5
