"""Map files: one memory map with its name and where it comes from, as TOML or JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import tomli_w

from conformance.case.memory_map import MemoryMap
from conformance.case.wire import (
    RegionWire,
    complete,
    convert,
    invalid,
    memory_map,
    parse_json,
    parse_toml,
    read_text,
    region_form,
)
from conformance.errors import InvalidArgument

__all__ = ["NamedMap", "dump_map", "load_map", "load_map_file"]


@dataclass(frozen=True, slots=True)
class NamedMap:
    """A memory map and what is known about it.

    Attributes:
        name: such as `lenovo-thinkpad-x240-8g`.
        description: the machine, in a line.
        source: URL, or text, that says where the map was found.
        kind: such as `laptop`, `server`, `virtual`, `pathological`.
        memory_map: the map.
        quirk: what is remarkable about it; empty where nothing is.
    """

    name: str
    description: str
    source: str
    kind: str
    memory_map: MemoryMap
    quirk: str = ""


class _NamedMapWire(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    description: str
    source: str
    kind: str
    regions: list[RegionWire]
    quirk: str = ""
    cut: int | str = 0


def dump_map(named: NamedMap, *, form: Literal["toml", "json"] = "toml") -> str:
    """The map file's text: one text for one map.

    Raises:
        InvalidArgument: there is no such form.
    """
    values: dict[str, Any] = {
        "name": named.name,
        "description": named.description,
        "source": named.source,
        "kind": named.kind,
        "quirk": named.quirk,
        "cut": named.memory_map.cut,
        "regions": [region_form(region) for region in named.memory_map.regions],
    }
    complete(named.memory_map, {key: values[key] for key in ("regions", "cut")})
    complete(
        named, {key: None for key in values if key not in ("regions", "cut")} | {"memory_map": None}
    )
    for key in ("quirk", "cut"):
        if not values[key]:
            del values[key]
    if form == "json":
        return json.dumps(values, indent=2) + "\n"
    if form == "toml":
        return tomli_w.dumps(values)
    raise InvalidArgument(f"no map file form {form!r}; known: toml, json")


def load_map(text: str | bytes, *, form: Literal["toml", "json"], source: str = "map") -> NamedMap:
    """The map in a map file's text.

    Raises:
        InvalidInput: it is not a map file; the message says where and why.
    """
    raw = parse_json(text, source) if form == "json" else parse_toml(text, source)
    wire = convert(raw, _NamedMapWire, source)
    if not wire.name:
        invalid(source, "name", "expected a name, got ''")
    regions = memory_map(wire.regions, wire.cut, source, "")
    return NamedMap(wire.name, wire.description, wire.source, wire.kind, regions, wire.quirk)


def load_map_file(path: str | Path) -> NamedMap:
    """The map in a file, by its ending `.json` or `.toml`, or else by its first character.

    Raises:
        InvalidInput: it cannot be read or is not a map file.
    """
    path = Path(path)
    text = read_text(path)
    by_content: Literal["toml", "json"] = "json" if text.lstrip().startswith("{") else "toml"
    endings: dict[str, Literal["toml", "json"]] = {".json": "json", ".toml": "toml"}
    return load_map(text, form=endings.get(path.suffix.lower(), by_content), source=str(path))
