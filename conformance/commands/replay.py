"""`conformance replay`: run one saved case again."""

from __future__ import annotations

from pathlib import Path

import click

from conformance.case.wire import one_line
from conformance.commands.options import (
    backend_option,
    config_option,
    current_option,
    image_option,
    no_known_option,
)
from conformance.commands.saved_case import load_saved_case
from conformance.engine.causes import causes_of
from conformance.engine.finding import Finding
from conformance.report.finding_text import describe

__all__ = ["replay"]


@click.command(
    epilog="""\b
Examples:
  conformance replay conformance-results/divergences/NAME.json
  conformance replay NAME.json --backend bochs
  conformance replay NAME.json --current      # is it fixed in my kernel?
"""
)
@click.argument("file", type=click.Path(path_type=Path), metavar="CASE.json")
@backend_option("those of the file")
@image_option()
@current_option()
@config_option()
@no_known_option()
def replay(
    file: Path,
    backends: tuple[str, ...],
    image: Path | None,
    current: bool,
    config: Path | None,
    no_known: bool,
) -> int:
    """Run a case, or the case of a divergence, again, in fresh processes.

    A divergence file holds its kernel image, and is enough by itself. A divergence that is known
    is shown, and the exit status is 0.
    """
    saved = load_saved_case(file, image, current=current)
    rerun = saved.run(backends, config, known=not no_known)
    result, kernel, record = rerun.result, saved.kernel, saved.record
    click.echo(f"image    {kernel.name} {kernel.id.sha256[:12]}")
    click.echo(f"backends {', '.join(rerun.backends)}, and the oracle")
    causes = causes_of(result.verdict)
    signature = result.verdict.signature if result.known else "; ".join(causes)
    if result.agrees:
        click.echo(f"agree: {one_line(result.verdict.reason)}")
    else:
        click.echo(describe(Finding(signature, "replay", result, shrunk=True)))
    if record.signature and record.signature not in (signature, *causes):
        click.echo(f"the file was saved for: {record.signature}")
    return rerun.status
