"""What a kernel reads from the bytes of a Multiboot memory map (kernel/TRACE.md, step 4)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from conformance.case.memory_map import ENTRY_SIZE, Region

__all__ = ["MapReading", "read_map"]

_SIZE = struct.Struct("<I")
_BODY = struct.Struct("<QQI")


@dataclass(frozen=True, slots=True)
class MapReading:
    """The entries that count, and why there are no more.

    Attributes:
        regions: the entries, in the map's order.
        problem: the protocol's name of a `map_problem`.
    """

    regions: tuple[Region, ...]
    problem: str


def read_map(data: bytes | None) -> MapReading:
    """Read a map's bytes; None where the boot loader reports no map at all."""
    if data is None:
        return MapReading((), "absent")
    regions: list[Region] = []
    offset = 0
    while offset < len(data):
        left = len(data) - offset
        if left < _SIZE.size:
            return MapReading(tuple(regions), "truncated_entry")
        (entry_size,) = _SIZE.unpack_from(data, offset)
        if entry_size < ENTRY_SIZE:
            return MapReading(tuple(regions), "small_entry")
        if _SIZE.size + entry_size > left:
            return MapReading(tuple(regions), "truncated_entry")
        base, length, kind = _BODY.unpack_from(data, offset + _SIZE.size)
        regions.append(Region(base, length, kind, entry_size))
        offset += _SIZE.size + entry_size
    return MapReading(tuple(regions), "none")
