"""Generate protocol.hpp and protocol.h, the kernel's side of protocol.toml.

Usage: generate_protocol.py INPUT.toml OUTPUT.hpp [--macros OUTPUT.h] [--image NAME]

The build runs this as a plain script, so it needs the standard library only. The output depends on
nothing but the input.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import textwrap
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["DEFAULT_IMAGE", "generate", "generate_macros", "main"]

_BYTES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}
_MEMBER = "    "

DEFAULT_IMAGE = "i686"

_PROLOGUE = """\
// Generated from protocol.toml by generate_protocol.py: edit those, not this.
#pragma once

#include <cstdint>

// GCC takes an enumerator for a variable that hides a constant of the same name.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"

namespace protocol {
"""

_EPILOGUE = ["} // namespace protocol", "", "#pragma GCC diagnostic pop"]

# The one part of the format that protocol.toml gives in prose: what every operation starts with.
_OPERATION_HEADER = [{"name": "code", "type": "u16"}, {"name": "size", "type": "u16"}]


class _SchemaError(Exception):
    """The protocol cannot be said in C++; the message names the place."""


def _integer(bytes_: int) -> str:
    return f"std::uint{bytes_ * 8}_t"


def _type(field: Mapping[str, Any]) -> str:
    name = field["type"]
    if name not in _BYTES:
        raise _SchemaError(
            f"field {field['name']!r}: unknown type {name!r}; use {', '.join(_BYTES)}"
        )
    return _integer(_BYTES[name])


def _size(fields: Iterable[Mapping[str, Any]]) -> int:
    return sum(_BYTES[field["type"]] for field in fields)


def _constant(name: str, value: int) -> str:
    bytes_ = 4 if value < 1 << 32 else 8
    return f"inline constexpr {_integer(bytes_)} {name} = {value:#x};"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent="// ", subsequent_indent="// ")


def _enumeration(name: str, underlying: str, values: Mapping[str, int]) -> list[str]:
    body = [f"{_MEMBER}{value} = {code}," for value, code in values.items()]
    return [f"enum class {name} : {underlying} {{", *body, "};", ""]


def _structure(
    name: str,
    fields: Sequence[Mapping[str, Any]],
    *,
    types: Mapping[str, str] | None = None,
    doc: str = "",
    before: Sequence[str] = (),
    size_before: int = 0,
) -> list[str]:
    """A packed structure and the assertion of its size.

