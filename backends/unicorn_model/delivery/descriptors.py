"""Segment and gate descriptors, selectors, and the error codes that name them."""

from __future__ import annotations

import struct
from dataclasses import dataclass

__all__ = [
    "Descriptor",
    "Gate",
    "decode_descriptor",
    "decode_gate",
    "is_local",
    "is_null",
    "selector_error",
    "vector_error",
    "within_limit",
]

LDT = 0b00010
AVAILABLE_TSS_16, BUSY_TSS_16 = 0b00001, 0b00011
AVAILABLE_TSS, BUSY_TSS = 0b01001, 0b01011
TASK_GATE = 0b00101
INTERRUPT_GATE_16, TRAP_GATE_16 = 0b00110, 0b00111
INTERRUPT_GATE, TRAP_GATE = 0b01110, 0b01111

_CODE_OR_DATA, _CODE = 0b10000, 0b01000


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A segment descriptor (3.4.5, 3.5).

    Attributes:
        limit: in bytes, the offset of the last one (the G flag is applied).
        kind: the S flag and the type field, 5 bits.
        big: the D/B flag.
        long: the L flag: 64-bit code, in IA-32e mode (3.4.5). Elsewhere it means nothing.
    """

    base: int
    limit: int
    kind: int
    dpl: int
    present: bool
    big: bool
    long: bool = False

    # 3.4.5.1, table 3-1: the bits of the type field when S is set.
    @property
    def is_code(self) -> bool:
        """Executable."""
        return self.kind & 0b11000 == _CODE_OR_DATA | _CODE

    @property
    def is_data(self) -> bool:
        """A data or stack segment."""
        return self.kind & 0b11000 == _CODE_OR_DATA

    @property
    def is_conforming(self) -> bool:
        """A code segment that runs at its caller's privilege (5.8.1.2)."""
        return self.is_code and bool(self.kind & 0b00100)

    @property
    def is_expand_down(self) -> bool:
        """A data segment whose limit is its lower end."""
        return self.is_data and bool(self.kind & 0b00100)

    @property
    def is_writable(self) -> bool:
        """A data segment that can be written."""
        return self.is_data and bool(self.kind & 0b00010)

    @property
    def is_readable(self) -> bool:
        """Any data segment, or a readable code segment."""
        return self.is_data or (self.is_code and bool(self.kind & 0b00010))


@dataclass(frozen=True, slots=True)
class Gate:
    """A descriptor of the IDT (6.11).

    Attributes:
        kind: as in `Descriptor`.
    """

    selector: int
    offset: int
    kind: int
    dpl: int
    present: bool


def decode_descriptor(raw: bytes) -> Descriptor:
    """Decode 8 bytes of the GDT or an LDT (figure 3-8)."""
    low, high = struct.unpack("<II", raw)
    limit = low & 0xFFFF | high & 0xF0000
    if high >> 23 & 1:  # G: in units of 4 KiB; the low 12 bits of an offset are not tested
        limit = limit << 12 | 0xFFF
    return Descriptor(
        base=low >> 16 | (high & 0xFF) << 16 | high & 0xFF000000,
        limit=limit,
        kind=high >> 8 & 0x1F,
        dpl=high >> 13 & 3,
        present=bool(high >> 15 & 1),
        big=bool(high >> 22 & 1),
        long=bool(high >> 21 & 1),
    )


def decode_gate(raw: bytes) -> Gate:
    """Decode 8 bytes of the IDT (figure 6-2)."""
    low, high = struct.unpack("<II", raw)
    return Gate(
        selector=low >> 16,
        offset=high & 0xFFFF0000 | low & 0xFFFF,
        kind=high >> 8 & 0x1F,
        dpl=high >> 13 & 3,
        present=bool(high >> 15 & 1),
    )


def is_null(selector: int) -> bool:
    """3.4.2: index 0 of the GDT, with any RPL."""
    return selector & 0xFFFC == 0


def is_local(selector: int) -> bool:
    """3.4.2: the TI flag; the selector is one of the LDT."""
    return bool(selector & 4)


def vector_error(vector: int, external: bool) -> int:
    """6.13: an error code that refers to a gate of the IDT; the IDT flag is set."""
    return vector << 3 | 2 | int(external)


def selector_error(selector: int, external: bool) -> int:
    """6.13: an error code that refers to a descriptor of the GDT or the LDT (the TI flag)."""
    return selector & 0xFFFC | int(external)


def within_limit(descriptor: Descriptor, offset: int, size: int) -> bool:
    """Whether an access lies in a segment (5.3)."""
    last = offset + size - 1
    if descriptor.is_expand_down:
        top = 0xFFFFFFFF if descriptor.big else 0xFFFF
        return descriptor.limit < offset and last <= top
    # Open: "when the effective limit is FFFFFFFFH, these accesses may or may not cause" a fault
    # if they go round at the top. Here they do not.
    return last <= descriptor.limit or descriptor.limit == 0xFFFFFFFF
