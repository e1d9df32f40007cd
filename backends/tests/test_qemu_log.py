"""QEMU's log of exceptions: real ones, and what no QEMU would write."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.qemu_log import QemuLog, control_registers
from conformance.observe.observation import ControlRegisters, MachineFault

LOG = (Path(__file__).parent / "logs" / "qemu_7.2.log").read_bytes()
# The software interrupts in it: INT3, INT 3, INT 31, and INT 3 with no stack left.
CODE = {
    0xC0101BDF: b"\xcc\x90",
    0xC0101C61: b"\xcd\x03",
    0xC0101CED: b"\xcd\x1f",
    0xC0101D18: b"\xcd\x03",
}
FAULTS = (
    MachineFault(3, eip=0xC0101BE0),
    MachineFault(1, eip=0xC0101C47),
    MachineFault(6, eip=0xC0101BEB),
    MachineFault(14, 0x6, 0x40000008, 0x80000025),
    MachineFault(8, 0, eip=0xC0101BF9),
    MachineFault(11, 0x192, eip=0xC0101C07),
    MachineFault(13, 0x6A, eip=0x80000036),
    MachineFault(3, eip=0xC0101C63),
    MachineFault(31, eip=0xC0101CEF),
    MachineFault(8, 0, eip=0xC0101CF4),
    MachineFault(8, 0, eip=0xC0101D18),
    MachineFault(8, 0, eip=0xC0101D1F),
)


def record(*pieces: bytes) -> tuple[MachineFault, ...] | None:
    log = QemuLog(lambda address, size: CODE.get(address, b"")[:size])
    for piece in pieces:
        log.feed(piece)
    return log.faults()


def read(*pieces: bytes) -> tuple[MachineFault, ...]:
    faults = record(*pieces)
    assert faults is not None
    return faults


def attempt(
    vector: int, *, ip: int = 0x1000, sp: int = 0x2000, software: int = 0, error: int = 0
) -> bytes:
    more = f"CR2={0x5000:08x}" if vector == 14 else "env->regs[R_EAX]=00000000"
    return (
        f"     7: v={vector:02x} e={error:04x} i={software} cpl=0 IP=0008:{ip:08x} "
        f"pc={ip:08x} SP=0010:{sp:08x} {more}\n"
    ).encode()


def check(old: int, new: int) -> bytes:
    return f"check_exception old: {old:#x} new {new:#x}\n".encode()


def test_a_real_log() -> None:
    """Every kind of delivery, and at the end a processor that shuts down."""
    assert read(LOG) == FAULTS


@given(st.lists(st.integers(0, len(LOG)), max_size=8))
def test_however_it_is_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(LOG)]
    assert read(*(LOG[a:b] for a, b in itertools.pairwise(places))) == FAULTS


def test_a_half_line_is_not_read() -> None:
    assert read(attempt(6)[:-1]) == ()


def test_another_run_begins() -> None:
    log = QemuLog(lambda address, size: b"")
    log.feed(attempt(6) + attempt(13)[:20])
    log.clear()
    log.feed(attempt(0))
    assert log.faults() == (MachineFault(0, eip=0x1000),)


@pytest.mark.parametrize("vector", [0, 10, 11, 12, 13, 14])
def test_a_contributory_exception_that_fails_names_itself(vector: int) -> None:
    nested = attempt(vector) + check(vector, 13) + attempt(8)
    assert read(nested) == (MachineFault(8, 0, eip=0x1000),)


def test_a_benign_exception_that_fails_is_told_by_its_place() -> None:
    nested = attempt(6) + check(0xFFFFFFFF, 11) + attempt(11, error=0x32)
    assert read(nested) == (MachineFault(11, 0x32, eip=0x1000),)


@pytest.mark.parametrize("change", [{"ip": 0x1001}, {"sp": 0x1FF4}])
def test_a_fault_in_a_handler_is_another_one(change: dict[str, int]) -> None:
    faults = read(attempt(6) + check(0xFFFFFFFF, 13) + attempt(13, **change))
    assert [fault.vector for fault in faults] == [6, 13]


def test_an_exception_that_no_delivery_raises_is_another_one() -> None:
    assert [fault.vector for fault in read(attempt(6) + attempt(6) + attempt(7))] == [6, 6, 7]


def test_a_shut_down_processor_enters_nothing() -> None:
    log = attempt(14) + check(0xE, 0xE) + attempt(8) + check(0x8, 0xE)
    assert read(log) == ()


def test_a_software_interrupt_has_no_error_code() -> None:
    assert read(attempt(14, software=1, ip=0xC0101C61)) == (MachineFault(14),)
    assert read(attempt(3, software=1, ip=0xC0101C61)) == (MachineFault(3, eip=0xC0101C63),)


def test_devices_interrupts_do_not_count() -> None:
    servicing = b"Servicing hardware INT=0x08\n"
    assert read(servicing + attempt(8) + attempt(32)) == ()
    assert [fault.vector for fault in read(servicing + attempt(8) + attempt(6))] == [6]


def test_a_devices_interrupt_may_fail() -> None:
    log = b"Servicing hardware INT=0x21\n" + attempt(0x21) + attempt(11, error=0x10A)
    assert read(log) == (MachineFault(11, 0x10A, eip=0x1000),)


def test_a_log_without_end() -> None:
    """What cannot be kept as a whole is no record, however it was cut."""
    line, most = attempt(6), 4096
    assert len(read(line * most)) == most
    assert record(line * (most + 1)) is None
    assert record(*[line] * (most + 1)) is None
    assert record(line * (most + 1), check(0x6, 0xE), attempt(8)) is None


def test_a_line_without_end() -> None:
    log = QemuLog(lambda address, size: b"")
    for _ in range(100):
        log.feed(b"     7: v=06 " * 1000)
    log.feed(b"\n" + attempt(6))
    assert log.faults() == (MachineFault(6, eip=0x1000),)


@given(st.lists(st.sampled_from([*LOG.splitlines(keepends=True), b"\n", b"v=", b"\0\xff"])))
def test_lines_in_any_order(lines: list[bytes]) -> None:
    faults = read(*lines)
    assert all(fault.vector < 32 for fault in faults)
    assert len(faults) <= b"".join(lines).count(b": v=")


@given(st.binary())
def test_garbage(data: bytes) -> None:
    assert read(data) == ()


def test_registers() -> None:
    text = "EAX=00000001 CCR0=5\r\nCR0=80010011 CR2=d0000ffc CR3=001a3000 CR4=00000020\r\n"
    wanted = (0x80010011, 0xD0000FFC, 0x1A3000, 0x20)
    assert control_registers(text + "EFER=0000000000000800\r\n") == ControlRegisters(*wanted, 0x800)
    assert control_registers(text) == ControlRegisters(*wanted, None)


@pytest.mark.parametrize("text", ["", "CR0=80010011 CR2=0", "CR0=? CR2=? CR3=? CR4=?"])
def test_no_registers(text: str) -> None:
    assert control_registers(text) is None