    Args:
        name: of the structure.
        fields: as in the protocol.
        types: C++ types of the fields that are not plain integers, by the field's name.
        doc: becomes a comment.
        before: lines of the body that come before the fields.
        size_before: bytes of the members in `before`.
    """
    members = [*(_MEMBER + line for line in before)]
    for field in fields:
        plain = _type(field)
        member = f"{_MEMBER}{(types or {}).get(field['name'], plain)} {field['name']};"
        members.append(member + (f" // {field['doc']}" if "doc" in field else ""))
    return [
        *_comment(doc),
        f"struct [[gnu::packed]] {name} {{",
        *members,
        "};",
        f"static_assert(sizeof({name}) == {size_before + _size(fields)});",
        "",
    ]


def _field_type(fields: Iterable[Mapping[str, Any]], name: str) -> str:
    for field in fields:
        if field["name"] == name:
            return _type(field)
    raise _SchemaError(f"no field {name!r} to hold an enumeration of that name")


def _is_known(name: str, values: Mapping[str, int]) -> list[str]:
    """What tells a value of an enumeration from a number that somebody else made up."""
    return [
        f"[[nodiscard]] constexpr bool is_known({name} value) {{",
        f"{_MEMBER}switch (value) {{",
        *(f"{_MEMBER}case {name}::{value}:" for value in values),
        f"{_MEMBER * 2}return true;",
        f"{_MEMBER}}}",
        f"{_MEMBER}return false;",
        "}",
        "",
    ]


def _flags(name: str, underlying: str, values: Mapping[str, int]) -> list[str]:
    every = 0
    for value in values.values():
        every |= value
    return [
        *_enumeration(name, underlying, values),
        f"inline constexpr {underlying} every_{name} = {every:#x};",
        f"[[nodiscard]] constexpr bool has({underlying} flags, {name} flag) {{",
        f"{_MEMBER}return (flags & static_cast<{underlying}>(flag)) != 0;",
        "}",
        "",
    ]


def _enum_types(fields: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {field["name"]: field["enum"] for field in fields if "enum" in field}


def _enum_widths(raw: Mapping[str, Any]) -> dict[str, str]:
    """The underlying type of each enumeration: that of the fields that hold it."""
    widths: dict[str, str] = {}
    records = [(f"event {name!r}", entry["fields"]) for name, entry in raw["event"].items()]
    records += [
        (f"operation {name!r}", entry["operands"]) for name, entry in raw["operation"].items()
    ]
    for record, fields in records:
        for field in fields:
            if "enum" not in field:
                continue
            if field["enum"] not in raw["enum"]:
                raise _SchemaError(f"{record}: unknown enumeration {field['enum']!r}")
            underlying = _type(field)
            if widths.setdefault(field["enum"], underlying) != underlying:
                raise _SchemaError(f"enumeration {field['enum']!r} is used with two widths")
    return widths


def _mailbox(raw: Mapping[str, Any]) -> list[str]:
    section, fields = raw["mailbox"], raw["mailbox"]["fields"]
    types = {"state": "mailbox_state", "control": "mailbox_control", "detail": "mailbox_refusal"}
    return [
        _constant("mailbox_magic", section["magic"]),
        *_enumeration("mailbox_state", _field_type(fields, "state"), section["states"]),
        *_enumeration("mailbox_refusal", _field_type(fields, "detail"), section["refusals"]),
        *_enumeration("mailbox_control", _field_type(fields, "control"), section["controls"]),
        *_structure("mailbox", fields, types=types),
    ]


def _with_flags(raw: Mapping[str, Any], name: str) -> list[str]:
    section, fields = raw[name], raw[name]["fields"]
    return [
        _constant(f"{name}_magic", section["magic"]),
        *_flags(f"{name}_flag", _field_type(fields, "flags"), section["flag"]),
        *_structure(f"{name}_header", fields),
    ]


def _operations(raw: Mapping[str, Any]) -> list[str]:
    operations = raw["operation"]
    codes = {name: entry["code"] for name, entry in operations.items()}
    types = {"code": "operation_code"}
    lines = [
        *_enumeration("operation_code", _field_type(_OPERATION_HEADER, "code"), codes),
        *_structure("operation_header", _OPERATION_HEADER, types=types),
        "// Each operation as it stands in a program, its header included.",
        "namespace operation {",
        "",
    ]
    for name, entry in operations.items():
        size = _size(_OPERATION_HEADER) + _size(entry["operands"])
        before = [
            f"static constexpr operation_code code = operation_code::{name};",
            f"operation_header header{{code, {size}}};",
        ]
        lines += _structure(
            name,
            entry["operands"],
            types=_enum_types(entry["operands"]),
            doc=entry["doc"],
            before=before,
            size_before=_size(_OPERATION_HEADER),
        )
    lines += ["} // namespace operation", ""]
    cases = []
    for name in operations:
        cases += [
            f"{_MEMBER}case operation_code::{name}:",
            f"{_MEMBER * 2}return sizeof(operation::{name});",
        ]
    return [
        *lines,
        "// The bytes of an operation, its header included; 0 for a code that is none.",
        "[[nodiscard]] constexpr std::uint16_t operation_size(operation_code code) {",
        f"{_MEMBER}switch (code) {{",
        *cases,
        f"{_MEMBER}}}",
        f"{_MEMBER}return 0;",
        "}",
        "",
    ]


def _trace(raw: Mapping[str, Any]) -> list[str]:
    trace, events = raw["trace"], raw["event"]
    kinds = {name: entry["code"] for name, entry in events.items()}
    lines = [
        _constant("trace_magic", trace["magic"]),
        *_enumeration("trace_status", _field_type(trace["header"], "status"), trace["status"]),
        *_structure("trace_header", trace["header"], types={"status": "trace_status"}),
        *_enumeration("event_kind", _field_type(trace["record"], "kind"), kinds),
        *_structure("trace_record", trace["record"], types={"kind": "event_kind"}),
        "// Each event as it stands in the trace, its record header included.",
        "namespace event {",
        "",
    ]
    for name, entry in events.items():
        size = _size(trace["record"]) + _size(entry["fields"])
        before = [
            f"static constexpr event_kind kind = event_kind::{name};",
            f"trace_record record{{kind, {size}, 0}};",
        ]
        lines += _structure(
            name,
            entry["fields"],
            types=_enum_types(entry["fields"]),
            doc=entry["doc"],
            before=before,
            size_before=_size(trace["record"]),
        )
    return [*lines, "} // namespace event", ""]


def _state_regions(raw: Mapping[str, Any]) -> list[str]:
    regions = raw["enum"]["state_region"]
    names = ", ".join(f"state_region::{name}" for name in sorted(regions, key=regions.__getitem__))
    cases = []
    for name in regions:
        if name not in raw["state"]:
            raise _SchemaError(f"state region {name!r} has no section [state.{name}]")
        mask = raw["state"][name]["mask"]
        cases += [f"{_MEMBER}case state_region::{name}:", f"{_MEMBER * 2}return {mask:#x};"]
    return [
        "// In the order of their codes.",
        f"inline constexpr state_region state_regions[] = {{{names}}};",
        "",
        "// The bits of each word of a region that count.",
        "[[nodiscard]] constexpr std::uint32_t state_mask(state_region region) {",
        f"{_MEMBER}switch (region) {{",
        *cases,
        f"{_MEMBER}}}",
        f"{_MEMBER}return 0;",
        "}",
        "",
    ]


def _load(text: str, image: str) -> dict[str, Any]:
    """The protocol, with what is different in an image in its place."""
    raw = tomllib.loads(text)
    if image not in raw["image"]:
        raise _SchemaError(f"no image {image!r}; known: {', '.join(raw['image'])}")
    for section, values in raw["image"][image].items():
        raw[section] = raw[section] | values
    return raw


def generate(text: str, image: str = DEFAULT_IMAGE) -> str:
    """The text of protocol.hpp for the text of a protocol.toml, for one image.

