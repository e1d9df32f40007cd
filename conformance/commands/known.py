"""`conformance known`: the divergences that are understood, and do not fail a run."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from conformance.case.codec import dump_case
from conformance.case.wire import excerpt, one_line, read_text
from conformance.commands.options import config_option
from conformance.config import Config, load_config
from conformance.engine.files import write_atomically
from conformance.engine.finding import Record, load_record
from conformance.engine.setup import known_entries
from conformance.errors import InvalidArgument, InvalidInput
from conformance.judge.known import KnownDivergence
from conformance.judge.known_file import CASES, entry_text, is_case_name, load_known
from conformance.judge.verdict import KERNEL
from conformance.resources import checkout, resource

__all__ = ["known"]

_LIST = "fixtures/known_divergences.toml"


@click.group(
    epilog="""\b
Examples:
  conformance known list
  conformance known show qemu-reserved-bit
  conformance known add NAME.json --versions '>=7' --section 'SDM vol. 3, 4.7' --sentence 'no P bit'
"""
)
def known() -> None:
    """List, show and add known divergences: they are counted, and do not fail a run.

    Each is replayed in every run of the suites that has an engine it applies to. One that no
    longer shows up fails the run.
    """


@known.command("list")
@config_option()
def list_(config: Path | None) -> None:
    """List the known divergences."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "versions", "signature", "what"):
        table.add_column(column, overflow="fold")
    entries = known_entries(load_config(config))
    for each in entries:
        versions = f"{each.kind} {each.versions}"
        words = (each.name, versions, each.signature, each.sentence)
        table.add_row(*(Text(one_line(word)) for word in words))
    if entries:
        Console(highlight=False).print(table)
    else:
        click.echo("no known divergences")


@known.command()
@click.argument("name")
@config_option()
def show(name: str, config: Path | None) -> None:
    """Show the known divergence NAME, and its case."""
    entries = {each.name: each for each in known_entries(load_config(config))}
    if name not in entries:
        near = difflib.get_close_matches(name, entries, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InvalidArgument(
            f"no known divergence {excerpt(name)} among {len(entries)}{hint}; "
            "'conformance known list' shows them all"
        )
    each = entries[name]
    for label, text in (
        ("signature", each.signature),
        ("engine", f"{each.kind} {each.versions}"),
        ("what", each.sentence),
        ("manual", each.section),
        ("link", each.link),
        ("case", str(each.case)),
    ):
        if text:
            click.echo(f"{label:10}{one_line(text)}")
    for number, operation in enumerate(load_record(each.case).case.program.operations):
        click.echo(f"    {number}: {operation}")


@known.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="DIVERGENCE.json")
@click.option("--sentence", required=True, help="What the engine does instead of what is right.")
@click.option("--section", required=True, help="What says how it should be: 'SDM vol. 3, 4.7'.")
@click.option("--versions", required=True, help="Of the engine that do so: '>=7.0,<9'.")
@click.option("--link", default="", help="Where that is reported.")
@click.option("--name", help="Name of the entry. [default: made of the signature]")
@config_option()
def add(
    file: Path,
    sentence: str,
    section: str,
    versions: str,
    link: str,
    name: str | None,
    config: Path | None,
) -> None:
    """Put the divergence in DIVERGENCE.json on the list.

    The list is the configuration's `known`, or in a checkout the one that comes with the harness.
    """
    record = load_record(file)
    kind, cause = _cause(file, record)
    target = _list(load_config(config))
    signature = f"{kind}: {cause}"
    name = _name(signature) if name is None else name
    if not is_case_name(f"{name}.json"):
        raise InvalidArgument(f"--name {excerpt(name)}: expected up to 80 of a-z, 0-9 and -")
    path = target.parent / CASES / f"{name}.json"
    entry = KnownDivergence(signature, kind, versions, section, sentence, link, path)
    text = read_text(target) if target.exists() else ""
    if path.exists():
        raise InvalidArgument(f"{path} is there already; give another --name")
    # The case is written first: the list is checked with it, before the old list is replaced.
    write_atomically(path, dump_case(record.case))
    trial = target.with_name(f".{target.name}.new")
    try:
        write_atomically(trial, text + entry_text(entry))
        try:
            load_known(trial)
        except InvalidInput as error:
            path.unlink()
            raise InvalidInput(str(error).replace(str(trial), str(target))) from None
        trial.replace(target)
    finally:
        trial.unlink(missing_ok=True)
    click.echo(f"{target}: added {one_line(signature)}")


def _cause(file: Path, record: Record) -> tuple[str, str]:
    """The kind of the backend, and what it does."""
    if record.culprit == KERNEL:
        raise InvalidInput(f"{file}: blames the kernel: only a backend's divergence can be known")
    if not record.causes:
        raise InvalidInput(f"{file}: holds no divergence of a backend")
    if len(record.causes) > 1:
        named = "; ".join(f"{kind}: {cause}" for kind, cause in record.causes)
        raise InvalidInput(f"{file}: has several causes ({named}): add each from a file of its own")
    return record.causes[0]


def _list(config: Config) -> Path:
    if config.known is not None:
        return config.known
    if checkout() is None:
        raise InvalidArgument(
            'no list of your own: name one in conformance.toml: known = "known_divergences.toml"'
        )
    return resource(_LIST)


def _name(signature: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", signature.lower()).strip("-")[:60].strip("-")
