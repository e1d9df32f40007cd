"""Cases as files: canonical JSON, strict to read.

Map files, which share the form of a region, are in `map_file`; their functions are here as well.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

import msgspec

from conformance.case.case import Case
from conformance.case.image import ImageId
from conformance.case.machine import Machine
from conformance.case.map_file import NamedMap, dump_map, load_map, load_map_file
from conformance.case.program import OPERATIONS, Operation, Program
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
from conformance.protocol import PROTOCOL

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
VERSION = 1


class _ImageWire(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    sha256: str


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
    state_regions: list[str]


def dump_case(case: Case) -> str:
    """The case as JSON: one text for one case."""
    form = {
        "format": FORMAT,
        "version": VERSION,
        "image": _plain(case.image),
        "machine": _plain(case.machine),
        "memory_map": None if case.memory_map is None else _map_form(case),
        "program": [_operation_form(operation) for operation in case.program.operations],
        "state_regions": list(case.state_regions),
    }
    complete(case, form, "format", "version")
    complete(case.program, {"operations": form["program"]})
    return json.dumps(form, indent=2) + "\n"


def _plain(value: ImageId | Machine) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _map_form(case: Case) -> dict[str, Any]:
    assert case.memory_map is not None
    regions = [region_form(region) for region in case.memory_map.regions]
    form: dict[str, Any] = {"regions": regions, "cut": case.memory_map.cut}
    complete(case.memory_map, form)
    if not case.memory_map.cut:
        del form["cut"]
    return form


def _operation_form(operation: Operation) -> dict[str, Any]:
    operands = {}
    for field in PROTOCOL.operations[operation.name].operands.fields:
        value = getattr(operation, field.name)
        operands[field.name] = hex(value) if field.bits == 64 else value
    complete(operation, operands)
    form = {"operation": operation.name}
    return form | {_operand_key(name): value for name, value in operands.items()}


def _operand_key(name: str) -> str:
    """The operand's key in a file, where `operation` already says which operation it is."""
    return "number" if name == "operation" else name


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
    for key, expected in (("format", FORMAT), ("version", VERSION)):
        if key not in raw:
            invalid(source, "", f"key {key!r} is missing; a case begins with {key}={expected!r}")
        if raw[key] != expected or isinstance(raw[key], bool):
            invalid(source, key, f"expected {expected!r}, got {excerpt(raw[key])}")
    wire = convert(raw, _CaseWire, source)
    reported = None
    if wire.memory_map is not None:
        reported = memory_map(wire.memory_map.regions, wire.memory_map.cut, source, "memory_map.")
    operations = tuple(
        _operation(operation, source, f"program[{index}]")
        for index, operation in enumerate(wire.program)
    )
    ram_mib = integer(wire.machine.ram_mib, source, "machine.ram_mib")
    try:
        machine = Machine(ram_mib, wire.machine.cpu_profile, wire.machine.paging)
    except InvalidArgument as error:
        invalid(source, "machine", str(error))
    try:
        return Case(
            image=ImageId(wire.image.name, wire.image.sha256),
            machine=machine,
            memory_map=reported,
            program=Program(operations),
            state_regions=tuple(wire.state_regions),
        )
    except InvalidArgument as error:
        invalid(source, "", str(error))


def _operation(raw: Mapping[str, Any], source: str, where: str) -> Operation:
    name = raw.get("operation")
    if name is None:
        invalid(source, where, "key 'operation' is missing")
    kind = OPERATIONS.get(name) if isinstance(name, str) else None
    if kind is None:
        close = difflib.get_close_matches(str(name)[:80], OPERATIONS, 1)
        guess = f"; did you mean {close[0]!r}?" if close else ""
        invalid(
            source,
            f"{where}.operation",
            f"unknown operation {excerpt(name)}; known: {', '.join(OPERATIONS)}{guess}",
        )
    operands = {_operand_key(field.name): field for field in fields(kind)}
    for key in raw:
        if key != "operation" and key not in operands:
            known = ", ".join(["operation", *operands])
            invalid(source, where, f"unknown key {excerpt(key)} of {kind.name}; known: {known}")
    values = {}
    for key, field in operands.items():
        if key in raw:
            values[field.name] = integer(raw[key], source, f"{where}.{key}")
        elif field.default is MISSING:
            invalid(source, where, f"{kind.name} needs key {key!r}")
    try:
        return kind(**values)
    except InvalidArgument as error:
        invalid(source, where, str(error))
