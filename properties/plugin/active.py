"""The pytest plugin where there is something to judge."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Iterator
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

from hopspec.properties.plugin.board import Job, tasks_of
from hopspec.properties.plugin.declared import Conformance
from hopspec.properties.plugin.hooks import named
from hopspec.properties.plugin.items import ClauseItem, Complaint, CouldNotVerify, items_of
from hopspec.properties.plugin.plans import Place, Plan, families_of, plan_of
from hopspec.properties.plugin.pool import Lost, Pool
from hopspec.properties.plugin.sharing import TASKS, collect, shared_folder

__all__ = ["Active"]


class Implementations(pytest.Collector):
    """The implementations that the command line or the ini file names."""

    def collect(self) -> Iterator[ClauseItem]:
        """Items of all of them."""
        for name in named(self.config):
            try:
                plan = plan_of(self.config, name, {}, key=name)
            except ValueError as error:
                raise self.CollectError(str(error)) from None
            yield from items_of(self, name, plan)


class Active:
    """Collects, explores and judges.

    Args:
        config: of the test run.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.jobs: dict[str, Job] = {}
        self.plans: list[Plan] = []

    def pytest_report_header(self) -> list[str]:
        """What will be judged, as far as the command line says."""
        names = named(self.config)
        if not names:
            return []
        try:
            plan = plan_of(self.config, names[0], {}, key="")
        except ValueError:
            # The collection says so.
            return []
        options = plan.options
        try:
            torch = f"torch {version('torch')}"
        except PackageNotFoundError:
            torch = "no torch"
        model = options.model or "the model it claims or else the loosest"
        settings = f"profile {options.profile}, seed {options.seed}, {torch}"
        return [f"hopspec: {', '.join(names)} under {model}, {settings}"]

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Collect what the command line names, besides everything else."""
        report = yield
        if isinstance(collector, pytest.Session) and report.result is not None and named(self.config):
            report.result.append(Implementations.from_parent(collector, name="hopspec", nodeid="hopspec"))
        return report

    def items(
        self, collector: pytest.Module | pytest.Class, name: str, conformance: Conformance
    ) -> list[pytest.Item]:
        """Items of a conformance test in a test module."""
        module = collector if isinstance(collector, pytest.Module) else collector.getparent(pytest.Module)
        assert module is not None
        within = "" if collector is module else f"{collector.obj.__qualname__}."
        place = Place(module.path, module.obj.__name__, f"{within}{name}")
        try:
            plan = plan_of(
                self.config,
                conformance.implementation,
                conformance.settings,
                key=f"{collector.nodeid}::{name}",
                place=place,
                line=conformance.line - 1,
            )
        except ValueError as error:
            raise collector.CollectError(f"{place.attribute}: {error}") from None
        return [*items_of(collector, name, plan)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Complain about expected failures that match nothing; what is deselected later does match."""
        ours = [item for item in items if isinstance(item, ClauseItem)]
        plans = {item.plan.key: item.plan for item in ours}
        for entry in dict.fromkeys(e for plan in plans.values() for e in plan.expectations):
            speaking = [plan for plan in plans.values() if entry in plan.expectations]
            # What was not collected, or has a name that only importing it would tell, may be what is meant.
            meant = entry.implementation
            narrowed = self.config.args_source is pytest.Config.ArgsSource.ARGS
            open_ = narrowed or any(not plan.known for plan in speaking)
            if meant and open_ and not any(meant in plan.names for plan in speaking):
                continue
            if any(
                entry in i.plan.expectations and entry.covers(i.clause, i.dtype, i.plan.names) for i in ours
            ):
                continue
            name = f"expected[{entry.where}]"
            message = f"{entry} matches nothing that was collected"
            items.append(
                Complaint.from_parent(session, name=name, nodeid=f"hopspec::{name}", message=message)
            )

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Plan to explore what the selected items need, and no more."""
        chosen: dict[str, list[ClauseItem]] = {}
        for item in session.items:
            if isinstance(item, ClauseItem):
                chosen.setdefault(item.plan.key, []).append(item)
        self.plans = [items[0].plan for items in chosen.values()]
        # In an order of its own: other plugins shuffle.
        self.jobs = {
            key: items[0].plan.job(sorted({(item.clause, item.dtype) for item in items}))
            for key, items in chosen.items()
        }

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Wait for what an item needs; before marks are looked at, for it may come to have some."""
        if not isinstance(item, ClauseItem):
            return
        try:
            report = self._pool.report(self.jobs[item.plan.key], families_of(item.clause, item.dtype))
        except Lost as lost:
            raise CouldNotVerify(str(lost), pytrace=False) from None
        try:
            item.look(report)
        except CouldNotVerify:
            item.add_report_section("setup", "output of implementations", self._pool.said())
            raise

    @cached_property
    def _worker(self) -> dict[str, Any]:
        """What xdist tells its workers; nothing without it."""
        given: dict[str, Any] = getattr(self.config, "workerinput", {})
        return given

    @cached_property
    def _folder(self) -> Path:
        if not self._worker:
            return Path(tempfile.mkdtemp(prefix="hopspec-"))
        folder = shared_folder(self._worker["testrunuid"])
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    @cached_property
    def _pool(self) -> Pool:
        tasks = tasks_of(list(self.jobs.values()))
        (self._folder / TASKS).write_text(str(len(tasks)))
        cores = (os.cpu_count() or 1) // self._worker.get("workercount", 1)
        processes = max(1, min(2, cores, len(tasks)))
        here: bool = self.config.getoption("hopspec_in_process")
        pool = Pool(
            self._folder,
            tasks,
            0 if here else processes,
            preload=any(plan.preload for plan in self.plans),
        )
        self.config.add_cleanup(pool.close)
        return pool

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """End what was started."""
        if "_pool" in vars(self):
            self._pool.close()
        if "_folder" in vars(self) and not self._worker:
            collect(self.config, self._folder)
