"""A machine for the tests of event delivery: flat memory, pages that can be forbidden, builders."""

from __future__ import annotations

import struct
from dataclasses import replace

from backends.unicorn_model.delivery.descriptors import Descriptor, decode_descriptor
from backends.unicorn_model.delivery.machine import Mode, PageFault, Registers, Segment, Table
from backends.unicorn_model.delivery.vectors import Fault

MEMORY = 0x20000
GDT, LOCAL, IDT, TASK, OTHER_TASK = 0x1000, 0x2000, 0x3000, 0x4000, 0x5000
KERNEL_STACK, USER_STACK, RING_1_STACK, OTHER_STACK = 0x9000, 0xB000, 0xD000, 0xF000
HANDLER, OTHER_EIP = 0x12340, 0x15550
EIP, NEXT_EIP = 0x11110, 0x11112
CR3, OTHER_CR3 = 0x77000, 0x88000

KERNEL_CODE, KERNEL_DATA, USER_CODE, USER_DATA = 0x08, 0x10, 0x1B, 0x23
TASK_SELECTOR, OTHER_TASK_SELECTOR, LOCAL_SELECTOR = 0x28, 0x30, 0x38
RING_1_CODE, RING_1_DATA, CONFORMING_CODE, SPARE = 0x41, 0x49, 0x50, 0x58
LOCAL_CODE, LOCAL_DATA = 0x04, 0x0C  # with TI
GDT_LIMIT = 12 * 8 - 1

CODE, DATA, ACCESSED = 0x1A, 0x12, 1
AVAILABLE, BUSY, LDT_KIND = 0x9, 0xB, 0x2
INTERRUPT, TRAP, TASK_GATE = 0xE, 0xF, 0x5

CF, TF, IF, NT, RF, VM, AC = 1, 1 << 8, 1 << 9, 1 << 14, 1 << 16, 1 << 17, 1 << 18
PE, TS, AM, PG = 1, 1 << 3, 1 << 18, 1 << 31


def descriptor(
    kind: int,
    *,
    base: int = 0,
    limit: int = 0xFFFFFFFF,
    dpl: int = 0,
    present: bool = True,
    big: bool = True,
) -> bytes:
    """The bytes of a segment descriptor; a limit above 1 MiB has to end in FFF."""
    pages = limit > 0xFFFFF
    if pages:
        assert limit & 0xFFF == 0xFFF
        limit >>= 12
    access = kind | dpl << 5 | present << 7
    low = limit & 0xFFFF | (base & 0xFFFF) << 16
    high = base >> 16 & 0xFF | access << 8 | limit & 0xF0000 | big << 22 | pages << 23
    return struct.pack("<II", low, high | base & 0xFF000000)


def gate(
    selector: int = KERNEL_CODE,
    offset: int = HANDLER,
    *,
    kind: int = INTERRUPT,
    dpl: int = 0,
    present: bool = True,
) -> bytes:
    access = kind | dpl << 5 | present << 7
    return struct.pack("<II", offset & 0xFFFF | selector << 16, access << 8 | offset & 0xFFFF0000)


