"""The page on the pytest plugin: its examples, run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import hopspec.properties.plugin.active  # noqa: F401  (once, and not by every run)
from hopspec.properties.plugin import hooks

pytest_plugins = ["pytester"]

PAGE = (Path(__file__).parent.parent / "docs" / "pytest-plugin.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """The project of the page."""
    kernel, test, _ = blocks("python")
    pytester.makepyfile(mykernel=kernel, test_mykernel=test)
    (pytester.path / "expected.toml").write_text(blocks("toml")[0])
    monkeypatch.syspath_prepend(str(pytester.path))
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    others = ("-p", "no:hopspec", "-p", "no:hypothesispytest", "-p", "no:cov")
    return project.runpytest_inprocess(*others, "--hopspec-in-process", *arguments, plugins=[hooks])


def shape(text: str) -> list[str]:
    """Lines without their numbers, which change with the problems that are drawn."""
    return [
        re.sub(r"[-+]?\d[\d.]*(e[-+]\d+)?|memor(y|ies)|\w+(?=, broken in)", "#", line)
        for line in text.splitlines()
    ]


def test_a_broken_clause_is_shown_as_on_the_page(project: pytest.Pytester) -> None:
    result = run(project, "-k", "hasty and BND-2-")
    (shown,) = blocks("text")
    lines = [re.sub(r"\[\[.*\]\]", "[]", line) for line in shape(shown)]
    got = [re.sub(r"\[\[.*\]\]", "[]", line) for line in shape(result.stdout.str())]
    start = got.index(lines[0])
    assert got[start : start + len(lines)] == lines


def test_the_expected_failure_of_the_page(project: pytest.Pytester) -> None:
    selection = "BND-2-float32 or expected"
    assert run(project, "-k", selection).parseoutcomes()["failed"] == 1
    outcomes = run(project, "-k", selection, "--hopspec-expected=expected.toml").parseoutcomes()
    assert (outcomes["xfailed"], outcomes["passed"]) == (1, 1)
    assert "failed" not in outcomes


def test_every_option_is_on_the_page(project: pytest.Pytester) -> None:
    help_ = run(project, "--help").stdout.str()
    flags = set(re.findall(r"--hopspec-[a-z-]+", help_))
    assert len(flags) == 12
    assert flags == set(re.findall(r"--hopspec-[a-z-]+", PAGE))
    inis = set(re.findall(r"^  (hopspec_\w+)", help_, re.MULTILINE))
    assert inis == set(re.findall(r"`(hopspec_\w+)`", PAGE))


def test_claims_beside_a_function() -> None:
    namespace: dict[str, object] = {}
    exec(blocks("python")[2], namespace)
    assert callable(namespace["retrieve"])
