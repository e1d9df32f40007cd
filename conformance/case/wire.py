"""Reading the files people hand in: JSON or TOML, checked strictly, one line for each error."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec
from msgspec.inspect import ListType, StructType, UnionType, type_info

from conformance.case.memory_map import ENTRY_SIZE, MemoryMap, Region, RegionType, type_name
from conformance.errors import InvalidArgument, InvalidInput

__all__ = [
    "SIZE_LIMIT",
    "RegionWire",
    "complete",
    "convert",
    "decode_text",
    "excerpt",
    "integer",
    "invalid",
    "memory_map",
    "one_line",
    "parse_json",
    "parse_toml",
    "read_text",
    "region_form",
]

SIZE_LIMIT = 16 << 20
"""Bytes: a larger file is not read."""

_EXCERPT = 80
_INTEGER = re.compile(r"0[xX][0-9a-fA-F]{1,32}|[0-9]{1,32}")
_UNNAMED_TYPE = re.compile(r"type-([0-9]{1,10})")
_TYPES = {type_name(number): int(number) for number in RegionType}

_Wire = TypeVar("_Wire", bound=msgspec.Struct)


class RegionWire(msgspec.Struct, forbid_unknown_fields=True):
    """A region in a file; map files may give `end` (half-open) in place of `length`."""

    base: int | str
    length: int | str | None = None
    end: int | str | None = None
    type: int | str = type_name(RegionType.AVAILABLE)
    entry_size: int | str = ENTRY_SIZE


def one_line(text: str) -> str:
    """The text with everything that is not printable escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def excerpt(value: object) -> str:
    """A value from a file as an error message shows it: quoted, escaped, cut to 80 characters."""
    if isinstance(value, dict):
        text = "an object"
    elif isinstance(value, list):
        text = "an array"
    elif isinstance(value, int) and value.bit_length() > 64:
        text = hex(value)  # the decimal form of a huge integer is refused
    elif isinstance(value, str):
        text = repr(value[: _EXCERPT * 2])
    else:
        text = repr(value)
    return one_line(text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…")


def invalid(source: str, where: str, problem: str) -> NoReturn:
    """Raise InvalidInput for what is at `where` (empty: the whole) in `source`."""
    raise InvalidInput(one_line(": ".join(part for part in (source, where, problem) if part)))


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        InvalidInput: it cannot be read, is over SIZE_LIMIT or is not UTF-8.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(SIZE_LIMIT + 1)
    except OSError as error:
        invalid(str(path), "", f"cannot be read: {error.strerror}")
    return decode_text(data, str(path))


def decode_text(text: str | bytes, source: str) -> str:
    """The text, its size and encoding checked.

    Raises:
        InvalidInput: it is over SIZE_LIMIT, or not UTF-8.
    """
    if len(text) > SIZE_LIMIT:
        invalid(source, "", f"is larger than {SIZE_LIMIT >> 20} MiB, the limit")
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        invalid(source, "", f"is not UTF-8 text: byte {error.start} is {text[error.start]:#04x}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members:
            raise ValueError(f"key {excerpt(key)} is given twice")
        members[key] = value
    return members


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


_JSON_WORDS = ("true", "false", "null", "-")


def parse_json(text: str | bytes, source: str) -> dict[str, Any]:
    """The object in a JSON text.

    Raises:
        InvalidInput: it is not JSON, or not an object.
    """
    text = decode_text(text, source)
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        rest = text.rstrip()[error.pos :]
        # Nothing is left, or the beginning of a word, or a string has no end.
        ended = any(word.startswith(rest) for word in _JSON_WORDS)
        ended = ended or error.msg.startswith("Unterminated")
        what = "ends too early (truncated?)" if ended else "is not JSON"
        invalid(source, f"line {error.lineno} column {error.colno}", f"{what}: {error.msg}")
    except ValueError as error:
        invalid(source, "", f"is not JSON: {str(error).partition(';')[0]}")
    except RecursionError:
        invalid(source, "", "is nested too deeply")
    if not isinstance(value, dict):
        invalid(source, "", f"expected a JSON object, got {excerpt(value)}")
    return value


def parse_toml(text: str | bytes, source: str) -> dict[str, Any]:
    """The table in a TOML text.

    Raises:
        InvalidInput: it is not TOML.
    """
    text = decode_text(text, source)
    try:
        return tomllib.loads(text)
    except ValueError as error:
        invalid(source, "", f"is not TOML: {error}")
    except RecursionError:
        invalid(source, "", "is nested too deeply")


def convert(value: dict[str, Any], wire: type[_Wire], source: str) -> _Wire:
    """The value as the wire struct, which has no room for anything unknown.

    Raises:
        InvalidInput: it has another shape.
    """
    try:
        return msgspec.convert(value, wire)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        steps = re.findall(r"\.(\w+)|\[(\d+)\]", path)
        where = path.rstrip("`").lstrip(".")
        part, keys = _at(value, wire, steps)
        missing = re.fullmatch(r"Object missing required field `(.*)`", problem)
        if problem.startswith("Object contains unknown field"):
            unknown = min(set(part) - set(keys))
            problem = f"unknown key {excerpt(unknown)}; known: {', '.join(keys)}"
        elif missing:
            problem = f"key {missing[1]!r} is missing"
        else:
            expected = re.sub(r"Expected `(.*)`, got `.*`", r"expected \1", problem)
            problem = f"{expected}, got {excerpt(part)}"
        invalid(source, where, problem)


def _at(value: Any, wire: type, steps: list[tuple[str, str]]) -> tuple[Any, list[str]]:
    """What is at the end of a path, and the keys it may have."""
    info = type_info(wire)
    for name, index in steps:
        info = _container(info)
        if isinstance(info, StructType):
            info = next(field.type for field in info.fields if field.encode_name == name)
            value = value[name]
        elif isinstance(info, ListType):
            info, value = info.item_type, value[int(index)]
    info = _container(info)
    keys = [field.encode_name for field in info.fields] if isinstance(info, StructType) else []
    return value, keys


def _container(info: Any) -> Any:
    """The object or array of an optional type; any other type as it is."""
    if not isinstance(info, UnionType):
        return info
    return next((one for one in info.types if isinstance(one, StructType | ListType)), info)


def integer(value: int | str, source: str, where: str) -> int:
    """A number given as such, or as text like "0x1000".

    Raises:
        InvalidInput: it is neither, or is negative or beyond anything a field can hold.
    """
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        number = int(value, 16) if value[:2] in ("0x", "0X") else int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        invalid(source, where, f'expected an integer or text like "0x1000", got {excerpt(value)}')
    if not 0 <= number < 1 << 65:
        invalid(source, where, f"expected an unsigned 64-bit integer, got {excerpt(value)}")
    return number


def _region_type(value: int | str, source: str, where: str) -> int:
    if isinstance(value, str):
        unnamed = _UNNAMED_TYPE.fullmatch(value)
        if unnamed:
            return int(unnamed[1])
        if value in _TYPES:
            return _TYPES[value]
        if not _INTEGER.fullmatch(value):
            known = ", ".join(_TYPES)
            invalid(source, where, f"expected an integer or one of {known}, got {excerpt(value)}")
    return integer(value, source, where)


def _region(wire: RegionWire, source: str, where: str) -> Region:
    base = integer(wire.base, source, f"{where}.base")
    if (wire.length is None) == (wire.end is None):
        invalid(source, where, "expected either length or end (half-open)")
    if wire.length is not None:
        length = integer(wire.length, source, f"{where}.length")
    else:
        assert wire.end is not None
        end = integer(wire.end, source, f"{where}.end")
        length = end - base
        if length < 0:
            invalid(source, f"{where}.end", f"end={end:#x} is below base={base:#x}")
    kind = _region_type(wire.type, source, f"{where}.type")
    entry_size = integer(wire.entry_size, source, f"{where}.entry_size")
    try:
        return Region(base, length, kind, entry_size)
    except InvalidArgument as error:
        invalid(source, where, str(error))


def memory_map(regions: list[RegionWire], cut: int | str, source: str, where: str) -> MemoryMap:
    """The memory map whose regions are at `where` ("" or "memory_map.") in a file.

    Raises:
        InvalidInput: a value does not fit.
    """
    values = tuple(
        _region(region, source, f"{where}regions[{index}]") for index, region in enumerate(regions)
    )
    try:
        return MemoryMap(values, integer(cut, source, f"{where}cut"))
    except InvalidArgument as error:
        invalid(source, where.rstrip("."), str(error))


def complete(value: Any, form: dict[str, Any], *more: str) -> None:
    """Assert that a dataclass's file form has each of its fields, and `more`, and nothing else."""
    names = {*(field.name for field in fields(value)), *more}
    assert form.keys() == names, f"{type(value).__name__}: wrote {sorted(form)} of {sorted(names)}"


def region_form(region: Region) -> dict[str, Any]:
    """A region as it is written to files; `entry_size` only where it is not the plain one."""
    name = type_name(region.type)
    form: dict[str, Any] = {
        "base": hex(region.base),
        "length": hex(region.length),
        "type": name if name in _TYPES else int(region.type),
        "entry_size": region.entry_size,
    }
    complete(region, form)
    if region.entry_size == ENTRY_SIZE:
        del form["entry_size"]
    return form
