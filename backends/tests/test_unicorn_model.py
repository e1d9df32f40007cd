"""The reference machine: its processor with our page walk, exceptions and ports, on small code."""

from __future__ import annotations

import mmap
import struct
import subprocess
import sys

import pytest
from unicorn import x86_const

from backends import hostile
from backends.unicorn_model.cpu_profile import PROFILES
from backends.unicorn_model.messages import End, Entry, Stop
from backends.unicorn_model.model import Model
from backends.unicorn_model.ports import DebugPort, Ports

RAM = 0x100000
CODE = 0x10000
RESULT = 0x20000
DIRECTORY, TABLE = 0x30000, 0x31000
BELL = b"\xb0\x04\xe6\xe9"  # mov $4, %al; out %al, $0xE9


class Machine:
    """A model and its RAM; `run` starts code at CODE in the Multiboot entry state."""

    def __init__(self) -> None:
        self.ram = mmap.mmap(-1, RAM)
        self.model = Model(self.ram, x86_const.UC_CPU_X86_PENTIUM3, PROFILES["pentium3"])
        self.put(0x7000, struct.pack("<QQQ", 0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF))

    def put(self, address: int, data: bytes) -> None:
        self.ram[address : address + len(data)] = data

    def word(self, address: int) -> int:
        return int(struct.unpack_from("<I", self.ram, address)[0])

    def run(self, code: bytes) -> Stop:
        self.put(CODE, code)
        return self.model.run(Entry(CODE, 0x2BADB002, 0x12345, 0x7000))

    def page(self, linear: int, entry: int) -> None:
        self.put(TABLE + (linear >> 12) * 4, struct.pack("<I", entry))

    def paging_on(self) -> bytes:
        """Code that turns paging on, with an identity map of the first 4 MiB."""
        self.put(DIRECTORY, struct.pack("<I", TABLE | 7))
        for linear in range(0, RAM, 0x1000):
            self.page(linear, linear | 3)
        return (
            struct.pack("<BI", 0xB8, DIRECTORY)  # mov $DIRECTORY, %eax
            + b"\x0f\x22\xd8"  # mov %eax, %cr3
            + b"\x0f\x20\xc0"  # mov %cr0, %eax
            + b"\x0d\x00\x00\x01\x80"  # or $0x80010000, %eax
            + b"\x0f\x22\xc0"  # mov %eax, %cr0
        )


@pytest.fixture
def machine() -> Machine:
    return Machine()


def write(address: int) -> bytes:
    return hostile.store(address, b"\xaa\xbb\xcc\xdd")


def read(address: int) -> bytes:
    return struct.pack("<BI", 0xA1, address)  # mov address, %eax


def test_the_entry_state_is_multiboots(machine: Machine) -> None:
    save = b"\xa3" + struct.pack("<I", RESULT)  # mov %eax, RESULT
    save += b"\x89\x1d" + struct.pack("<I", RESULT + 4)  # mov %ebx, RESULT + 4
    save += b"\x0f\x20\xc0\xa3" + struct.pack("<I", RESULT + 8)  # mov %cr0, %eax; …
    assert machine.run(save + BELL).end is End.BELL
    assert (machine.word(RESULT), machine.word(RESULT + 4)) == (0x2BADB002, 0x12345)
    assert machine.word(RESULT + 8) & 0x80000001 == 1


def test_each_run_starts_with_a_new_processor(machine: Machine) -> None:
    assert machine.run(machine.paging_on() + hostile.HALT).end is End.HALTED
    machine.put(DIRECTORY, bytes(4))
    assert machine.run(read(0x500) + BELL).end is End.BELL


def test_the_console_is_what_was_printed(machine: Machine) -> None:
    code = b"".join(b"\xb0" + bytes([byte]) + b"\xe6\xe9" for byte in b"hello")
    stop = machine.run(code + BELL)
    assert (stop.end, stop.detail, stop.console) == (End.BELL, "", b"hello\x04")


@pytest.mark.parametrize(
    ("port", "value"), [(0xE9, 0xE9), (0x60, 0xFF)], ids=["the debug port", "nothing"]
)
def test_reading_ports(machine: Machine, port: int, value: int) -> None:
    code = b"\xe4" + bytes([port]) + b"\x0f\xb6\xc0\xa3" + struct.pack("<I", RESULT)
    assert machine.run(code + BELL).end is End.BELL
    assert machine.word(RESULT) == value


@pytest.mark.parametrize(
    ("code", "vector"),
    [
        (hostile.UNDEFINED_INSTRUCTION, 6),
        (b"\xcd\x30", 48),  # int $0x30
        (b"\x31\xc9\xf7\xf1", 0),  # xor %ecx, %ecx; div %ecx
        (b"\xb8\x18\x00\x00\x00\x8e\xd8", 13),  # mov $0x18, %eax; mov %ax, %ds: past the table
    ],
    ids=["undefined", "int", "divide", "protection"],
)
@pytest.mark.parametrize("paging", [False, True])
def test_an_exception_with_no_gate_shuts_down(
    machine: Machine, code: bytes, vector: int, paging: bool
) -> None:
    stop = machine.run(machine.paging_on() + code if paging else code)
    assert stop.end is End.SHUTDOWN
    assert f"vector {vector} " in stop.detail


