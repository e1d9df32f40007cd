"""`conformance build`: a kernel image from sources, to run with `--image`."""

from __future__ import annotations

from pathlib import Path

import click

from conformance.engine.build import ZIG, build_image
from conformance.errors import InvalidArgument
from conformance.resources import checkout

__all__ = ["build"]


@click.command(
    epilog="""\b
Examples:
  conformance build /tmp/my-image && conformance run --image /tmp/my-image
  conformance build --source ../my-kernel --compiler g++ /tmp/my-image
"""
)
@click.argument("output", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@click.option(
    "--source",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Kernel sources. [default: kernel/ of this checkout]",
)
@click.option(
    "--compiler",
    default=ZIG,
    show_default=True,
    metavar="NAME",
    help="zig (pip package ziglang), g++ or clang++; only zig's image is the same everywhere.",
)
def build(output: Path, source: Path | None, compiler: str) -> None:
    """Build a kernel image into DIR."""
    root = checkout()
    if source is None:
        if root is None:
            raise InvalidArgument("--source is needed: this is not a checkout")
        source = root / "kernel"
    image = build_image(source, output, compiler=compiler)
    click.echo(f"{output}: image {image.name} {image.id.sha256}")
