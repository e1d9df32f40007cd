"""A reference model on small code: descriptors, gates, page tables, and bytes of instructions."""

from __future__ import annotations

import mmap
import struct

from unicorn import x86_const

from backends.tests.delivery_machine import (
    AVAILABLE,
    CODE,
    DATA,
    TASK_GATE,
    descriptor,
    gate,
)
from backends.unicorn_model.cpu_profile import PROFILES
from backends.unicorn_model.messages import Entry, Stop
from backends.unicorn_model.model import Model

RAM = 0x200000
START, HANDLERS, USER, RESULT = 0x10000, 0x11000, 0x14000, 0x20000
KERNEL_STACK, INNER_STACK, USER_STACK, TASK_STACK = 0x28000, 0x29000, 0x2B000, 0x2D000
DIRECTORY, TABLE, POINTERS, SPARE = 0x30000, 0x31000, 0x38000, 0x40000
GDT, IDT, TASK, OTHER_TASK = 0x7000, 0x8000, 0x9000, 0x9100
KERNEL_CODE, KERNEL_DATA, USER_CODE, USER_DATA, TSS, OTHER_TSS = 0x08, 0x10, 0x1B, 0x23, 0x28, 0x30

PROCESSORS = {
    "pentium3": x86_const.UC_CPU_X86_PENTIUM3,
    "core2duo": x86_const.UC_CPU_X86_CORE2DUO,
    "broadwell": x86_const.UC_CPU_X86_BROADWELL,
}

BELL = b"\xb0\x04\xe6\xe9"  # mov $4, %al; out %al, $0xE9
IRET, NOP, UD2, HLT = b"\xcf", b"\x90", b"\x0f\x0b", b"\xf4"


def word(value: int) -> bytes:
    return struct.pack("<I", value)


def mov_eax(value: int) -> bytes:
    return b"\xb8" + word(value)


def mov_ecx(value: int) -> bytes:
    return b"\xb9" + word(value)


def mov_esp(value: int) -> bytes:
    return b"\xbc" + word(value)


def load_eax(address: int) -> bytes:
    return b"\xa1" + word(address)


def save_eax(address: int) -> bytes:
    return b"\xa3" + word(address)


def store(address: int, value: int) -> bytes:
    return b"\xc7\x05" + word(address) + word(value)


def pop_to(address: int) -> bytes:
    return b"\x8f\x05" + word(address)


def save_stack(address: int, count: int) -> bytes:
    """Copy words from the top of the stack; EAX is lost."""
    return b"".join(
        b"\x8b\x44\x24" + bytes([4 * index]) + save_eax(address + 4 * index)
        for index in range(count)
    )


def save_cr(number: int, address: int) -> bytes:
    return b"\x0f\x20" + bytes([0xC0 | number << 3]) + save_eax(address)


def set_cr(number: int, value: int) -> bytes:
    return mov_eax(value) + b"\x0f\x22" + bytes([0xC0 | number << 3])


def count(address: int) -> bytes:
    return b"\xff\x05" + word(address)  # incl address


def skip(length: int) -> bytes:
    """Let the handler return behind the instruction; EIP is on top of the stack."""
    return b"\x83\x04\x24" + bytes([length])  # addl $length, (%esp)


def wrmsr(number: int, value: int) -> bytes:
    return b"\xb9" + word(number) + mov_eax(value) + b"\x31\xd2\x0f\x30"


def enter_ring_3() -> bytes:
    """Code that goes to USER in ring 3, with the data segments of ring 3."""
    load = b"\x8e\xd8\x8e\xc0"  # mov %eax, %ds; mov %eax, %es
    frame = b"".join(b"\x68" + word(value) for value in (USER_DATA, USER_STACK, 2, USER_CODE, USER))
    return mov_eax(USER_DATA) + load + frame + IRET


