"""`conformance build`: kernel images from sources, to run with `--image`."""

from __future__ import annotations

from pathlib import Path

import click

from conformance.case.image import IMAGES
from conformance.engine.build import ZIG, build_image, build_images
from conformance.errors import InvalidArgument
from conformance.resources import checkout

__all__ = ["build"]


@click.command(
    epilog="""\b
Examples:
  conformance build /tmp/my-images && conformance run --image /tmp/my-images
  conformance build --source ../my-kernel --compiler g++ /tmp/my-images
  conformance build --only x86_64 /tmp/my-image
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
@click.option("--only", type=click.Choice(IMAGES), help="Build one image, and right into DIR.")
def build(output: Path, source: Path | None, compiler: str, only: str | None) -> None:
    """Build the kernel images, each into a folder of its name in DIR."""
    root = checkout()
    if source is None:
        if root is None:
            raise InvalidArgument("--source is needed: this is not a checkout")
        source = root / "kernel"
    if only is None:
        images = build_images(source, output, compiler=compiler)
    else:
        images = (build_image(source, output, compiler=compiler, architecture=only),)
    for image in images:
        click.echo(f"{output}: image {image.name} {image.id.sha256}")
