"""The memory maps that come with the harness: of real machines and of none."""

from __future__ import annotations

import difflib

from conformance.case.map_file import NamedMap, load_map_file
from conformance.errors import InvalidInput
from conformance.resources import resource

__all__ = ["load_fixture", "map_names"]


def map_names() -> tuple[str, ...]:
    """The maps' names, sorted."""
    return tuple(sorted(path.stem for path in resource("fixtures/memory_maps").glob("*.toml")))


def load_fixture(name: str) -> NamedMap:
    """The map of that name.

    Raises:
        InvalidInput: there is none.
    """
    names = map_names()
    if name not in names:
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        close += [known for known in names if name and name in known and known not in close][:3]
        guess = f"; close: {', '.join(close)}" if close else ""
        raise InvalidInput(
            f"no memory map {name!r} among {len(names)}{guess}; "
            "'conformance maps list' shows them all"
        )
    return load_map_file(resource("fixtures/memory_maps") / f"{name}.toml")
