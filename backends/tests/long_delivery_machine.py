"""A machine for the tests of delivery in 64-bit mode: flat memory, pages that can be forbidden."""

from __future__ import annotations

import struct
from dataclasses import replace

from backends.tests.delivery_machine import CODE, DATA, descriptor
from backends.tests.long_machine import long_descriptor, long_gate
from backends.unicorn_model.delivery.deliver import Outcome
from backends.unicorn_model.delivery.descriptors import decode_descriptor
from backends.unicorn_model.delivery.vectors import Event, ExternalInterrupt, SoftwareInterrupt
from backends.unicorn_model.faults import PageFault
from backends.unicorn_model.long_mode.delivery.deliver import deliver
from backends.unicorn_model.long_mode.delivery.machine import (
    GENERAL,
    Mode,
    Registers,
    Segment,
    Table,
)
from backends.unicorn_model.mmu import is_canonical

MEMORY = 0x20000
HIGH = 0xFFFF_FFFF_8000_0000
"""Memory is also there."""
NOWHERE = 0x0000_8000_0000_0000

GDT, LOCAL, IDT, TASK = 0x1000, 0x2000, 0x3000, 0x5000
KERNEL_STACK, INNER_STACK, RING_1_STACK, USER_STACK = 0x9008, 0xA008, 0xB008, 0xC008
INTERRUPT_STACKS = tuple(0xD008 + 0x1000 * index for index in range(7))
HANDLER = HIGH + 0x15000
RIP, NEXT_RIP = 0x11110, 0x11112

KERNEL_CODE, KERNEL_DATA, USER_CODE, USER_DATA = 0x08, 0x10, 0x1B, 0x23
TASK_SELECTOR, CONFORMING_CODE, CODE_32, SPARE, RING_1_CODE, RING_1_DATA = (
    *(0x28, 0x38, 0x40, 0x48),
    *(0x51, 0x59),
)
LOCAL_CODE, LOCAL_DATA = 0x04, 0x0C  # with TI
GDT_LIMIT = 12 * 8 - 1

TF, IF, NT, RF, AC = 1 << 8, 1 << 9, 1 << 14, 1 << 16, 1 << 18
AM = 1 << 18
VECTOR = 0x40
SOFTWARE = SoftwareInterrupt(VECTOR, NEXT_RIP)
EXTERNAL = ExternalInterrupt(VECTOR)


