"""Decoding: the bytes of a trace become events."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from conformance.protocol import PROTOCOL

__all__ = ["UNDECODABLE", "Event", "decode", "encode"]

UNDECODABLE = "undecodable"
"""Kind of the pseudo-event that stands where a trace stops making sense."""


@dataclass(frozen=True, slots=True)
class Event:
    """One decoded trace record.

    Attributes:
        kind: the protocol's name for it, or UNDECODABLE.
        fields: the values by name. Of an undecodable rest: `offset` (bytes into the trace).
    """

    kind: str
    fields: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", MappingProxyType(dict(self.fields)))

    def __hash__(self) -> int:
        return hash((self.kind, frozenset(self.fields.items())))

    def __str__(self) -> str:
        return " ".join([self.kind, *(f"{name}={self.show(name)}" for name in self.fields)])

    def show(self, name: str) -> str:
        """A field's value as people read it: an enumeration's name, else hexadecimal or decimal."""
        value = self.fields[name]
        kind = PROTOCOL.events.get(self.kind)
        layout = () if kind is None else kind.layout.fields
        for candidate in layout:
            if candidate.name == name and candidate.enum is not None:
                return candidate.enum.get(value, f"{value}?")
        return hex(value) if value > 0xFFFF else str(value)


def decode(trace: bytes) -> tuple[Event, ...]:
    """The events of a trace. Never fails: where a record makes no sense, the last event is
    UNDECODABLE and what follows is not looked at.
    """
    events: list[Event] = []
    offset = 0
    header = PROTOCOL.trace_record
    while offset < len(trace):
        try:
            record = header.unpack(trace, offset)
        except struct.error:
            break
        kind = PROTOCOL.events_by_code.get(record["kind"])
        if (
            kind is None
            or record["size"] != header.size + kind.layout.size
            or record["sequence"] != len(events)
            or offset + record["size"] > len(trace)
        ):
            break
        events.append(Event(kind.name, kind.layout.unpack(trace, offset + header.size)))
        offset += record["size"]
    if offset < len(trace):
        events.append(Event(UNDECODABLE, {"offset": offset}))
    return tuple(events)


def encode(events: tuple[Event, ...]) -> bytes:
    """The trace of events: the inverse of `decode`."""
    parts = []
    for sequence, event in enumerate(events):
        kind = PROTOCOL.events[event.kind]
        fields = kind.layout.pack(**event.fields)
        size = PROTOCOL.trace_record.size + len(fields)
        parts.append(
            PROTOCOL.trace_record.pack(kind=kind.code, size=size, sequence=sequence) + fields
        )
    return b"".join(parts)
