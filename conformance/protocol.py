"""kernel/protocol.toml, loaded: what the harness and the kernel say to each other.

Everything that has a code or a width on the wire is looked up here by its name.
"""

from __future__ import annotations

import functools
import struct
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from conformance.errors import ProtocolError
from conformance.resources import resource

__all__ = [
    "PROTOCOL",
    "Comparison",
    "EventKind",
    "Field",
    "ImageValues",
    "OperationKind",
    "Protocol",
    "RecordLayout",
    "StateRegion",
    "load",
]

_FORMATS = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q"}


class Comparison(StrEnum):
    """How a field is compared across observations."""

    EXACT = "exact"
    SYMBOLIC = "symbolic"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record.

    Attributes:
        name: as in the protocol.
        type: `u8`, `u16`, `u32` or `u64`.
        comparison: how two observations of it are compared.
        mask: the bits that are compared; all of them unless the protocol says otherwise.
        reason: why bits or the whole field are left out of the comparison; empty if none are.
        enum: names of its values, or None for a plain number.
        key: the field says what the event is about, and belongs into a signature.
        as_bits: a difference is told as bits set and bits lost.
    """

    name: str
    type: str
    comparison: Comparison = Comparison.EXACT
    mask: int | None = None
    reason: str = ""
    enum: Mapping[int, str] | None = None
    key: bool = False
    as_bits: bool = False

    @property
    def bits(self) -> int:
        """Width in bits."""
        return struct.calcsize("<" + _FORMATS[self.type]) * 8


@dataclass(frozen=True, slots=True)
class RecordLayout:
    """A packed little-endian record: its fields and the `struct` that reads them."""

    fields: tuple[Field, ...]
    struct: struct.Struct

    @property
    def size(self) -> int:
        """Bytes."""
        return self.struct.size

    def offset(self, name: str) -> int:
        """Where a field begins, in bytes."""
        names = [field.name for field in self.fields]
        return sum(field.bits for field in self.fields[: names.index(name)]) // 8

    def pack(self, **values: int) -> bytes:
        """The record's bytes; every field has to be named, once.

        Raises:
            ProtocolError: a field is missing, unknown or out of range.
        """
        names = [field.name for field in self.fields]
        if set(names) != set(values):
            raise ProtocolError(f"record of {names} packed from {sorted(values)}")
        try:
            return self.struct.pack(*(values[name] for name in names))
        except struct.error as error:
            raise ProtocolError(f"value out of range in {values}: {error}") from error

    def unpack(self, data: bytes, offset: int = 0) -> dict[str, int]:
        """The record at `offset`, by field name.

        Raises:
            struct.error: fewer than `size` bytes are left.
        """
        values = self.struct.unpack_from(data, offset)
        return {field.name: value for field, value in zip(self.fields, values, strict=True)}


@dataclass(frozen=True, slots=True)
class EventKind:
    """One kind of trace record."""

    name: str
    code: int
    doc: str
    layout: RecordLayout


@dataclass(frozen=True, slots=True)
class OperationKind:
    """One operation of the program interpreter."""

    name: str
    code: int
    doc: str
    operands: RecordLayout


@dataclass(frozen=True, slots=True)
class StateRegion:
    """A region of the kernel's memory that can be read from outside when a run is over.

    Attributes:
        name: as in the protocol.
        code: its bit in the program's `state_regions` is `1 << code`.
        start, end: the image's symbols that bound it, half-open.
        mask: the bits of each 32-bit word that count.
        reason: why the others do not.
    """

    name: str
    code: int
    start: str
    end: str
    mask: int
    reason: str


@dataclass(frozen=True, slots=True)
class ImageValues:
    """The constants as one image has them: some are its own, the others those of all.

    Attributes:
        constants, boot, area: as in Protocol.
    """

    constants: Mapping[str, int]
    boot: Mapping[str, int]
    area: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Protocol:
    """The whole protocol. Mappings are keyed by name unless they say otherwise.

    What `constants`, `boot` and `area` say of an address or of the allocator's capacity is true of
    the image i686 only; `images` has it for each.
    """

    version: int
    constants: Mapping[str, int]
    boot: Mapping[str, int]
    area: Mapping[str, int]
    images: Mapping[str, ImageValues]
    flags: Mapping[str, Mapping[str, int]]
    enums: Mapping[str, Mapping[int, str]]
    events: Mapping[str, EventKind]
    events_by_code: Mapping[int, EventKind]
    operations: Mapping[str, OperationKind]
    operations_by_code: Mapping[int, OperationKind]
    state_regions: Mapping[str, StateRegion]
    mailbox_magic: int
    mailbox: RecordLayout
    mailbox_states: Mapping[str, int]
    mailbox_refusals: Mapping[int, str]
    mailbox_controls: Mapping[str, int]
    payload_magic: int
    payload: RecordLayout
    payload_flags: Mapping[str, int]
    program_magic: int
    program: RecordLayout
    program_flags: Mapping[str, int]
    trace_magic: int
    trace_header: RecordLayout
    trace_record: RecordLayout
    trace_status: Mapping[str, int]

    def code(self, enum: str, name: str) -> int:
        """The code of the value called `name` of an enumeration.

        Raises:
            KeyError: there is no such enumeration or value.
        """
        for code, known in self.enums[enum].items():
            if known == name:
                return code
        raise KeyError(f"{enum}.{name}")


def _layout(raw: list[dict[str, Any]], enums: Mapping[str, Mapping[int, str]]) -> RecordLayout:
    fields = []
    for entry in raw:
        if entry["type"] not in _FORMATS:
            raise ProtocolError(f"field {entry['name']!r}: unknown type {entry['type']!r}")
        comparison = Comparison(entry.get("compare", "exact"))
        mask, reason = entry.get("mask"), entry.get("reason", "")
        if (mask is not None or comparison is Comparison.IGNORED) and not reason:
            raise ProtocolError(f"field {entry['name']!r} is masked or ignored without a reason")
        enum = enums[entry["enum"]] if "enum" in entry else None
        fields.append(
            Field(
                entry["name"],
                entry["type"],
                comparison,
                mask,
                reason,
                enum,
                entry.get("key", False),
                entry.get("bits", False),
            )
        )
    if len({field.name for field in fields}) != len(fields):
        raise ProtocolError(f"two fields of one name in {[field.name for field in fields]}")
    packed = struct.Struct("<" + "".join(_FORMATS[field.type] for field in fields))
    return RecordLayout(tuple(fields), packed)


def _unique(section: str, codes: list[int]) -> None:
    if len(set(codes)) != len(codes):
        raise ProtocolError(f"[{section}]: two entries share one code: {sorted(codes)}")


def _images(raw: dict[str, Any]) -> dict[str, ImageValues]:
    sections = ("constants", "boot", "area")
    for name, own in raw["image"].items():
        unknown = own.keys() - set(sections)
        if unknown:
            raise ProtocolError(f"[image.{name}]: unknown sections {sorted(unknown)}")
    return {
        name: ImageValues(*(raw[section] | own.get(section, {}) for section in sections))
        for name, own in raw["image"].items()
    }


def load(text: str) -> Protocol:
    """Parse and check a protocol.

    Raises:
        ProtocolError: it contradicts itself.
        tomllib.TOMLDecodeError: it is not TOML.
    """
    raw = tomllib.loads(text)
    enums = {
        name: {code: value for value, code in values.items()}
        for name, values in raw["enum"].items()
    }
    for name, values in raw["enum"].items():
        _unique(f"enum.{name}", list(values.values()))
    events = {
        name: EventKind(name, event["code"], event["doc"], _layout(event["fields"], enums))
        for name, event in raw["event"].items()
    }
    _unique("event", [event.code for event in events.values()])
    operations = {
        name: OperationKind(name, kind["code"], kind["doc"], _layout(kind["operands"], enums))
        for name, kind in raw["operation"].items()
    }
    _unique("operation", [kind.code for kind in operations.values()])
    regions = {}
    for code, name in enums["state_region"].items():
        entry = raw["state"][name]
        regions[name] = StateRegion(
            name, code, entry["start"], entry["end"], entry["mask"], entry.get("reason", "")
        )
    return Protocol(
        version=raw["version"],
        constants=raw["constants"],
        boot=raw["boot"],
        area=raw["area"],
        images=_images(raw),
        flags=raw["flag"],
        enums=enums,
        events=events,
        events_by_code={event.code: event for event in events.values()},
        operations=operations,
        operations_by_code={kind.code: kind for kind in operations.values()},
        state_regions=regions,
        mailbox_magic=raw["mailbox"]["magic"],
        mailbox=_layout(raw["mailbox"]["fields"], enums),
        mailbox_states=raw["mailbox"]["states"],
        mailbox_refusals={code: name for name, code in raw["mailbox"]["refusals"].items()},
        mailbox_controls=raw["mailbox"]["controls"],
        payload_magic=raw["payload"]["magic"],
        payload=_layout(raw["payload"]["fields"], enums),
        payload_flags=raw["payload"]["flag"],
        program_magic=raw["program"]["magic"],
        program=_layout(raw["program"]["fields"], enums),
        program_flags=raw["program"]["flag"],
        trace_magic=raw["trace"]["magic"],
        trace_header=_layout(raw["trace"]["header"], enums),
        trace_record=_layout(raw["trace"]["record"], enums),
        trace_status=raw["trace"]["status"],
    )


@functools.cache
def _default() -> Protocol:
    return load(resource("protocol.toml").read_text(encoding="utf-8"))


PROTOCOL = _default()
