"""The experiment with networks of constant depth, at toy size: its instances, its counts, its outputs."""

import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from typer.testing import CliRunner

from hopspec.properties.cli import app
from hopspec.properties.depth.drawing import draw
from hopspec.properties.depth.experiment import Plan, run
from hopspec.properties.depth.network import ConstantDepth
from hopspec.properties.depth.tasks import cycle_batch, word_batch
from hopspec.reference.hardness import Graph, connected, product
from hopspec.reference.hardness.words import PERMUTATIONS

TOY = Plan(
    widths=(4, 8), layers=1, vertices=(6, 8), letters=3, graph_steps=2, word_steps=2, batch=4, tested=64
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other take longer than networks of this size."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_words_have_the_products_of_their_prefixes() -> None:
    batch = word_batch(20, 5, torch.Generator().manual_seed(0))
    assert batch.tokens.shape == (20, 5, 25)
    assert batch.answers.shape == (20, 5, 5)
    for tokens, answers in zip(batch.tokens, batch.answers.tolist(), strict=True):
        letters = [tuple(matrix.argmax(1).tolist()) for matrix in tokens.unflatten(1, (5, 5))]
        assert set(letters) <= set(PERMUTATIONS)
        assert [tuple(answer) for answer in answers] == [product(tuple(letters[: k + 1])) for k in range(5)]


def test_graphs_are_one_cycle_or_two() -> None:
    batch = cycle_batch(40, 8, torch.Generator().manual_seed(0))
    answers = batch.answers.flatten().tolist()
    assert {0, 1} == set(answers)
    for tokens, answer in zip(batch.tokens, answers, strict=True):
        edges, own = tokens.chunk(2, 1)
        assert torch.equal(own, torch.eye(8))
        assert torch.equal(edges, edges.T)
        assert edges.sum(0).tolist() == [2.0] * 8
        pairs = sorted((a, b) for a, b in edges.nonzero().tolist() if a < b)
        assert connected(Graph(8, tuple(pairs))) == bool(answer)


def test_a_causal_network_does_not_look_ahead() -> None:
    torch.manual_seed(0)
    network = ConstantDepth(25, 4, 8, 2, 5, 5, causal=True)
    tokens = word_batch(3, 4, torch.Generator().manual_seed(1)).tokens
    other = tokens.clone()
    other[:, 3] = other[:, 3].flip(-1)
    before, after = network(tokens), network(other)
    assert before.shape == (3, 4, 5, 5)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3], after[:, 3])


def test_a_plan_gives_an_accuracy_for_every_size_and_width(tmp_path: Path) -> None:
    stages: list[tuple[str, int, int]] = []
    outcome = run(TOY, lambda *stage: stages.append(stage))
    sizes = [(a.task, a.width, a.size) for a in outcome.accuracies]
    graphs = [("connectivity", width, size) for width in (4, 8) for size in (6, 8)]
    assert sizes == graphs + [("S5", width, size) for width in (4, 8) for size in (1, 2, 3)]
    assert all(0 <= a.right <= a.tested == 64 for a in outcome.accuracies)
    assert stages[-1] == ("S5", 4, 4)
    assert run(TOY).accuracies == outcome.accuracies
    draw(outcome, tmp_path / "plot.svg")
    text = "".join(ElementTree.parse(tmp_path / "plot.svg").getroot().itertext())
    assert "width 8" in text
    assert "guessing" in text


def test_training_learns_what_is_easy() -> None:
    easy = Plan(widths=(16,), layers=1, vertices=(), letters=1, word_steps=60, batch=64, tested=500)
    (one,) = run(easy).accuracies
    assert one.share > 10 * one.chance


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    file, plot = tmp_path / "depth.json", tmp_path / "depth.svg"
    words = [
        "depth",
        "--width",
        "4",
        "--steps",
        "1",
        "--layers",
        "1",
        "--json",
        str(file),
        "--plot",
        str(plot),
    ]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "guessing gives 50.0 %" in result.output
    assert "guessing gives 0.8 %" in result.output
    assert json.loads(file.read_text(encoding="utf-8"))["plan"]["widths"] == [4]
    assert plot.exists()
    refused = CliRunner().invoke(app, ["depth", "--plot", str(tmp_path / "none" / "depth.svg")])
    assert refused.exit_code == 2
