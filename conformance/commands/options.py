"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = [
    "backend_option",
    "cases_option",
    "config_option",
    "current_option",
    "image_option",
    "no_known_option",
    "output_file",
]

_F = TypeVar("_F", bound=Callable[..., Any])


def backend_option(default: str = "all usable") -> Callable[[_F], _F]:
    """`--backend NAME`, repeatable."""
    text = f"Backend instance; may be given again. [default: {default}]"
    return click.option("--backend", "backends", multiple=True, metavar="NAME", help=text)


def config_option() -> Callable[[_F], _F]:
    """`--config FILE`."""
    text = "Configuration. [default: the nearest conformance.toml]"
    return click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help=text)


def image_option() -> Callable[[_F], _F]:
    """`--image DIR`."""
    kind = click.Path(path_type=Path, file_okay=False, exists=True)
    text = "Folder with another kernel.elf and loader.elf, or with folders i686 and x86_64 of them."
    return click.option("--image", type=kind, metavar="DIR", help=text)


def current_option() -> Callable[[_F], _F]:
    """`--current`."""
    text = "Use the installed kernel instead of the file's."
    return click.option("--current", is_flag=True, help=text)


def no_known_option() -> Callable[[_F], _F]:
    """`--no-known`."""
    text = "Treat known divergences as new."
    return click.option("--no-known", "no_known", is_flag=True, help=text)


def cases_option() -> Callable[[_F], _F]:
    """`--cases N`."""
    kind = click.IntRange(min=1)
    text = "Generated cases per test."
    return click.option(
        "--cases", type=kind, default=200, show_default=True, metavar="N", help=text
    )


def output_file(flag: str, destination: str, text: str) -> Callable[[_F], _F]:
    """A file to write."""
    kind = click.Path(path_type=Path, dir_okay=False)
    return click.option(flag, destination, type=kind, metavar="FILE", help=text)
