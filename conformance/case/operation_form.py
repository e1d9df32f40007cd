"""Operations as they are in case files: names where there are names, strict to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from conformance.case.operation import Operation, Rights, choose, operand_type, rights_names
from conformance.case.program import OPERATIONS
from conformance.case.wire import complete, excerpt, integer, invalid
from conformance.errors import InvalidArgument
from conformance.protocol import PROTOCOL

__all__ = ["operation_form", "read_operation"]


def operation_form(operation: Operation) -> dict[str, Any]:
    """An operation as it is written to files, its operands in the protocol's order."""
    operands = {
        field.name: _operand_form(getattr(operation, field.name), field.bits)
        for field in PROTOCOL.operations[operation.name].operands.fields
    }
    complete(operation, operands)
    form = {"operation": operation.name}
    return form | {_operand_key(name): value for name, value in operands.items()}


def _operand_form(value: Any, bits: int) -> Any:
    if isinstance(value, Rights):
        return rights_names(value)
    if isinstance(value, bool | str):
        return value
    return hex(value) if bits == 64 or value > 0xFFFF else value


def _operand_key(name: str) -> str:
    """The operand's key in a file, where `operation` already says which operation it is."""
    return "number" if name == "operation" else name


def read_operation(raw: Mapping[str, Any], source: str, where: str) -> Operation:
    """The operation that is at `where` in a file.

    Raises:
        InvalidInput: it is none.
    """
    name = raw.get("operation")
    if name is None:
        invalid(source, where, "key 'operation' is missing")
    kind = OPERATIONS[_name(name, tuple(OPERATIONS), source, f"{where}.operation", "operation")]
    operands = {_operand_key(field.name): field for field in fields(kind)}
    for key in raw:
        if key != "operation" and key not in operands:
            known = ", ".join(["operation", *operands])
            invalid(source, where, f"unknown key {excerpt(key)} of {kind.name}; known: {known}")
    codes = {field.name: field for field in PROTOCOL.operations[kind.name].operands.fields}
    values: dict[str, Any] = {}
    for key, field in operands.items():
        if key not in raw:
            if field.default is MISSING:
                invalid(source, where, f"{kind.name} needs key {key!r}")
            continue
        enum = codes[field.name].enum
        place = f"{where}.{key}"
        if enum is not None:
            values[field.name] = _name(raw[key], tuple(enum.values()), source, place, key)
        else:
            held_as = operand_type(kind, field.name)
            values[field.name] = _operand(raw[key], held_as, source, place)
    try:
        return kind(**values)
    except InvalidArgument as error:
        invalid(source, where, str(error))


def _operand(value: Any, held_as: Any, source: str, where: str) -> Any:
    """An operand without an enumeration; its class checks whether the number fits."""
    if held_as is bool:
        if not isinstance(value, bool):
            invalid(source, where, f"expected true or false, got {excerpt(value)}")
        return value
    if held_as is Rights and isinstance(value, list):
        return _rights(value, source, where)
    return integer(value, source, where)


def _rights(names: list[Any], source: str, where: str) -> Rights:
    rights = Rights(0)
    for index, name in enumerate(names):
        known = PROTOCOL.flags["rights"]
        right = Rights(known[_name(name, tuple(known), source, f"{where}[{index}]", "right")])
        if right in rights:
            invalid(source, where, f"names {name!r} twice")
        rights |= right
    return rights


def _name(value: Any, known: tuple[str, ...], source: str, where: str, what: str) -> str:
    try:
        return choose(value, known)
    except InvalidArgument as error:
        invalid(source, where, f"unknown {what} {excerpt(value)}; {error}")
