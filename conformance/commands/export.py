"""`conformance export` and `conformance decode`: a case for somebody without the harness."""

from __future__ import annotations

from pathlib import Path

import click

from conformance.case.image import default_image
from conformance.engine.files import check_writable
from conformance.engine.finding import load_record
from conformance.errors import InvalidInput
from conformance.judge.fields import compared_part
from conformance.observe.trace import decode as decode_trace
from conformance.oracle.expect import expect
from conformance.protocol import PROTOCOL
from conformance.report.reproducer import write_reproducer

__all__ = ["decode", "export"]

_LIMIT = 16 * 1024 * 1024


@click.command(
    epilog="""\b
Example:
  conformance export conformance-results/divergences/NAME.json /tmp/for-the-author
"""
)
@click.argument("file", type=click.Path(path_type=Path), metavar="CASE.json")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
def export(file: Path, folder: Path) -> None:
    """Write a case as a ROM with the commands that boot it on QEMU and on Bochs."""
    record = load_record(file)
    image = record.image or default_image(record.case.image.architecture)
    if record.case.image != image.id:
        raise InvalidInput(
            f"{file}: the case is for image {record.case.image.sha256[:12]}, "
            f"the installed one is {image.id.sha256[:12]}"
        )
    check_writable(folder)
    write_reproducer(folder, record.case, image, expect(record.case, image))
    click.echo(f"{folder}: see README.txt there")


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="TRACE")
@click.option("--raw", is_flag=True, help="Show the bits that are not compared, too.")
def decode(file: Path, raw: bool) -> None:
    """Print the events of a trace that a reproducer left behind.

    A right one is word for word what the reproducer's expected.txt says.
    """
    try:
        with file.open("rb") as stream:
            data = stream.read(_LIMIT)
    except OSError as error:
        raise InvalidInput(f"{file}: {error.strerror}") from error
    # Bochs prints its own lines before and after.
    start = data.find(PROTOCOL.trace_magic.to_bytes(4, "little"))
    if start < 0 or len(data) < start + PROTOCOL.trace_header.size:
        raise InvalidInput(
            f"{file}: no trace in it: the magic {PROTOCOL.trace_magic:#x} is missing"
        )
    header = PROTOCOL.trace_header.unpack(data, start)
    records = data[start + PROTOCOL.trace_header.size :][: header["written"]]
    for event in decode_trace(records):
        click.echo(str(event if raw else compared_part(event)))
    if len(records) < header["written"]:
        raise InvalidInput(f"{file}: ends {header['written'] - len(records)} bytes too early")
