"""The terminal during and after `conformance run`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from conformance.case.image import Image
from conformance.case.wire import one_line
from conformance.engine.finding import Finding
from conformance.engine.harness import Harness
from conformance.engine.setup import Probed
from conformance.judge.verdict import Status
from conformance.report.finding_text import describe, known_lines

__all__ = ["RunConsole"]

_STYLES = {
    Status.AGREE: "green",
    Status.DIVERGE: "bold red",
    Status.INCONCLUSIVE: "yellow",
    Status.FLAKY: "yellow",
    Status.KNOWN: "cyan",
}


class RunConsole:
    """A progress bar while cases run, findings as they come, a table at the end."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("cases"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=None, note="")
        self._announced: set[tuple[Status, str]] = set()
        self._usable: Sequence[Probed] = ()

    def __enter__(self) -> RunConsole:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._usable:
            self._progress.stop()

    def begin(
        self, harness: Harness, usable: Sequence[Probed], images: Sequence[Image], total: int
    ) -> None:
        """Say what is going to run, on what."""
        self._usable = usable
        names = ", ".join(f"{each.instance.name} {each.availability.version}" for each in usable)
        for image in images:
            self._print(f"image    {image.name} {image.id.sha256[:12]}")
        self._print(f"backends {names}, and the oracle")
        for skipped in harness.skipped:
            self._print(f"skipped  {skipped.what}: {skipped.reason}", "yellow")
        self._print(f"seed     {harness.seed}")
        self._progress.update(self._task, total=total)
        self._progress.start()

    def started(self, suite: str, what: str, cases: int) -> None:
        """So many cases of a suite are next."""
        self._progress.update(self._task, description=suite, note="")

    def ran(self, suite: str) -> None:
        """One of them is done."""
        self._progress.advance(self._task)

    def found(self, finding: Finding) -> None:
        """A cause was seen for the first time, or has been shrunk."""
        status = Status.FLAKY if finding.flaky else finding.result.verdict.status
        if (status, finding.signature) not in self._announced:
            self._announced.add((status, finding.signature))
            self._print(f"{status}: {finding.signature}", _STYLES[status])
        self._progress.update(self._task, note="" if finding.shrunk else "shrinking …")

    def conclude(self, harness: Harness, files: Sequence[Path]) -> None:
        """Print each finding, the verdict table, and where the results are."""
        for finding in harness.findings.values():
            self._print("")
            self._console.print(Text(describe(finding)), soft_wrap=True)
        self._print("")
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("backend")
        for column in ("version", "cases", "seconds", "cases/s"):
            table.add_column(column, justify="right")
        for each in self._usable:
            statistics = harness.runner.statistics[each.instance.name]
            rate = statistics.runs / statistics.seconds if statistics.seconds else 0.0
            table.add_row(
                Text(each.instance.name),
                Text(one_line(each.availability.version)),
                str(statistics.counted),
                f"{statistics.seconds:.1f}",
                f"{rate:.0f}",
            )
        self._console.print(table)
        self._print("")
        line = Text("verdicts ")
        for status in Status:
            count = harness.verdicts[status]
            line.append(f" {count} {status} ", style=_STYLES[status] if count else "dim")
        self._console.print(line)
        for known in known_lines(harness):
            stale = known in harness.stale_lines()
            self._print(known, _STYLES[Status.DIVERGE if stale else Status.KNOWN])
        if harness.findings and harness.folder is not None:
            self._print(f"divergences are in {harness.folder / 'divergences'}")
        for file in files:
            self._print(f"wrote {file}")

    def _print(self, text: str, style: str = "") -> None:
        self._console.print(Text(one_line(text), style=style), soft_wrap=True)
