"""Bytes of instructions that set up what interrupts from outside: the same in both modes."""

from __future__ import annotations

from backends.tests.reference_machine import KERNEL_DATA, word

TIMER = 0x20
STI, CLI, PUSHF, POPF = b"\xfb", b"\xfa", b"\x9c", b"\x9d"
MOV_SS = b"\x8e\xd2"  # mov %edx, %ss
SELF = b"\xeb\xfe"  # jmp to itself
RF = 0x10000


def out(port: int, value: int) -> bytes:
    return b"\xb0" + bytes([value]) + b"\xe6" + bytes([port])


def controllers(mask: int = 0xFE) -> bytes:
    first = (0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, mask)
    second = (0xA0, 0x11), (0xA1, 0x28), (0xA1, 2), (0xA1, 1), (0xA1, 0xFF)
    return b"".join(out(*write) for write in (*first, *second))


def timer(divisor: int = 500, control: int = 0x34) -> bytes:
    return out(0x43, control) + out(0x40, divisor & 0xFF) + out(0x40, divisor >> 8)


END = b"\x50" + out(0x20, 0x20) + b"\x58"  # with EAX, or RAX, kept
START = controllers() + timer() + b"\xba" + word(KERNEL_DATA)  # mov $KERNEL_DATA, %edx
# Wait, with interrupts off, until one is requested: the request register is what is read.
PENDING = b"\xe4\x20\xa8\x01\x74\xfa"  # in $0x20, %al; test $1, %al; jz
