"""Networks of constant depth are trained on connectivity and on S5, and their accuracy is measured.

What comes out depends on the training, which may miss weights that would do better: low accuracy proves
nothing about what such a network could compute. High accuracy at small sizes contradicts no theorem, for
theorems speak of size growing without bound. The experiment illustrates chapter 19.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch

from hopspec.properties.depth.network import ConstantDepth
from hopspec.properties.depth.tasks import Batch, cycle_batch, word_batch
from hopspec.reference.hardness.words import DEGREE, PERMUTATIONS

__all__ = ["Accuracy", "Plan", "Task", "run"]

Task = Literal["connectivity", "S5"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is trained.

    Args:
        widths: of the networks.
        layers: the depth of all of them.
        vertices: sizes of graphs, even numbers; each has a network of its own.
        letters: length of words; one network answers for all prefixes.
        graph_steps: steps of training on graphs.
        word_steps: steps of training on words.
        batch: instances in a step, drawn anew each time.
        tested: instances accuracy is measured on.
        seed: of all that is random.
    """

    widths: tuple[int, ...] = (16, 32, 64, 128)
    layers: int = 2
    vertices: tuple[int, ...] = (6, 8, 10, 12, 16, 20)
    letters: int = 10
    graph_steps: int = 300
    word_steps: int = 1500
    batch: int = 64
    tested: int = 4096
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How many answers were right.

    Args:
        task: the problem.
        width: of the network.
        size: vertices of the graph, or letters of the word.
        right: number of right answers.
        tested: number of answers.
        chance: the accuracy of guessing.
    """

    task: Task
    width: int
    size: int
    right: int
    tested: int
    chance: float

    @property
    def share(self) -> float:
        """Right answers among all."""
        return self.right / self.tested


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything measured, and with which plan."""

    plan: Plan
    accuracies: tuple[Accuracy, ...]
    versions: dict[str, str] = field(default_factory=dict)

    def as_record(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        return asdict(self)


def run(plan: Plan, progress: Progress | None = None) -> Outcome:
    """Train and test every network of a plan.

    Args:
        plan: what to train.
        progress: called with the name of a task, the steps done and all its steps.
    """
    found = (*_graphs(plan, progress), *_words(plan, progress))
    return Outcome(plan, found, {"torch": torch.__version__})


def _graphs(plan: Plan, progress: Progress | None) -> Iterator[Accuracy]:
    total = len(plan.widths) * len(plan.vertices) * plan.graph_steps
    done = 0
    for width in plan.widths:
        for vertices in plan.vertices:
            generator = torch.Generator().manual_seed(plan.seed)

            def draw(count: int, n: int = vertices, source: torch.Generator = generator) -> Batch:
                return cycle_batch(count, n, source)

            torch.manual_seed(plan.seed)
            network = ConstantDepth(2 * vertices, vertices, width, plan.layers, 1, 2, causal=False)
            for _ in _train(network, draw, plan.batch, plan.graph_steps):
                done += 1
                if progress is not None:
                    progress("connectivity", done, total)
            (right,) = _right(network, draw(plan.tested), torch.tensor([[0], [1]]))
            yield Accuracy("connectivity", width, vertices, right, plan.tested, 0.5)


def _words(plan: Plan, progress: Progress | None) -> Iterator[Accuracy]:
    total = len(plan.widths) * plan.word_steps
    permutations = torch.tensor(PERMUTATIONS)
    done = 0
    for width in plan.widths:
        generator = torch.Generator().manual_seed(plan.seed)

        def draw(count: int, source: torch.Generator = generator) -> Batch:
            return word_batch(count, plan.letters, source)

        torch.manual_seed(plan.seed)
        network = ConstantDepth(DEGREE**2, plan.letters, width, plan.layers, DEGREE, DEGREE, causal=True)
        for _ in _train(network, draw, plan.batch, plan.word_steps):
            done += 1
            if progress is not None:
                progress("S5", done, total)
        for size, right in enumerate(_right(network, draw(plan.tested), permutations), 1):
            yield Accuracy("S5", width, size, right, plan.tested, 1 / len(PERMUTATIONS))


def _train(network: ConstantDepth, draw: Callable[[int], Batch], batch: int, steps: int) -> Iterator[None]:
    """Adam with a rate that falls to 0 like a cosine, one batch of new instances a step."""
    adam = torch.optim.Adam(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 3e-3, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        drawn = draw(batch)
        loss = torch.nn.functional.cross_entropy(network(drawn.tokens).flatten(0, 2), drawn.answers.flatten())
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        adam.step()
        schedule.step()
        yield


def _right(network: ConstantDepth, tested: Batch, allowed: torch.Tensor) -> list[int]:
    """How many answers are right, for each of an instance.

    Args:
        network: what is tested.
        tested: on which instances.
        allowed: the answers there are, ``[number, parts]``; of these the one with the largest score counts.
    """
    with torch.no_grad():
        scores = network(tested.tokens)
        sums = sum(scores[..., part, allowed[:, part]] for part in range(allowed.shape[1]))
    guessed = allowed[torch.as_tensor(sums).argmax(-1)]
    return [int(count) for count in (guessed == tested.answers).all(-1).sum(0)]