class FakeMachine:
    """Ring 0; every vector has an interrupt gate to HANDLER + vector.

    Attributes:
        absent, supervisor: pages.
    """

    def __init__(self) -> None:
        self.memory = bytearray(MEMORY)
        self.absent: set[int] = set()
        self.supervisor: set[int] = set()
        self.modes: dict[int, Mode] = {}
        table = {
            KERNEL_CODE: long_descriptor(),
            KERNEL_DATA: descriptor(DATA),
            USER_CODE: long_descriptor(dpl=3),
            USER_DATA: descriptor(DATA, dpl=3),
            CONFORMING_CODE: long_descriptor(CODE | 4),
            CODE_32: descriptor(CODE),
            RING_1_CODE: long_descriptor(dpl=1),
            RING_1_DATA: descriptor(DATA, dpl=1),
        }
        for selector, raw in table.items():
            self.put(GDT + (selector & ~7), raw)
        self.put(LOCAL, long_descriptor() + descriptor(DATA))
        for vector in range(256):
            self.gate(vector, long_gate(HANDLER + vector))
        self.put(TASK + 4, struct.pack("<QQ", INNER_STACK, RING_1_STACK))
        self.put(TASK + 0x24, struct.pack("<7Q", *INTERRUPT_STACKS))
        task = decode_descriptor(descriptor(0xB, base=TASK, limit=0x67))
        local = decode_descriptor(descriptor(0x2, base=LOCAL, limit=0xF))
        general = dict.fromkeys(GENERAL, 0xA0) | {"rsp": KERNEL_STACK}
        self._registers = Registers(
            **general,
            rip=RIP,
            rflags=2 | IF,
            es=self.segment(KERNEL_DATA),
            cs=self.segment(KERNEL_CODE),
            ss=self.segment(KERNEL_DATA),
            ds=self.segment(KERNEL_DATA),
            fs=Segment(0, None),
            gs=Segment(0, None),
            gdtr=Table(GDT, GDT_LIMIT),
            idtr=Table(IDT, 256 * 16 - 1),
            ldtr=Segment(0x60, local),
            tr=Segment(TASK_SELECTOR, task),
            cr0=0x80000001,
            cr2=0x1234,
            cr3=0x77000,
        )

    # What delivery uses.
    @property
    def registers(self) -> Registers:
        return self._registers

    @registers.setter
    def registers(self, value: Registers) -> None:
        self._registers = value

    def read(self, linear: int, size: int, mode: Mode) -> bytes:
        self._check(linear, size, mode, write=False)
        self.modes[linear] = mode
        return bytes(self.memory[_offset(linear) + i] for i in range(size))

    def check_write(self, linear: int, size: int, mode: Mode) -> None:
        self._check(linear, size, mode, write=True)

    def write(self, linear: int, data: bytes, mode: Mode) -> None:
        try:
            self._check(linear, len(data), mode, write=True)
        except PageFault as fault:
            raise AssertionError("a write that was not checked") from fault
        self.modes[linear] = mode
        self.put(_offset(linear), data)

    def _check(self, linear: int, size: int, mode: Mode, *, write: bool) -> None:
        user = mode is Mode.USER
        for address in dict.fromkeys((linear, (linear + size - 1) % 2**64)):
            assert is_canonical(address)
            page = address & ~0xFFF
            bits = write << 1 | user << 2
            if page in self.absent or _offset(address) >= MEMORY:
                raise PageFault(address, bits)
            if user and page in self.supervisor:
                raise PageFault(address, bits | 1)

    # What tests use.
    def put(self, address: int, data: bytes) -> None:
        assert address + len(data) <= MEMORY
        self.memory[address : address + len(data)] = data

    def gate(self, vector: int, raw: bytes) -> None:
        self.put(IDT + vector * 16, raw)

    def set_descriptor(self, selector: int, raw: bytes) -> None:
        self.put((LOCAL if selector & 4 else GDT) + (selector & ~7), raw)

    def segment(self, selector: int) -> Segment:
        table = LOCAL if selector & 4 else GDT
        raw = bytes(self.memory[table + (selector & ~7) :][:8])
        return Segment(selector, decode_descriptor(raw) if selector & ~3 else None)

    def set(self, **registers: Segment | int | Table) -> None:
        self._registers = replace(self._registers, **registers)  # type: ignore[arg-type]

    def enter_ring(self, ring: int) -> None:
        code, data, stack = {
            1: (RING_1_CODE, RING_1_DATA, RING_1_STACK),
            3: (USER_CODE, USER_DATA, USER_STACK),
        }[ring]
        segment = self.segment(data)
        self.set(cs=self.segment(code), ss=segment, ds=segment, es=segment, rsp=stack)

    def quads(self, address: int, count: int) -> tuple[int, ...]:
        return struct.unpack_from(f"<{count}Q", self.memory, _offset(address))

    def push(self, *values: int) -> None:
        """Put a frame on the stack: what is popped first comes first."""
        self.set(rsp=self._registers.rsp - 8 * len(values))
        self.put(_offset(self._registers.rsp), struct.pack(f"<{len(values)}Q", *values))

    def snapshot(self) -> tuple[bytes, Registers]:
        return bytes(self.memory), self._registers


def _offset(linear: int) -> int:
    return linear - HIGH if linear >= HIGH else linear


def delivered(machine: FakeMachine, event: Event) -> None:
    assert deliver(machine, event) == Outcome((event,), shutdown=False)


def second(machine: FakeMachine, event: Event = EXTERNAL) -> tuple[int, int | None]:
    """The exception that the delivery raises first, which is itself delivered."""
    before = machine.registers
    outcome = deliver(machine, event)
    assert not outcome.shutdown
    assert len(outcome.events) == 2, outcome
    exception = outcome.events[1]
    registers = machine.registers
    # What is on the stack is the exception's, as if the event had never been tried.
    frame = machine.quads(registers.rsp, 6)
    assert frame == (
        exception.error_code,
        before.rip,
        before.cs.selector,
        before.rflags | RF,
        before.rsp,
        before.ss.selector,
    )
    assert registers.rip == HANDLER + exception.vector
    return exception.vector, exception.error_code


def ext(event: Event) -> int:
    return int(event is EXTERNAL)