def test_the_processor_sets_accessed_and_dirty_bits(machine: Machine) -> None:
    code = machine.paging_on() + read(0x40000) + write(0x50000) + read(0x60000) + write(0x60000)
    assert machine.run(code + BELL).end is End.BELL
    flags = {
        address: machine.word(TABLE + (address >> 12) * 4) & 0x60
        for address in (0x40000, 0x50000, 0x60000, 0x70000)
    }
    assert flags == {0x40000: 0x20, 0x50000: 0x60, 0x60000: 0x60, 0x70000: 0}
    assert machine.word(DIRECTORY) & 0x60 == 0x20


@pytest.mark.parametrize(
    ("entry", "access", "faults"),
    [
        (0, read, True),
        (0x80001, read, False),
        (0x80001, write, True),
        (0x80003, write, False),
    ],
)
def test_pages_are_protected(machine: Machine, entry: int, access: object, faults: bool) -> None:
    assert callable(access)
    code = machine.paging_on()
    machine.page(0x40000, entry)
    stop = machine.run(code + access(0x40000) + BELL)
    assert stop.end is (End.SHUTDOWN if faults else End.BELL)
    assert ("vector 14 " in stop.detail) == faults


def test_a_page_leads_where_its_entry_says(machine: Machine) -> None:
    code = machine.paging_on()
    machine.page(0x40000, 0x80003)
    machine.run(code + write(0x40010) + BELL)
    assert machine.word(0x80010) == 0xDDCCBBAA
    assert machine.word(0x40010) == 0


def test_memory_that_is_not_there(machine: Machine) -> None:
    stop = machine.run(read(0x7FFFFFF0) + BELL)
    assert stop.end is End.NOT_MODELLED
    assert stop.detail


@pytest.mark.parametrize("paging", [False, True])
def test_a_halted_guest_is_halted(machine: Machine, paging: bool) -> None:
    code = machine.paging_on() + hostile.HALT if paging else hostile.HALT
    machine.page(0, 0)
    stop = machine.run(code)
    assert stop.end is End.HALTED
    assert hex(CODE + len(code) - 2) in stop.detail


def test_no_address_ends_a_run(machine: Machine) -> None:
    machine.put(0, BELL)
    assert machine.run(b"\x31\xc0\xff\xe0").end is End.BELL  # xor %eax, %eax; jmp *%eax


HANDLER = 0x18000
GATE = 0x00018E0000088000  # interrupt gate to 0x08:HANDLER
IDT = 0x40000


def with_gates(machine: Machine, limit: int, *vectors: int) -> bytes:
    """Code that loads an interrupt descriptor table with gates for some vectors, and ESP."""
    machine.put(HANDLER, BELL)
    for vector in vectors:
        machine.put(IDT + vector * 8, struct.pack("<Q", GATE))
    machine.put(IDT - 8, struct.pack("<HI", limit, IDT))
    lidt = b"\x0f\x01\x1d" + struct.pack("<I", IDT - 8)
    return lidt + b"\xbc" + struct.pack("<I", 0x60000)  # mov $0x60000, %esp


@pytest.mark.parametrize(
    ("gate", "limit", "entered"),
    [
        (6, 0x7FF, 6),
        (8, 0x7FF, 8),
        (6, 6 * 8 + 6, None),
        (6, 6 * 8 + 7, 6),
        (7, 0x7FF, None),
    ],
    ids=["its own", "the double fault's", "beyond the limit", "at the limit", "another's"],
)
def test_which_handler_is_entered(
    machine: Machine, gate: int, limit: int, entered: int | None
) -> None:
    stop = machine.run(with_gates(machine, limit, gate) + hostile.UNDEFINED_INSTRUCTION)
    assert stop.end is (End.SHUTDOWN if entered is None else End.BELL)
    assert stop.faults is not None
    assert [fault.vector for fault in stop.faults] == ([] if entered is None else [entered])


def test_a_table_behind_an_absent_page_is_a_shutdown(machine: Machine) -> None:
    code = with_gates(machine, 0x7FF, 6, 8, 14) + machine.paging_on()
    machine.page(IDT, 0)
    assert machine.run(code + hostile.UNDEFINED_INSTRUCTION).end is End.SHUTDOWN


def test_the_console_is_bounded() -> None:
    port = DebugPort()
    for number in range(10_000):
        port.write(DebugPort.PORT, 1, 0x20 + number % 64)
    assert len(port.console) == 4096
    assert port.console[-1] == 0x20 + 9999 % 64
    assert not port.rang


def test_ports_without_a_device() -> None:
    ports = Ports({})
    ports.write(0x80, 4, 1)
    assert [ports.read(0x80, size) for size in (1, 2, 4)] == [0xFF, 0xFFFF, 0xFFFFFFFF]


def test_the_worker_ends_when_its_connection_is_closed() -> None:
    """A worker whose connection is no connection says why, and is gone."""
    done = subprocess.run(
        [sys.executable, "-m", "backends.unicorn_model.worker", "0", "1", "2"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode
    assert done.stderr
