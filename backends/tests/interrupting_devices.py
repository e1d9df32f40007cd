"""Bytes of instructions that set up what interrupts from outside: the same in both modes."""

from __future__ import annotations

import pytest

from backends.tests.reference_machine import HLT, KERNEL_DATA, NOP, mov_ecx, word

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
LOOP = b"\xe2\xfe"  # loop to itself

in_both_modes = pytest.mark.parametrize("control", [0x34, 0x36], ids=["mode 2", "mode 3"])
"""A test of each mode in which the timer repeats, by its control word."""

silent = pytest.mark.parametrize(
    "code",
    [
        controllers(0xFF) + timer(16) + mov_ecx(20_000) + STI + LOOP,
        controllers(0xFD) + timer(16) + mov_ecx(20_000) + STI + LOOP,
        controllers() + out(0x43, 0x34) + mov_ecx(20_000) + STI + LOOP,
        START + mov_ecx(20_000) + LOOP,
    ],
    ids=["all masked", "masked", "no count", "interrupts off"],
)
"""A test of each thing that keeps the timer's interrupts away."""

halting = pytest.mark.parametrize(
    "code",
    [
        START + CLI + HLT,
        controllers(0xFF) + timer() + STI + HLT,
        controllers() + STI + HLT,
        STI + HLT,
    ],
    ids=["interrupts off", "masked", "no timer", "nothing"],
)
"""A test of each thing for which HLT waits in vain."""

HOLDING = {
    "sti": (STI + NOP + NOP, STI + NOP),
    "sti twice": (STI + STI + NOP, STI + STI),
    "mov ss": (STI + MOV_SS + NOP + NOP, STI + MOV_SS + NOP),
    "jump": (STI + b"\xeb\x00" + NOP, STI + b"\xeb\x00"),
    "hlt": (STI + HLT + NOP, STI + HLT),
    "sti behind mov ss": (MOV_SS + STI + NOP + NOP, MOV_SS + STI + NOP),
}
"""Code that holds an interrupt back, and what of it comes before the interrupt."""

unparted = pytest.mark.parametrize(
    ("selector", "divisor"),
    [(selector, divisor) for selector in (b"\x8e\xd2", b"\x8e\xd3") for divisor in (39, 41, 43)],
)
"""A test of loads of SS, from EDX and EBX, where ticks come again and again."""