    Raises:
        tomllib.TOMLDecodeError: it is not TOML.
        KeyError: a section is missing.
    """
    raw = _load(text, image)
    lines = [_PROLOGUE, _constant("version", raw["version"])]
    lines += [_constant(name, value) for name, value in raw["constants"].items()]
    lines += ["", "namespace boot {"]
    lines += [_constant(name, value) for name, value in raw["boot"].items()]
    lines += ["} // namespace boot", "", "namespace area {"]
    lines += [_constant(name, value) for name, value in raw["area"].items()]
    lines += ["} // namespace area", "", *_mailbox(raw)]
    lines += [*_with_flags(raw, "payload"), *_with_flags(raw, "program")]
    for name, values in raw["flag"].items():
        lines += _flags(f"{name}_flag", _integer(1), values)
    widths = _enum_widths(raw)
    operands = {
        name
        for entry in raw["operation"].values()
        for name in _enum_types(entry["operands"]).values()
    }
    for name, values in raw["enum"].items():
        lines += _enumeration(name, widths.get(name, _integer(4)), values)
        if name in operands:
            lines += _is_known(name, values)
    lines += [*_operations(raw), *_trace(raw), *_state_regions(raw), *_EPILOGUE]
    return "\n".join(lines) + "\n"


def generate_macros(text: str, image: str = DEFAULT_IMAGE) -> str:
    """The text of protocol.h, for assembly and linker scripts: the numbers they need, as macros.

    Raises:
        tomllib.TOMLDecodeError: it is not TOML.
        KeyError: a section is missing.
    """
    raw = _load(text, image)
    mailbox = raw["mailbox"]
    values = dict(raw["constants"])
    values |= {f"boot_{name}": value for name, value in raw["boot"].items()}
    values |= {f"area_{name}": value for name, value in raw["area"].items()}
    values |= {f"program_flag_{name}": value for name, value in raw["program"]["flag"].items()}
    values["program_magic"] = raw["program"]["magic"]
    values["mailbox_magic"] = mailbox["magic"]
    offset = 0
    for field in mailbox["fields"]:
        values[f"mailbox_offset_{field['name']}"] = offset
        offset += _BYTES[field["type"]]
    values |= {f"mailbox_control_{name}": code for name, code in mailbox["controls"].items()}
    lines = ["/* Generated from protocol.toml by generate_protocol.py: edit those, not this. */"]
    lines += [f"#define {name.upper()} {value:#x}" for name, value in values.items()]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the one file, write the other; the exit status."""
    parser = argparse.ArgumentParser(description="Generate protocol.hpp from protocol.toml.")
    parser.add_argument("input", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--macros", type=pathlib.Path, help="also write protocol.h here")
    parser.add_argument("--image", default=DEFAULT_IMAGE, help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        text = options.input.read_text(encoding="utf-8")
        options.output.write_text(generate(text, options.image), encoding="utf-8")
        if options.macros is not None:
            options.macros.write_text(generate_macros(text, options.image), encoding="utf-8")
    except KeyError as error:
        print(f"{options.input}: section or key {error} is missing", file=sys.stderr)
    except (_SchemaError, tomllib.TOMLDecodeError, OSError) as error:
        print(f"{options.input}: {error}", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
