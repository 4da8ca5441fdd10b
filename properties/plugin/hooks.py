"""The pytest plugin, loaded at every start of pytest wherever hopspec is installed.

So it does nothing, and imports nothing, until there is something to judge: then :mod:`.active` takes over.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from hopspec.properties.plugin.active import Active
    from hopspec.properties.plugin.declared import Conformance

_NAME = "hopspec-active"
_RUN = pytest.StashKey[str]()
_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("form", {"choices": ("retrieval", "attention"), "help": "how a plain callable is called"}),
    ("dtypes", {"action": "append", "metavar": "DTYPE", "help": "judge this dtype only; may be repeated"}),
    ("profile", {"choices": ("quick", "default", "thorough"), "help": "how much is done; quick by default"}),
    ("examples", {"type": int, "metavar": "N", "help": "cases per property and dtype"}),
    ("seed", {"type": int, "metavar": "N", "help": "seed of every draw"}),
    ("model", {"metavar": "NAME", "help": "accuracy model to judge under"}),
    ("device", {"metavar": "NAME", "help": "device the implementations run on"}),
    ("timeout", {"type": float, "metavar": "SECONDS", "help": "how long one call may take"}),
    ("expected", {"metavar": "FILE", "help": "TOML file of expected failures"}),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, each with an ini equivalent of the same name."""
    group = parser.getgroup("hopspec", "conformance with the specification of modern Hopfield networks")
    group.addoption(
        "--hopspec-implementation",
        dest="hopspec_implementation",
        action="append",
        metavar="NAME",
        help="judge package.module:object, file.py:object or a registered name; may be repeated",
    )
    parser.addini(
        "hopspec_implementation",
        "implementations to judge where pytest is run without paths",
        type="linelist",
    )
    for name, given in _OPTIONS:
        flag = "--hopspec-dtype" if name == "dtypes" else f"--hopspec-{name}"
        group.addoption(flag, dest=f"hopspec_{name}", default=None, **given)
        parser.addini(f"hopspec_{name}", f"{given['help']}, as {flag}", default="")
    group.addoption(
        "--hopspec-json", dest="hopspec_json", metavar="FILE", help="write the report of the run to this file"
    )
    group.addoption(
        "--hopspec-in-process",
        dest="hopspec_in_process",
        action="store_true",
        help="run the implementations in the process of pytest, for debugging",
    )


def _active(config: pytest.Config) -> Active:
    found: Active | None = config.pluginmanager.get_plugin(_NAME)
    if found is None:
        from hopspec.properties.plugin.active import Active  # noqa: PLC0415  (half a second)

        found = Active(config)
        config.pluginmanager.register(found, _NAME)
    return found


def named(config: pytest.Config) -> list[str]:
    """Implementations that the command line names, or the ini file where pytest is run without paths."""
    given: list[str] | None = config.getoption("hopspec_implementation")
    if given is not None:
        return given
    narrowed = config.args_source is pytest.Config.ArgsSource.ARGS
    ini: list[str] = config.getini("hopspec_implementation")
    return [] if narrowed else ini


def pytest_configure(config: pytest.Config) -> None:
    """Take note of the marker, and begin where implementations are named.

    Raises:
        pytest.UsageError: if the report cannot be written where it is asked for.
    """
    path: str | None = config.getoption("hopspec_json")
    if path is not None:
        from hopspec.properties.reporting.files import check_writable  # noqa: PLC0415  (only where there is one)

        try:
            check_writable({"--hopspec-json": config.invocation_params.dir / path})
        except ValueError as error:
            raise pytest.UsageError(str(error)) from None
    config.addinivalue_line("markers", "hopspec: one clause of the hopspec specification in one dtype")
    if named(config):
        _active(config)


def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> list[pytest.Item] | None:
    """Items of a conformance test."""
    home = sys.modules.get("hopspec.properties.plugin.declared")
    if home is None or type(obj) is not home.Conformance:
        return None
    return _active(collector.config).items(collector, name, cast("Conformance", obj))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """With xdist: know the folder that its workers will share, if they come to share one."""
    node.config.stash[_RUN] = node.workerinput["testrunuid"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was judged, and how near to its bounds."""
    reports = [
        report
        for reports in terminalreporter.stats.values()
        for report in reports
        if any(key == "hopspec_implementation" for key, _ in getattr(report, "user_properties", ()))
    ]
    if reports:
        from hopspec.properties.plugin.summary import summarise  # noqa: PLC0415  (only where there is one)

        summarise(reports, terminalreporter)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With xdist: collect what the workers have left."""
    run = session.config.stash.get(_RUN, None)
    if run is not None:
        from hopspec.properties.plugin.sharing import collect, shared_folder  # noqa: PLC0415

        collect(session.config, shared_folder(run))