class ReferenceMachine:
    """A model and its RAM.

    `run` starts code at START in the Multiboot entry state, once it has loaded GDTR, IDTR, TR and
    ESP. No gate is present but those that a test sets.
    """

    def __init__(self, profile: str = "pentium3") -> None:
        self.ram = mmap.mmap(-1, RAM)
        self.model = Model(self.ram, PROCESSORS[profile], PROFILES[profile])
        self.descriptors = [
            bytes(8),
            descriptor(CODE),
            descriptor(DATA),
            descriptor(CODE, dpl=3),
            descriptor(DATA, dpl=3),
            descriptor(AVAILABLE, base=TASK, limit=0x67),
            descriptor(AVAILABLE, base=OTHER_TASK, limit=0x67),
        ]
        self.put(TASK + 4, word(INNER_STACK) + word(KERNEL_DATA))

    def put(self, address: int, data: bytes) -> None:
        assert address + len(data) <= RAM
        self.ram[address : address + len(data)] = data

    def word(self, address: int) -> int:
        return int(struct.unpack_from("<I", self.ram, address)[0])

    def words(self, address: int, number: int) -> tuple[int, ...]:
        return struct.unpack_from(f"<{number}I", self.ram, address)

    def handler(self, vector: int, code: bytes, *, dpl: int = 0) -> int:
        """Put a handler behind an interrupt gate."""
        address = HANDLERS + vector * 0x80
        assert len(code) <= 0x80
        self.put(address, code)
        self.put(IDT + vector * 8, gate(KERNEL_CODE, address, dpl=dpl))
        return address

    def task_gate(self, vector: int, code: bytes, cr3: int = 0) -> int:
        """Put a handler behind a task gate, to OTHER_TSS."""
        address = self.handler(vector, code)
        self.put(IDT + vector * 8, gate(OTHER_TSS, 0, kind=TASK_GATE))
        fields = [cr3, address, 2, 0, 0, 0, 0, TASK_STACK, 0, 0, 0]
        segments = [KERNEL_DATA, KERNEL_CODE, KERNEL_DATA, KERNEL_DATA, 0, 0, 0, 0]
        self.put(OTHER_TASK + 28, struct.pack("<19I", *fields, *segments))
        return address

    def run(self, code: bytes) -> Stop:
        self.put(GDT, b"".join(self.descriptors))
        self.put(GDT - 16, struct.pack("<HIHI", len(self.descriptors) * 8 - 1, GDT, 0x7FF, IDT))
        start = (
            b"\x0f\x01\x15"
            + word(GDT - 16)  # lgdt
            + b"\x0f\x01\x1d"
            + word(GDT - 10)  # lidt
            + b"\x66\xb8"
            + struct.pack("<H", TSS)
            + b"\x0f\x00\xd8"  # ltr
            + mov_esp(KERNEL_STACK)
        )
        self.put(START, start + code + BELL)
        return self.model.run(Entry(START, 0x2BADB002, 0x12345, GDT))

    def paging(self, user: tuple[int, ...] = (), *, extra: int = 0) -> bytes:
        """Code that turns 32-bit paging on, with an identity map of RAM."""
        self.put(DIRECTORY, word(TABLE | 7))
        for linear in range(0, RAM, 0x1000):
            self.page(linear, linear | 3 | (4 if linear in user else 0))
        return set_cr(3, DIRECTORY) + set_cr(0, 0xE0010011 | extra)

    def page(self, linear: int, entry: int) -> None:
        self.put(TABLE + (linear >> 12) * 4, word(entry))

    def pae(self, user: tuple[int, ...] = ()) -> bytes:
        """Code that turns PAE paging on, with an identity map of RAM."""
        for index in range(4):
            self.put(POINTERS + 8 * index, struct.pack("<Q", DIRECTORY | 1 if not index else 0))
        self.put(DIRECTORY, struct.pack("<Q", TABLE | 7))
        for linear in range(0, RAM, 0x1000):
            self.pae_page(linear, linear | 3 | (4 if linear in user else 0))
        return set_cr(3, POINTERS) + set_cr(4, 0x20) + set_cr(0, 0xE0010011)

    def pae_page(self, linear: int, entry: int) -> None:
        self.put(TABLE + (linear >> 12) * 8, struct.pack("<Q", entry))
