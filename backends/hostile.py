"""Images whose kernel misbehaves: what a backend has to survive.

A hostile image is the given one with a segment of machine code more, which is entered instead of
the kernel. It lets every program through to the kernel, except those of TRIGGER operations. So one
session can run a hostile case between two harmless ones.

The code runs as a Multiboot loader leaves the machine: 32-bit, flat segments, no paging, no stack.
"""

from __future__ import annotations

import dataclasses
import struct

from conformance.case.image import Image
from conformance.protocol import PROTOCOL

__all__ = [
    "HALT",
    "PRINT_FOREVER",
    "SPIN",
    "TRIGGER",
    "UNDEFINED_INSTRUCTION",
    "end_run",
    "fault_forever",
    "hostile_image",
    "print_bytes",
    "store",
    "store_trace",
]

TRIGGER = 13
"""A program of so many operations enters the hostile code."""

SPIN = b"\xeb\xfe"  # 1: jmp 1b
HALT = b"\xfa\xf4\xeb\xfd"  # cli; 1: hlt; jmp 1b
UNDEFINED_INSTRUCTION = b"\x0f\x0b"  # ud2
PRINT_FOREVER = b"\xb0x\xe6\xe9\xeb\xfc"  # mov $'x', %al; 1: out %al, $0xE9; jmp 1b

_ADDRESS = 0x00800000  # of the code: in RAM, and far from everything in protocol.toml's [boot]
_GATES, _HANDLER, _STACK = 0x00A00000, 0x00A01000, 0x00A03000
_ELF_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_ENTRY, _SEGMENT_TABLE, _SEGMENT_COUNT = 4, 5, 10  # fields of it
_SEGMENT = struct.Struct("<8I")
_LOAD, _READ_EXECUTE = 1, 5
_CODE_SELECTOR, _INTERRUPT_GATE = 0x08, 0x8E00


def hostile_image(image: Image, code: bytes) -> Image:
    """The image with this code in the kernel's place, for programs of TRIGGER operations."""
    operations = PROTOCOL.boot["module"] + PROTOCOL.program.offset("operations")
    gate = struct.pack("<BBII", 0x81, 0x3D, operations, TRIGGER)  # cmpl $TRIGGER, operations
    gate += b"\x74\x05"  # je over the jump
    gate += struct.pack("<Bi", 0xE9, image.entry - (_ADDRESS + len(gate) + 5))  # jmp kernel
    return dataclasses.replace(image, kernel=_with_segment(image.kernel, gate + code))


def store(address: int, data: bytes) -> bytes:
    """Code that writes these bytes, and zeros up to a multiple of 4, to a physical address."""
    words = struct.iter_unpack("<I", data.ljust(-(-len(data) // 4) * 4, b"\0"))
    return b"".join(
        struct.pack("<BBII", 0xC7, 0x05, address + 4 * index, word)  # movl $word, address
        for index, (word,) in enumerate(words)
    )


def store_trace(
    image: Image, trace: bytes, status: str | int = "completed", **header: int
) -> bytes:
    """Code that writes a trace with its header.

    Args:
        image: where its trace buffer is.
        trace: the records.
        status: the header's status, by name or number.
        header: fields of the header that are to have other values.
    """
    start, end = image.bounds("trace_buffer")
    fields = {
        "magic": PROTOCOL.trace_magic,
        "version": PROTOCOL.version,
        "capacity": end - start - PROTOCOL.trace_header.size,
        "written": len(trace),
        "records": 0,
        "status": PROTOCOL.trace_status[status] if isinstance(status, str) else status,
    }
    return store(start, PROTOCOL.trace_header.pack(**(fields | header)) + trace)


def print_bytes(count: int) -> bytes:
    """Code that prints so many bytes, none of which rings."""
    return struct.pack("<BI", 0xB9, count) + b"\xb0x\xe6\xe9\xe2\xfc"  # 1: out; loop 1b


def fault_forever() -> bytes:
    """Code that raises #UD again and again, each time out of its handler."""
    handler = struct.pack("<BI", 0xBC, _STACK) + UNDEFINED_INSTRUCTION  # mov $stack, %esp; ud2
    gate = struct.pack("<HHHH", _HANDLER & 0xFFFF, _CODE_SELECTOR, _INTERRUPT_GATE, _HANDLER >> 16)
    register = struct.pack("<HI", 7 * len(gate) - 1, _GATES)
    return (
        store(_GATES + 6 * len(gate), gate)
        + store(_HANDLER, handler)
        + store(_STACK, register)
        + struct.pack("<3sI", b"\x0f\x01\x1d", _STACK)  # lidt
        + struct.pack("<BIBB", 0xB8, _HANDLER, 0xFF, 0xE0)  # mov $handler, %eax; jmp *%eax
    )


def end_run() -> bytes:
    """The exit path (kernel/boot/run_end.S)."""
    control = PROTOCOL.boot["mailbox"] + PROTOCOL.mailbox.offset("control")
    restart = PROTOCOL.mailbox_controls["restart"]
    return (
        b"\xb0\x04\xe6\xe9"  # mov $4, %al; out %al, $0xE9
        b"\x66\x87\xdb"  # xchg %bx, %bx
        + struct.pack("<BBIB", 0x83, 0x3D, control, restart)  # cmpl $restart, control
        + b"\x75\x04"  # jne over the reset
        + b"\xb0\xfe\xe6\x64"  # mov $0xFE, %al; out %al, $0x64
        + HALT
    )


def _with_segment(elf: bytes, code: bytes) -> bytes:
    """The ELF file with one more segment, whose beginning is its entry point."""
    header = list(_ELF_HEADER.unpack_from(elf))
    table_size = header[_SEGMENT_COUNT] * _SEGMENT.size
    table = elf[header[_SEGMENT_TABLE] :][:table_size]
    body = elf.ljust(-(-len(elf) // 4) * 4, b"\0")
    position = len(body) + table_size + _SEGMENT.size
    segment = _SEGMENT.pack(
        _LOAD, position, _ADDRESS, _ADDRESS, len(code), len(code), _READ_EXECUTE, 4
    )
    header[_ENTRY] = _ADDRESS
    header[_SEGMENT_TABLE] = len(body)
    header[_SEGMENT_COUNT] += 1
    return _ELF_HEADER.pack(*header) + body[_ELF_HEADER.size :] + table + segment + code