class FakeMachine:
    """Ring 0 of a task whose TSS is busy; every vector has an interrupt gate to HANDLER + vector.

    Attributes:
        absent, read_only, supervisor: pages, each with an address space or None for all of them.
        bad_cr3: values that CR3 cannot be loaded with.
    """

    def __init__(self) -> None:
        self.memory = bytearray(MEMORY)
        self.absent: set[tuple[int, int | None]] = set()
        self.read_only: set[int] = set()
        self.supervisor: set[int] = set()
        self.bad_cr3: set[int] = set()
        self.loads: list[int] = []
        self.modes: dict[int, Mode] = {}
        table = {
            KERNEL_CODE: descriptor(CODE),
            KERNEL_DATA: descriptor(DATA),
            USER_CODE: descriptor(CODE, dpl=3),
            USER_DATA: descriptor(DATA, dpl=3),
            TASK_SELECTOR: descriptor(BUSY, base=TASK, limit=0x67),
            OTHER_TASK_SELECTOR: descriptor(AVAILABLE, base=OTHER_TASK, limit=0x67),
            LOCAL_SELECTOR: descriptor(LDT_KIND, base=LOCAL, limit=0xF),
            RING_1_CODE: descriptor(CODE, dpl=1),
            RING_1_DATA: descriptor(DATA, dpl=1),
            CONFORMING_CODE: descriptor(CODE | 4),
        }
        for selector, raw in table.items():
            self.put(GDT + (selector & ~7), raw)
        self.put(LOCAL, descriptor(CODE) + descriptor(DATA))
        for vector in range(256):
            self.gate(vector, gate(offset=HANDLER + vector))
        self.put(TASK + 4, struct.pack("<4I", KERNEL_STACK, KERNEL_DATA, RING_1_STACK, RING_1_DATA))
        self.build_task()
        self._registers = Registers(
            *(0xA0 + index for index in range(4)),
            esp=KERNEL_STACK,
            ebp=0xA5,
            esi=0xA6,
            edi=0xA7,
            eip=EIP,
            eflags=2 | IF,
            es=self.segment(KERNEL_DATA),
            cs=self.segment(KERNEL_CODE),
            ss=self.segment(KERNEL_DATA),
            ds=self.segment(KERNEL_DATA),
            fs=Segment(0, None),
            gs=Segment(0, None),
            gdtr=Table(GDT, GDT_LIMIT),
            idtr=Table(IDT, 256 * 8 - 1),
            ldtr=Segment(0, None),
            tr=self.segment(TASK_SELECTOR),
            cr0=PE | PG,
            cr2=0x1234,
            cr3=CR3,
        )

    # What delivery uses.
    @property
    def registers(self) -> Registers:
        return self._registers

    @registers.setter
    def registers(self, value: Registers) -> None:
        assert value.cr3 == self._registers.cr3
        self._registers = value

    def read(self, linear: int, size: int, mode: Mode) -> bytes:
        self._check(linear, size, mode, write=False)
        self.modes[linear] = mode
        return bytes(self.memory[(linear + i) % 2**32] for i in range(size))

    def check_write(self, linear: int, size: int, mode: Mode) -> None:
        self._check(linear, size, mode, write=True)

    def write(self, linear: int, data: bytes, mode: Mode) -> None:
        try:
            self._check(linear, len(data), mode, write=True)
        except PageFault as fault:
            raise AssertionError("a write that was not checked") from fault
        self.modes[linear] = mode
        self.put(linear, data)

    def check_cr3(self, value: int) -> None:
        if value in self.bad_cr3:
            raise Fault(13, 0)

    def load_cr3(self, value: int) -> None:
        assert value not in self.bad_cr3
        self.loads.append(value)
        self._registers = replace(self._registers, cr3=value)

    def _check(self, linear: int, size: int, mode: Mode, *, write: bool) -> None:
        user = mode is Mode.USER
        for address in dict.fromkeys((linear, (linear + size - 1) % 2**32)):
            page = address & ~0xFFF
            bits = write << 1 | user << 2
            if {(page, None), (page, self._registers.cr3)} & self.absent or address >= MEMORY:
                raise PageFault(address, bits)
            if (write and page in self.read_only) or (user and page in self.supervisor):
                raise PageFault(address, bits | 1)

    # What tests use.
    def put(self, address: int, data: bytes) -> None:
        assert address + len(data) <= MEMORY
        self.memory[address : address + len(data)] = data

    def gate(self, vector: int, raw: bytes) -> None:
        self.put(IDT + vector * 8, raw)

    def set_descriptor(self, selector: int, raw: bytes) -> None:
        table = LOCAL if selector & 4 else GDT
        self.put(table + (selector & ~7), raw)

    def descriptor(self, selector: int) -> Descriptor:
        table = LOCAL if selector & 4 else GDT
        return decode_descriptor(bytes(self.memory[table + (selector & ~7) :][:8]))

    def segment(self, selector: int) -> Segment:
        return Segment(selector, self.descriptor(selector) if selector & ~3 else None)

    def set(self, **registers: Segment | int | Table) -> None:
        self._registers = replace(self._registers, **registers)  # type: ignore[arg-type]

    def enter_ring(self, ring: int) -> None:
        code, data, stack = {
            1: (RING_1_CODE, RING_1_DATA, RING_1_STACK),
            3: (USER_CODE, USER_DATA, USER_STACK),
        }[ring]
        data_segment = self.segment(data)
        self.set(cs=self.segment(code), ss=data_segment, ds=data_segment, es=data_segment)
        self.set(esp=stack)

    def words(self, address: int, count: int) -> tuple[int, ...]:
        return struct.unpack_from(f"<{count}I", self.memory, address)

    def build_task(self, base: int = OTHER_TASK, **fields: int) -> None:
        """A TSS whose state is all right, but for the fields given."""
        values = {
            "cr3": OTHER_CR3,
            "eip": OTHER_EIP,
            "eflags": 2,
            **{name: 0xB0 + i for i, name in enumerate(("eax", "ecx", "edx", "ebx"))},
            "esp": OTHER_STACK,
            **{name: 0xB5 + i for i, name in enumerate(("ebp", "esi", "edi"))},
            "es": KERNEL_DATA,
            "cs": KERNEL_CODE,
            "ss": KERNEL_DATA,
            "ds": KERNEL_DATA,
            "fs": 0,
            "gs": 0,
            "ldt": 0,
            "trap": 0,
            **fields,
        }
        self.put(base + 28, struct.pack(f"<{len(values)}I", *values.values()))

    def snapshot(self) -> tuple[bytes, Registers]:
        return bytes(self.memory), self._registers
