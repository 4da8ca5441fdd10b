"""The page of a report: in a real browser, and as a document."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from browser import chromium, look, must_be_there
from reports import mixed

from hopspec.clauses import load_clauses
from hopspec.properties.reporting.page import as_page
from hopspec.properties.reporting.plots import COLOURS, power, scatter_plot, tightness_plot
from hopspec.properties.results import Point, Report

HERE = Path(__file__).parent
MEGABYTE = 2**20
WIDTHS = (1280, 360)
# Elements that must not be closed.
VOID = {"meta", "link", "br", "input", "img", "path", "use"}


@pytest.fixture(autouse=True)
def _kernels_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


@pytest.fixture(scope="module")
def page() -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        return as_page(mixed())


def rows_of(report: Report) -> set[tuple[str, str, str]]:
    return {(c.clause, c.implementation, c.dtype) for c in report.cells}


PROBE = (HERE / "report_page_probe.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def seen(page: str, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    if chromium() is None:
        if must_be_there():
            pytest.fail("no Chromium, and CI or HOPSPEC_NEEDS_BROWSER is set; .ci/run installs one")
        pytest.skip("no Chromium on the search path: apt-get install chromium")
    found, console = look(page, PROBE, WIDTHS, tmp_path_factory.mktemp("browser"))
    assert console == []
    assert all(isinstance(result, dict) for result in found), found
    return found


def test_every_row_is_there_and_can_be_filtered(seen: list[Any]) -> None:
    report = mixed()
    verdicts = [report.verdict(*at).value for at in rows_of(report)]
    for result in seen:
        assert result["rows"] == len(verdicts) == len(result["again"]["rows"])
        assert sorted(result["again"]["rows"]) == sorted(verdicts)
        assert result["broken"]["rows"] == ["BROKEN"] * verdicts.count("BROKEN")
        assert result["broken"]["text"] == f"{verdicts.count('BROKEN')} of {len(verdicts)} rows"
        assert len(result["searched"]["rows"]) == 3
        assert result["nothing"] == {"rows": [], "text": f"0 of {len(verdicts)} rows"}
        assert result["traces"] == len(load_clauses())


def test_what_is_broken_comes_first(seen: list[Any]) -> None:
    order = seen[0]["again"]["rows"]
    assert order == sorted(order, key=["BROKEN", "holds", "not claimed"].index)
    assert seen[0]["sections"][:3] == ["summary", "counterexamples", "verdicts"]


def test_figures_are_drawn(seen: list[Any]) -> None:
    for result, width in zip(seen, WIDTHS, strict=True):
        # Three kernels, two dtypes: tightness, energies along trajectories, two plots for each error bound.
        assert len(result["figures"]) == 6 + 6 + 2 * (2 * 2 + 2 * 2 + 2)
        assert all(200 < w < width and h > 60 for w, h in result["figures"]), result["figures"]
        assert all(marks > 5 for marks in result["inked"])
        assert not {"rgb(255, 255, 255)", result["background"]} & {*result["colours"]}
        assert len(result["colours"]) >= 6


def test_nothing_sticks_out(seen: list[Any]) -> None:
    for result in seen:
        assert result["wide"] == []
        assert result["overflow"] <= 0


def test_links_lead_somewhere_and_snippets_can_be_copied(seen: list[Any]) -> None:
    for result in seen:
        assert result["links"] == []
        assert result["button"] == "Copied"
        assert result["code"].startswith("import torch")
        assert result["selected"].split() == result["code"].split()


def test_tables_have_headers_and_figures_have_names(seen: list[Any]) -> None:
    for result in seen:
        assert all(result["names"])
        assert all(columns == cells > 0 for columns, cells in result["headers"])


class Outline(HTMLParser):
    """Collects tags, and what they refer to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.identities: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag that must be closed."""
        self.references += [str(v) for k, v in attrs if k in ("src", "href", "xlink:href", "action", "data")]
        self.identities += [str(v) for k, v in attrs if k == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag without content refers to."""
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        """Check that tags are closed in order."""
        if tag not in VOID:
            assert self.open.pop() == tag


def test_the_page_needs_nothing_else(page: str) -> None:
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    assert all(reference.startswith("#") for reference in outline.references)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert not any(colour in page for colour in COLOURS.values())
    assert "default-src 'none'" in page
    assert len(page) < 3 * MEGABYTE
    own = [i for i in outline.identities if not re.fullmatch(r"[mpC][0-9a-z_]+", i)]
    assert len(own) == len({*own})


def test_a_page_says_what_an_implementation_says_and_no_more() -> None:
    report = copy.deepcopy(mixed())
    for cell in report.broken:
        assert cell.failure is not None
        cell.failure.kind, cell.failure.what = "raised", "<script>alert('&')</script>"
    report.complaints = ["<b>expired</b>"]
    report.interrupted = True
    page = as_page(report)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert "&lt;b&gt;expired" in page
    assert "Interrupted" in page


def test_a_report_without_anything_is_a_page() -> None:
    page = as_page(Report(settings={"profile": "quick"}, unusable={"x:f": "cannot be imported"}))
    assert "x:f could not be verified: cannot be imported" in page
    assert "Nothing was measured" in page


def test_plots_of_nothing_are_nothing() -> None:
    assert tightness_plot([]) == ""
    assert scatter_plot([Point(3, 2, -1.0, 1.0, 1.0, 1e-9, 1e-8)], "beta", "") == ""
    assert [power(10.0**k) for k in (-7, -2, 0, 3, 12)] == ["10⁻⁷", "0.01", "1", "1000", "10¹²"]
