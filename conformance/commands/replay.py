"""`conformance replay`: run one saved case again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from conformance.case.image import Image
from conformance.case.wire import one_line
from conformance.commands.options import (
    backend_option,
    config_option,
    image_option,
    no_known_option,
)
from conformance.commands.run import exit_status
from conformance.config import load_config
from conformance.engine.finding import Finding, Record, load_record
from conformance.engine.harness import causes_of
from conformance.engine.setup import build_harness, choose_images
from conformance.errors import ImageError
from conformance.report.finding_text import describe

__all__ = ["kernel_of", "replay"]


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
@click.option("--current", is_flag=True, help="Use the installed kernel instead of the file's.")
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
    record = load_record(file)
    kernel = kernel_of(record, image, current=current)
    case = replace(record.case, image=kernel.id)
    loaded = load_config(config)
    configured = {instance.name for instance in loaded.instances}
    names = backends or tuple(name for name in record.backends if name in configured)
    harness, usable = build_harness(
        loaded, names=names, images=[kernel], seed=0, cases=1, known=not no_known
    )
    with harness.runner:
        result = harness.runner.run(case)
    harness.verdicts[result.verdict.status] += 1
    click.echo(f"image    {kernel.name} {kernel.id.sha256[:12]}")
    click.echo(f"backends {', '.join(each.instance.name for each in usable)}, and the oracle")
    causes = causes_of(result.verdict)
    signature = result.verdict.signature if result.known else "; ".join(causes)
    if result.agrees:
        click.echo(f"agree: {one_line(result.verdict.reason)}")
    else:
        click.echo(describe(Finding(signature, "replay", result, shrunk=True)))
    if record.signature and record.signature not in (signature, *causes):
        click.echo(f"the file was saved for: {record.signature}")
    return exit_status(harness)


def kernel_of(record: Record, folder: Path | None, *, current: bool) -> Image:
    """The image to run a record with: what was asked for, the record's, or the installed one."""
    if folder is None and record.image is not None and not current:
        return record.image
    architecture = record.case.image.architecture
    for image in choose_images(folder):
        if image.architecture == architecture:
            return image
    raise ImageError(f"{folder}: no image for {architecture}, which the case is for")
