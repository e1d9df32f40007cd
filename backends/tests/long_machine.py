"""A reference model that is brought into 64-bit mode, and bytes of 64-bit instructions."""

from __future__ import annotations

import mmap
import struct

from backends.tests.delivery_machine import CODE, DATA, descriptor
from backends.tests.reference_machine import PROCESSORS, mov_eax, set_cr, word, wrmsr
from backends.unicorn_model.cpu_profile import PROFILES
from backends.unicorn_model.messages import End, Entry, Stop
from backends.unicorn_model.model import Model

RAM = 0x200000
START, LONG_START, HANDLERS, USER, RESULT = 0x10000, 0x12000, 0x14000, 0x18000, 0x20000
KERNEL_STACK, INNER_STACK, USER_STACK, INTERRUPT_STACK = 0x28000, 0x29008, 0x2B000, 0x2D008
TOP, POINTERS, DIRECTORY, TABLE, SPARE = 0x30000, 0x31000, 0x32000, 0x33000, 0x40000
GDT, IDT, TASK = 0x7000, 0x8000, 0xA000
KERNEL_CODE, KERNEL_DATA, USER_CODE, USER_DATA, TSS = 0x08, 0x10, 0x1B, 0x23, 0x28
ABSENT_DATA, CODE_32 = 0x38, 0x40
HIGH = 0xFFFF_FFFF_8000_0000
"""RAM is also there."""

NOWHERE = 0x0000_8000_0000_0000
EFER, LME, NXE = 0xC0000080, 0x100, 0x800
PE, AM, PG, PAE = 1, 1 << 18, 1 << 31, 1 << 5

BELL = b"\xb0\x04\xe6\xe9"  # mov $4, %al; out %al, $0xE9
IRETQ, NOP, UD2 = b"\x48\xcf", b"\x90", b"\x0f\x0b"


def quad(value: int) -> bytes:
    return struct.pack("<Q", value % 2**64)


def mov_rax(value: int) -> bytes:
    return b"\x48\xb8" + quad(value)


def mov_rcx(value: int) -> bytes:
    return b"\x48\xb9" + quad(value)


def mov_rsp(value: int) -> bytes:
    return b"\x48\xbc" + quad(value)


def load_rax(address: int) -> bytes:
    return b"\x48\xa1" + quad(address)


def save_rax(address: int) -> bytes:
    return b"\x48\xa3" + quad(address)


def push(value: int) -> bytes:
    return mov_rax(value) + b"\x50"


def save_stack(address: int, count: int) -> bytes:
    """Copy quadwords from the top of the stack; RAX is lost."""
    return b"".join(
        b"\x48\x8b\x44\x24" + bytes([8 * index]) + save_rax(address + 8 * index)
        for index in range(count)
    )


def save_cr(number: int, address: int) -> bytes:
    return b"\x0f\x20" + bytes([0xC0 | number << 3]) + save_rax(address)


def long_cr(number: int, value: int) -> bytes:
    return mov_rax(value) + b"\x0f\x22" + bytes([0xC0 | number << 3])


def skip(length: int) -> bytes:
    """Let the handler return behind the instruction; RIP is on top of the stack."""
    return b"\x48\x83\x04\x24" + bytes([length])  # addq $length, (%rsp)


def drop_error_code() -> bytes:
    return b"\x48\x83\xc4\x08"  # addq $8, %rsp


def return_to(
    rip: int, cs: int, rflags: int = 2, rsp: int = KERNEL_STACK, ss: int = KERNEL_DATA
) -> bytes:
    return b"".join(push(value) for value in (ss, rsp, rflags, cs, rip)) + IRETQ


def enter_ring_3(rflags: int = 2) -> bytes:
    return return_to(USER, USER_CODE, rflags, USER_STACK, USER_DATA)


def long_descriptor(kind: int = CODE, *, dpl: int = 0, present: bool = True) -> bytes:
    raw = bytearray(descriptor(kind, dpl=dpl, present=present, big=False))
    raw[6] |= 0x20
    return bytes(raw)


def long_gate(
    offset: int,
    selector: int = KERNEL_CODE,
    *,
    kind: int = 0xE,
    dpl: int = 0,
    present: bool = True,
    stack: int = 0,
) -> bytes:
    access = stack | kind << 8 | dpl << 13 | present << 15
    low = struct.pack("<II", offset & 0xFFFF | selector << 16, access | offset & 0xFFFF0000)
    return low + struct.pack("<II", offset >> 32, 0)


