"""Cases as files: canonical JSON, strict to read.

Map files, which share the form of a region, are in `map_file`; their functions are here as well.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, Literal

import msgspec

from conformance.case.case import Case
from conformance.case.image import IMAGES, ImageId
from conformance.case.machine import Machine
from conformance.case.map_file import NamedMap, dump_map, load_map, load_map_file
from conformance.case.operation_form import operation_form, read_operation
from conformance.case.program import Program
from conformance.case.wire import (
    RegionWire,
    complete,
    convert,
    excerpt,
    integer,
    invalid,
    memory_map,
    parse_json,
    region_form,
)
from conformance.errors import InvalidArgument

__all__ = [
    "FORMAT",
    "VERSION",
    "NamedMap",
    "dump_case",
    "dump_map",
    "load_case",
    "load_map",
    "load_map_file",
]

FORMAT = "conformance-case"
VERSION = 3
_READABLE = (1, 2, VERSION)
_SINCE = {"stacks": 2, "schedule": 3, "quantum": 3, "priorities": 3}
"""The version that brought a key."""


class _ImageWire(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    sha256: str
    architecture: Literal["i686", "x86_64"] = "i686"


class _MachineWire(msgspec.Struct, forbid_unknown_fields=True):
    ram_mib: int | str
    cpu_profile: str
    paging: str


class _MapWire(msgspec.Struct, forbid_unknown_fields=True):
    regions: list[RegionWire]
    cut: int | str = 0


class _CaseWire(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    version: int
    image: _ImageWire
    machine: _MachineWire
    memory_map: _MapWire | None
    program: list[dict[str, Any]]
    stacks: int | str
    state_regions: list[str]
    schedule: str = Program().schedule
    quantum: int | str = Program().quantum
    priorities: bool = Program().priorities


def dump_case(case: Case) -> str:
    """The case as JSON: one text for one case."""
    form = {
        "format": FORMAT,
        "version": VERSION,
        "image": _image_form(case.image),
        "machine": _plain(case.machine),
        "memory_map": None if case.memory_map is None else _map_form(case),
        "program": [operation_form(operation) for operation in case.program.operations],
        "stacks": case.program.stacks,
        "state_regions": list(case.state_regions),
    }
    complete(case, form, "format", "version", "stacks")
    schedule = _schedule_form(case.program)
    complete(
        case.program,
        {"operations": form["program"], "stacks": form["stacks"]} | schedule,
    )
    plain = _schedule_form(Program())
    form |= {key: value for key, value in schedule.items() if value != plain[key]}
    return json.dumps(form, indent=2) + "\n"


def _schedule_form(program: Program) -> dict[str, Any]:
    """How tasks are scheduled; a file has only what is not the default."""
    return {
        "schedule": program.schedule,
        "quantum": program.quantum,
        "priorities": program.priorities,
    }


def _plain(value: ImageId | Machine) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _image_form(image: ImageId) -> dict[str, Any]:
    """With the architecture only where it is not the plain one."""
    form = _plain(image)
    if image.architecture == IMAGES[0]:
        del form["architecture"]
    return form


def _map_form(case: Case) -> dict[str, Any]:
    assert case.memory_map is not None
    regions = [region_form(region) for region in case.memory_map.regions]
    form: dict[str, Any] = {"regions": regions, "cut": case.memory_map.cut}
    complete(case.memory_map, form)
    if not case.memory_map.cut:
        del form["cut"]
    return form


def load_case(text: str | bytes, *, source: str = "case") -> Case:
    """The case that `dump_case` wrote, or somebody by hand.

    Args:
        text: JSON.
        source: the file's name, for error messages.

    Raises:
        InvalidInput: it is not a case; the message says where and why.
    """
    raw = parse_json(text, source)
    # Before anything else: another version may well have other keys.
    for key, expected in (("format", (FORMAT,)), ("version", _READABLE)):
        if key not in raw:
            invalid(
                source, "", f"key {key!r} is missing; a case begins with {key}={expected[-1]!r}"
            )
        if raw[key] not in expected or isinstance(raw[key], bool):
            *others, last = map(repr, expected)
            known = f"{', '.join(others)} or {last}" if others else last
            invalid(source, key, f"expected {known}, got {excerpt(raw[key])}")
    for key, since in _SINCE.items():
        if raw["version"] < since and key in raw:
            invalid(source, key, f"is a key of version {since}, this is version {raw['version']}")
    if raw["version"] == 1:
        raw["stacks"] = 0
    wire = convert(raw, _CaseWire, source)
    reported = None
    if wire.memory_map is not None:
        reported = memory_map(wire.memory_map.regions, wire.memory_map.cut, source, "memory_map.")
    operations = tuple(
        read_operation(operation, source, f"program[{index}]")
        for index, operation in enumerate(wire.program)
    )
    ram_mib = integer(wire.machine.ram_mib, source, "machine.ram_mib")
    try:
        machine = Machine(ram_mib, wire.machine.cpu_profile, wire.machine.paging)
    except InvalidArgument as error:
        invalid(source, "machine", str(error))
    try:
        return Case(
            image=ImageId(wire.image.name, wire.image.sha256, wire.image.architecture),
            machine=machine,
            memory_map=reported,
            program=Program(
                operations,
                integer(wire.stacks, source, "stacks"),
                wire.schedule,
                integer(wire.quantum, source, "quantum"),
                wire.priorities,
            ),
            state_regions=tuple(wire.state_regions),
        )
    except InvalidArgument as error:
        invalid(source, "", str(error))
