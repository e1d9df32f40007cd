"""`conformance show`: draw what a case does, task by task."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console

from conformance.case.case import Case
from conformance.case.wire import one_line
from conformance.commands.options import (
    backend_option,
    config_option,
    current_option,
    image_option,
    no_known_option,
)
from conformance.commands.saved_case import load_saved_case
from conformance.oracle.expect import expect
from conformance.report.accounts import Told, expected, told
from conformance.report.drawing import draw
from conformance.report.symbols import Symbols
from conformance.report.window import window

__all__ = ["show"]

_OPERATIONS_SHOWN = 40
_NOTHING_RAN = 3


@click.command(
    epilog="""\b
Examples:
  conformance show conformance-results/divergences/NAME.json
  conformance show case.json --backend bochs --backend qemu
  conformance show case.json --from 40 --to 90 | less
  conformance show case.json --no-run         # what the oracle expects
"""
)
@click.argument("file", type=click.Path(path_type=Path), metavar="CASE.json")
@backend_option("those of the file")
@click.option("--no-run", is_flag=True, help="Run nothing: draw what the oracle expects.")
@click.option(
    "--from",
    "first",
    type=click.IntRange(min=0),
    metavar="N",
    help="First event to show. [default: the first operation's]",
)
@click.option(
    "--to",
    "end",
    type=click.IntRange(min=1),
    metavar="N",
    help="Event to stop before. [default: the end, 200 events later at most]",
)
@image_option()
@current_option()
@config_option()
@no_known_option()
def show(
    file: Path,
    backends: tuple[str, ...],
    no_run: bool,
    first: int | None,
    end: int | None,
    image: Path | None,
    current: bool,
    config: Path | None,
    no_known: bool,
) -> int:
    """Run a case, or the case of a divergence, and draw what its tasks do.

    A row for each task, events from left to right. Backends that do the same share a drawing;
    where they part, each has its own, with the first difference marked. A case without tasks is
    shown as a list of events.
    """
    saved = load_saved_case(file, image, current=current)
    case, kernel = saved.case, saved.kernel
    head = [f"image    {kernel.name} {kernel.id.sha256[:12]}"]
    if no_run:
        accounts: tuple[Told, ...] = (expected(expect(case, kernel)),)
        head.append("backends none, only the oracle")
        tail, status = ["nothing was run"], _NOTHING_RAN
    else:
        rerun = saved.run(backends, config, known=not no_known)
        verdict = rerun.result.verdict
        accounts = told(verdict, rerun.result.observations)
        head.append(f"backends {', '.join(rerun.backends)}, and the oracle")
        tail = [f"{verdict.status}: {verdict.signature or verdict.reason}"]
        tail += [f"  why       {verdict.reason}"] if verdict.signature else []
        tail += [f"  permitted {choice}" for choice in verdict.choices]
        status = rerun.status
    shown = window(accounts, first, end)
    console = Console(highlight=False)
    for line in (*head, *_program(case), ""):
        click.echo(one_line(line))
    for drawn in draw(accounts, shown, Symbols(kernel.symbols), console.width):
        console.print(drawn, soft_wrap=True)
    for line in tail:
        click.echo(one_line(line))
    return status


def _program(case: Case) -> Iterator[str]:
    operations = case.program.operations
    yield f"program  {len(operations)} operations"
    for number, operation in enumerate(operations[:_OPERATIONS_SHOWN]):
        yield f"    {number}: {operation}"
    if len(operations) > _OPERATIONS_SHOWN:
        yield f"    … {len(operations) - _OPERATIONS_SHOWN} more"