class LongMachine:
    """A model and its RAM.

    `run` starts code at LONG_START in 64-bit mode, once GDTR, IDTR, TR and RSP are loaded. RAM is
    mapped to itself, and to HIGH; USER and the page below USER_STACK are ring 3's. No gate is
    present but those that a test sets.
    """

    def __init__(self, profile: str = "broadwell") -> None:
        self.ram = mmap.mmap(-1, RAM)
        self.model = Model(self.ram, PROCESSORS[profile], PROFILES[profile])
        self.put(TASK + 4, quad(INNER_STACK))
        self.put(TASK + 0x24, quad(INTERRUPT_STACK))
        self.put(TOP, quad(POINTERS | 7))
        self.put(TOP + 511 * 8, quad(POINTERS | 7))
        self.put(POINTERS, quad(DIRECTORY | 7))
        self.put(POINTERS + 510 * 8, quad(DIRECTORY | 7))
        self.put(DIRECTORY, quad(TABLE | 7))
        for linear in range(0, RAM, 0x1000):
            self.page(linear, linear | 3)
        for linear in (USER, USER_STACK - 0x1000):
            self.page(linear, linear | 7)

    def put(self, address: int, data: bytes) -> None:
        assert address + len(data) <= RAM
        self.ram[address : address + len(data)] = data

    def page(self, linear: int, entry: int) -> None:
        self.put(TABLE + (linear >> 12) * 8, quad(entry))

    def quad(self, address: int) -> int:
        return int(struct.unpack_from("<Q", self.ram, address)[0])

    def quads(self, address: int, number: int) -> tuple[int, ...]:
        return struct.unpack_from(f"<{number}Q", self.ram, address)

    def handler(self, vector: int, code: bytes, *, dpl: int = 0, stack: int = 0) -> int:
        """Put a handler behind an interrupt gate."""
        address = HANDLERS + vector * 0x100
        assert len(code) <= 0x100
        self.put(address, code)
        self.put(IDT + vector * 16, long_gate(HIGH + address, dpl=dpl, stack=stack))
        return HIGH + address

    def enter(self, *, efer: int = LME | NXE, before: bytes = b"") -> bytes:
        """32-bit code that goes to LONG_START."""
        self.put(GDT - 32, struct.pack("<HI", 9 * 8 - 1, GDT))
        return (
            b"\x0f\x01\x15"
            + word(GDT - 32)  # lgdt
            + set_cr(4, PAE)
            + set_cr(3, TOP)
            + wrmsr(EFER, efer)
            + before
            + set_cr(0, 0xE0010011)
            + b"\xea"
            + struct.pack("<IH", LONG_START, KERNEL_CODE)  # ljmp
        )

    def run_32(self, code: bytes) -> Stop:
        """Start 32-bit code in the Multiboot entry state."""
        self.put(
            GDT,
            b"".join(
                (
                    bytes(8),
                    long_descriptor(),
                    descriptor(DATA),
                    long_descriptor(dpl=3),
                    descriptor(DATA, dpl=3),
                    descriptor(0x9, base=TASK, limit=0x67) + bytes(8),
                    descriptor(DATA, present=False),
                    descriptor(CODE),
                )
            ),
        )
        table = 0x6000
        self.put(table, bytes(8) + descriptor(CODE) + descriptor(DATA))
        self.put(START, code)
        return self.model.run(Entry(START, 0x2BADB002, 0x12345, table))

    def load(self, code: bytes) -> None:
        """Put code at LONG_START, behind what loads the registers."""
        self.put(GDT - 16, struct.pack("<HQ", 0xFFF, IDT))
        start = (
            b"\x0f\x01\x1c\x25"
            + word(GDT - 16)  # lidt
            + mov_eax(TSS)
            + b"\x0f\x00\xd8"  # ltr
            + mov_rsp(KERNEL_STACK)
        )
        self.put(LONG_START, start + code + BELL)

    def run(self, code: bytes) -> Stop:
        self.load(code)
        return self.run_32(self.enter())


def tells(machine: LongMachine, *vectors: int) -> None:
    """Handlers with an error code that end the run, and tell the frame, CR2, SS and the vector."""
    for vector in vectors:
        code = save_stack(RESULT, 6) + save_cr(2, RESULT + 48)
        code += b"\x31\xc0\x8c\xd0" + save_rax(RESULT + 56)  # xor %eax, %eax; mov %ss, %eax
        machine.handler(vector, code + mov_rax(vector) + save_rax(RESULT + 64) + BELL, stack=0)


def rang(stop: Stop) -> Stop:
    assert (stop.end, stop.detail) == (End.BELL, "")
    return stop


def fault(machine: LongMachine, code: bytes) -> tuple[int, int, int]:
    """Vector, error code and CR2 of the fault that the code raises."""
    tells(machine, 12, 13, 14, 17)
    stop = rang(machine.run(code))
    assert stop.faults is not None
    (seen,) = stop.faults
    vector, code_pushed, cr2 = machine.quad(RESULT + 64), machine.quad(RESULT), 0
    if vector == 14:
        cr2 = machine.quad(RESULT + 48)
    assert (seen.vector, seen.error_code, seen.cr2 or 0) == (vector, code_pushed, cr2)
    assert seen.eip == machine.quad(RESULT + 8)
    return vector, code_pushed, cr2
