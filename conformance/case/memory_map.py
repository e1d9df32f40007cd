"""Memory maps: the regions that a boot loader reports."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from conformance.errors import InvalidArgument

__all__ = [
    "ADDRESS_LIMIT",
    "ENTRY_SIZE",
    "PLAIN_MAP",
    "MemoryMap",
    "Region",
    "RegionType",
    "type_name",
]

ADDRESS_LIMIT = 1 << 64
"""Addresses are below this."""

ENTRY_SIZE = 20
"""Bytes of a plain Multiboot map entry: base, length, type (Multiboot 0.6.96, section 3.3)."""

_BODY_LIMIT = 256
"""An entry that claims more bytes than this is written with this many."""


class RegionType(IntEnum):
    """The region types with a name (ACPI 6.4, table 15-5); any 32-bit number is a type."""

    AVAILABLE = 1
    RESERVED = 2
    ACPI_RECLAIMABLE = 3
    ACPI_NVS = 4
    BAD = 5
    DISABLED = 6
    PERSISTENT = 7


def type_name(number: int) -> str:
    """The type's name in lower case, or `type-N` where it has none."""
    try:
        return RegionType(number).name.lower().replace("_", "-")
    except ValueError:
        return f"type-{number}"


def _check(name: str, value: int, limit: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidArgument(f"{name} must be an integer, got {value!r} ({type(value).__name__})")
    if not 0 <= value < limit:
        raise InvalidArgument(f"{name}={value:#x} is outside [0, {limit:#x})")


@dataclass(frozen=True, slots=True)
class Region:
    """One entry of a memory map: bytes [base, base + length) of one type.

    `end` may pass 2^64: a hostile map can say so.

    Attributes:
        base, length: bytes, each below 2^64.
        type: see RegionType; any 32-bit number.
        entry_size: the size the loader's entry claims, in bytes, without the size field itself.

    Raises:
        InvalidArgument: a value does not fit.
    """

    base: int
    length: int
    type: int = RegionType.AVAILABLE
    entry_size: int = ENTRY_SIZE

    def __post_init__(self) -> None:
        _check("base", self.base, ADDRESS_LIMIT)
        _check("length", self.length, ADDRESS_LIMIT)
        _check("type", self.type, 1 << 32)
        _check("entry_size", self.entry_size, 1 << 32)

    @property
    def end(self) -> int:
        """First address after the region; above 2^64 where the region wraps."""
        return self.base + self.length

    @property
    def wraps(self) -> bool:
        """The region reaches past the last 64-bit address."""
        return self.end > ADDRESS_LIMIT

    def encode(self) -> bytes:
        """The Multiboot map entry, size field included.

        An entry whose `entry_size` is below 20 is cut short; one above is filled up with 0xA5, to
        256 bytes at the most even where it claims more.
        """
        body = struct.pack("<QQI", self.base, self.length, self.type)
        body = body.ljust(min(self.entry_size, _BODY_LIMIT), b"\xa5")[: self.entry_size]
        return struct.pack("<I", self.entry_size) + body

    def __str__(self) -> str:
        return f"[{self.base:#x}, {self.end:#x}) {type_name(self.type)}"


@dataclass(frozen=True, slots=True)
class MemoryMap:
    """The regions in the loader's order, which need be neither sorted nor disjoint.

    Attributes:
        regions: the entries.
        cut: how many bytes the loader's map is short of its last entries' end.

    Raises:
        InvalidArgument: `cut` is negative or more than there is.
    """

    regions: tuple[Region, ...] = ()
    cut: int = 0

    def __post_init__(self) -> None:
        size = sum(len(region.encode()) for region in self.regions)
        if not 0 <= self.cut <= size:
            raise InvalidArgument(f"cut={self.cut} is outside [0, {size}], the bytes of the map")

    def encode(self) -> bytes:
        """The Multiboot memory map: what `mmap_addr` points at, `mmap_length` bytes."""
        data = b"".join(region.encode() for region in self.regions)
        return data[: len(data) - self.cut]


PLAIN_MAP = MemoryMap((Region(0, 0x9F000), Region(1 << 20, 15 << 20)))
"""16 MiB of RAM as a BIOS reports them, for cases that are about something else."""
