"""`conformance doctor`: what can be used here, and what to do about the rest."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from conformance.case.image import IMAGES, default_image
from conformance.case.wire import one_line
from conformance.commands.options import config_option
from conformance.config import load_config
from conformance.engine.setup import probe_instances
from conformance.errors import ImageError

__all__ = ["doctor"]


@click.command()
@config_option()
def doctor(config: Path | None) -> int:
    """Show each backend: usable or not, version, why not, how to get it.

    Exit status 0 if all are usable, 3 if some are not.
    """
    loaded = load_config(config)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "kind", "usable", "version", "why not", "what to do"):
        table.add_column(column, overflow="fold")
    complete = True
    for each in probe_instances(loaded.instances):
        found = each.availability
        complete = complete and found.usable
        words = (found.version, found.reason, found.remedy)
        table.add_row(*_row(each.instance.name, each.instance.kind, found.usable, *words))
    for name in IMAGES:
        try:
            digest = default_image(name).id.sha256[:12]
            table.add_row(*_row(name, "image", True, digest))
        except ImageError as error:
            complete = False
            table.add_row(*_row(name, "image", False, "", str(error), "make setup"))
    Console(highlight=False).print(table)
    if loaded.source is not None:
        click.echo(f"configuration: {loaded.source}")
    return 0 if complete else 3


def _row(name: str, kind: str, usable: bool, *words: str) -> list[Text]:
    answer = Text("yes", style="green") if usable else Text("no", style="red")
    return [Text(name), Text(kind), answer, *map(Text, map(one_line, words))]
