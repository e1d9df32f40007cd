"""`conformance run`: the suites, on all backends, with a progress bar and a verdict table."""

from __future__ import annotations

import difflib
import os
import secrets
from pathlib import Path

import click
import pytest

from conformance import pytest_plugin
from conformance.case.wire import one_line
from conformance.commands.options import (
    backend_option,
    cases_option,
    config_option,
    image_option,
    no_known_option,
    output_file,
)
from conformance.engine.files import check_writable
from conformance.engine.harness import Harness
from conformance.errors import ConformanceError, InvalidArgument, InvalidInput
from conformance.judge.verdict import Status
from conformance.report.console import RunConsole

__all__ = ["exit_status", "run", "suites"]

_SUITES = Path(__file__).resolve().parent.parent / "suites"


def suites() -> dict[str, Path]:
    """The suites there are: name and pytest file."""
    return {
        path.stem.removeprefix("test_").replace("_", "-"): path
        for path in sorted(_SUITES.glob("test_*.py"))
    }


def _suite_files(names: tuple[str, ...]) -> list[Path]:
    known = suites()
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InvalidArgument(f"no suite {name!r}; known: {', '.join(known)}{hint}")
    return [known[name] for name in names] if names else list(known.values())


class _Plugin:
    """Connects pytest's session with the console, in place of pytest's own reporting."""

    def __init__(self, console: RunConsole) -> None:
        self.console = console
        self.harness: Harness | None = None
        self.problems: list[str] = []
        self.error: ConformanceError | None = None

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        state = pytest_plugin.run_state(session.config)
        state.listener = self.console

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Make the harness now: what is wrong with it is the user's to hear first."""
        state = pytest_plugin.run_state(session.config)
        try:
            self.harness = state.get()
        except ConformanceError as error:
            self.error = error
            raise session.Failed(str(error)) from error  # ends the session without a word
        items = [item for item in session.items if item.get_closest_marker("skip") is None]
        single = sum("generated" not in item.name for item in items)
        generated = len(items) - single
        total = single + generated * self.harness.cases
        self.console.begin(self.harness, state.usable, state.images, total)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
        outcome = yield
        if call.excinfo is not None and not call.excinfo.errisinstance(
            (pytest.fail.Exception, pytest.skip.Exception, KeyboardInterrupt)
        ):
            self.problems.append(f"{item.name}: {call.excinfo.exconly()}")
        return outcome

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.problems.append(str(report.longrepr).strip().splitlines()[-1])


def exit_status(harness: Harness) -> int:
    """0 all agree but for what is known, 1 a divergence or a stale known one, 3 inconclusive."""
    if harness.verdicts[Status.DIVERGE] or harness.stale:
        return 1
    open_ = harness.verdicts[Status.INCONCLUSIVE] + harness.verdicts[Status.FLAKY]
    passed = harness.verdicts[Status.AGREE] + harness.verdicts[Status.KNOWN]
    return 3 if open_ or not passed else 0


@click.command(
    epilog="""\b
Examples:
  conformance run
  conformance run --suite frames --cases 200 --seed 7 --json out.json
  conformance run --backend qemu --backend unicorn
  conformance run --suite faults --no-known
  conformance run --map my-machine.toml --map /sys/firmware/memmap --cases 1000
"""
)
@backend_option()
@click.option(
    "--suite",
    "names",
    multiple=True,
    metavar="NAME",
    help="Suite; may be given again. [default: all]",
)
@cases_option()
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    metavar="S",
    help="Seed of the generation. [default: random, and printed]",
)
@click.option(
    "--map",
    "maps",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Memory map (map file, boot log, /proc/iomem, /sys/firmware/memmap) to use instead of the "
    "fixtures and the generated ones; may be given again.",
)
@image_option()
@config_option()
@no_known_option()
@output_file("--json", "json_file", "Write the result as JSON.")
@output_file("--junit", "junit", "Write the result as JUnit XML.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("conformance-results"),
    show_default=True,
    metavar="DIR",
    help="Where divergences go.",
)
def run(
    backends: tuple[str, ...],
    names: tuple[str, ...],
    cases: int,
    seed: int | None,
    maps: tuple[Path, ...],
    image: Path | None,
    config: Path | None,
    no_known: bool,
    json_file: Path | None,
    junit: Path | None,
    out: Path,
) -> int:
    """Run suites on all backends and compare."""
    files = _suite_files(names)
    for path in (out, json_file, junit):
        if path is not None:
            check_writable(path)
    seed = secrets.randbits(32) if seed is None else seed
    words: list[object] = [*files, "--cases", cases, "--conformance-seed", seed]
    words += ["--conformance-out", out.absolute(), "--rootdir", Path.cwd()]
    for flag, value in (
        ("--conformance-image", image),
        ("--conformance-config", config),
        ("--conformance-json", json_file),
        ("--junit-xml", junit),
    ):
        words += [] if value is None else [flag, value.absolute()]
    words += ["--conformance-no-known"] if no_known else []
    for name in backends:
        words += ["--backend", name]
    for path in maps:
        words += ["--conformance-map", _readable(path)]
    # None of the user's pytest settings or plugins has a say here.
    words += ["-c", os.devnull, "-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:warnings"]
    words += ["-p", "no:logging", "-p", "no:faulthandler", "--import-mode=importlib"]
    # The console prints while tests run.
    words += ["--capture=no"]
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ.pop("PYTEST_ADDOPTS", None)
    console = RunConsole()
    plugin = _Plugin(console)
    with console:
        status = pytest.main([str(word) for word in words], plugins=[pytest_plugin, plugin])
    return _conclude(plugin, console, status, json_file, junit)


def _readable(path: Path) -> Path:
    from conformance.case.importers import import_map

    import_map(path)  # an error here is one line, before anything is started
    return path.absolute()


def _conclude(
    plugin: _Plugin, console: RunConsole, status: int, json_file: Path | None, junit: Path | None
) -> int:
    interrupted = status == pytest.ExitCode.INTERRUPTED
    if plugin.error is not None:
        raise plugin.error
    if plugin.harness is None and interrupted:
        raise KeyboardInterrupt
    if plugin.harness is None:
        raise InvalidInput("; ".join(plugin.problems) or f"pytest ended with status {int(status)}")
    console.conclude(plugin.harness, [path for path in (json_file, junit) if path is not None])
    for problem in plugin.problems:
        click.echo(f"conformance: {one_line(problem)}", err=True)
    if interrupted:
        click.echo("conformance: interrupted; what was found before is on disk", err=True)
        return 130
    if plugin.problems or status in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR):
        return 2
    return exit_status(plugin.harness)
