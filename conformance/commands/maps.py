"""`conformance maps`: the memory maps that come with the harness, and new ones."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from conformance.case.fixtures import load_fixture, map_names
from conformance.case.importers import import_map
from conformance.case.map_file import NamedMap, dump_map
from conformance.case.memory_map import MemoryMap, RegionType, type_name
from conformance.commands.options import output_file
from conformance.engine.files import write_atomically

__all__ = ["maps"]

_MIB = 1 << 20


@click.group()
def maps() -> None:
    """List, show and import memory maps."""


def _available(memory_map: MemoryMap) -> int:
    return sum(
        region.length for region in memory_map.regions if region.type == RegionType.AVAILABLE
    )


@maps.command("list")
def list_() -> None:
    """List the maps that come with the harness."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name")
    table.add_column("kind")
    table.add_column("regions", justify="right")
    table.add_column("available MiB", justify="right")
    table.add_column("description")
    for name in map_names():
        named = load_fixture(name)
        table.add_row(
            Text(name),
            Text(named.kind),
            str(len(named.memory_map.regions)),
            str(_available(named.memory_map) // _MIB),
            Text(named.description),
        )
    Console(highlight=False).print(table)


@maps.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="As a map file in JSON.")
@click.option("--toml", "as_toml", is_flag=True, help="As a map file in TOML.")
def show(name: str, as_json: bool, as_toml: bool) -> None:
    """Show the map NAME."""
    named = load_fixture(name)
    if as_json or as_toml:
        click.echo(dump_map(named, form="json" if as_json else "toml"), nl=False)
        return
    for label, text in (
        ("name", named.name),
        ("what", named.description),
        ("kind", named.kind),
        ("source", named.source),
        ("quirk", named.quirk),
    ):
        if text:
            click.echo(f"{label:7} {text}")
    for region in named.memory_map.regions:
        size = f"entry of {region.entry_size} bytes" if region.entry_size != 20 else ""
        line = f"{region.base:#018x}  {region.end:#018x}  {type_name(region.type):17} {size}"
        click.echo(line.rstrip())


@maps.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="Name of the map. [default: the file's]")
@click.option("--json", "as_json", is_flag=True, help="Write JSON instead of TOML.")
@output_file("--output", "output", "Write to a file instead of the terminal.")
def import_(file: Path, name: str | None, as_json: bool, output: Path | None) -> None:
    """Turn FILE into a memory map file.

    FILE is a Linux boot log with BIOS-e820 lines, a copy of /proc/iomem, or a folder like
    /sys/firmware/memmap.
    """
    memory_map = import_map(file)
    name = name or file.resolve().stem or "imported"
    named = NamedMap(name, f"imported from {file}", str(file), "imported", memory_map)
    text = dump_map(named, form="json" if as_json else "toml")
    if output is None:
        click.echo(text, nl=False)
        return
    write_atomically(output, text)
    click.echo(f"{output}: {len(memory_map.regions)} regions")
