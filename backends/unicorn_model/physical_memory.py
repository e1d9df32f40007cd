"""Physical memory, as the page walk sees it."""

from __future__ import annotations

import struct

__all__ = ["PhysicalMemory"]

_FORMATS = {4: struct.Struct("<I"), 8: struct.Struct("<Q")}


class PhysicalMemory:
    """Guest RAM from physical 0.

    Memory that is not there reads as all ones, as a bus does that nobody answers on, and what is
    written to it is lost.
    """

    def __init__(self, ram: memoryview) -> None:
        self._ram = ram
        self._size = len(ram)

    def read(self, address: int, size: int) -> int:
        """Read an entry of 4 or 8 bytes at an address that is a multiple of its size."""
        if address + size > self._size:
            return (1 << 8 * size) - 1
        return int(_FORMATS[size].unpack_from(self._ram, address)[0])

    def set_bits(self, address: int, size: int, bits: int) -> None:
        """Set bits of an entry as it is now, which need not be as it was when it was read."""
        if address + size <= self._size:
            entry = self.read(address, size)
            if entry & bits != bits:
                _FORMATS[size].pack_into(self._ram, address, entry | bits)
