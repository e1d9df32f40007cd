"""Bochs' log of exceptions: real ones, and what no Bochs would write."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.bochs_log import BochsLog
from conformance.observe.observation import MachineFault

LOG = (Path(__file__).parent / "logs" / "bochs_2.7.log").read_bytes()
FAULTS = (
    MachineFault(3),
    MachineFault(1),
    MachineFault(6),
    MachineFault(14, 0x6, 0x40000008),
    MachineFault(8, 0),
    MachineFault(11, 0x192),
    MachineFault(13, 0x6A),
    MachineFault(3),
    MachineFault(31),
    MachineFault(8, 0),
    MachineFault(8, 0),
    MachineFault(8, 0),
    MachineFault(17, 0),
)


def record(*pieces: bytes) -> tuple[MachineFault, ...] | None:
    log = BochsLog()
    for piece in pieces:
        log.feed(piece)
    return log.faults()


def read(*pieces: bytes) -> tuple[MachineFault, ...]:
    faults = record(*pieces)
    assert faults is not None
    return faults


def line(time: int, text: str) -> bytes:
    return f"{time:011d}d[CPU0  ] {text}\n".encode()


def exception(time: int, vector: int, error: int = 0) -> bytes:
    return line(time, f"exception({vector:#04x}): error_code={error:04x}")


def attempt(time: int, vector: int, kind: int = 3) -> bytes:
    return line(time, f"interrupt(): vector = {vector:02x}, TYPE = {kind}, EXT = 1")


def raised(time: int, vector: int, error: int = 0) -> bytes:
    return exception(time, vector, error) + attempt(time, vector)


def test_a_real_log() -> None:
    """Every kind of delivery, and at the end a processor that shuts down."""
    assert read(LOG) == FAULTS


@given(st.lists(st.integers(0, len(LOG)), max_size=8))
def test_however_it_is_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(LOG)]
    assert read(*(LOG[a:b] for a, b in itertools.pairwise(places))) == FAULTS


def test_a_half_line_is_not_read() -> None:
    assert read(raised(5, 6)[:-1]) == ()


def test_another_run_begins() -> None:
    log = BochsLog()
    log.feed(raised(5, 6) + exception(9, 13, 7) + attempt(9, 13)[:20])
    log.clear()
    log.feed(attempt(9, 13))
    assert log.faults() == (MachineFault(13),)


def test_a_delivery_that_fails_enters_nothing() -> None:
    log = raised(5, 6) + raised(5, 11, 0x33)
    assert read(log) == (MachineFault(11, 0x33),)


def test_a_handlers_first_instruction_may_fault() -> None:
    log = raised(5, 6) + raised(6, 11, 0x33)
    assert read(log) == (MachineFault(6), MachineFault(11, 0x33))


def test_a_shut_down_processor_enters_nothing() -> None:
    log = raised(5, 13) + exception(5, 13) + raised(5, 8) + exception(5, 14, 2)
    assert read(log) == ()


def test_a_page_faults_address_is_its_own() -> None:
    address = line(5, f"page fault for address {0xD0000FFC:016x} @ {0xC0101D1F:016x}")
    assert read(address + raised(5, 14, 2)) == (MachineFault(14, 2, 0xD0000FFC),)
    log = address + exception(5, 14, 2) + raised(5, 8) + raised(9, 14, 4)
    assert read(log) == (MachineFault(8, 0), MachineFault(14, 4))


@pytest.mark.parametrize("kind", [4, 5, 6])
def test_a_software_interrupt_has_no_error_code(kind: int) -> None:
    assert read(attempt(5, 13, kind)) == (MachineFault(13),)
    # What shut the processor down before is nobody's error code.
    assert read(exception(5, 13, 7) + attempt(9, 13, kind)) == (MachineFault(13),)


def test_devices_interrupts_do_not_count() -> None:
    assert read(attempt(5, 8, 0) + attempt(7, 32, 0) + attempt(9, 32, 4)) == ()


def test_an_nmi_is_an_exception() -> None:
    assert read(attempt(5, 2, 2)) == (MachineFault(2),)


@pytest.mark.parametrize(
    "text",
    [
        b"00000000005e[CPU0  ] interrupt(): vector = 06, TYPE = 3, EXT = 1\n",
        b"00000000005d[APIC0 ] interrupt(): vector = 06, TYPE = 3, EXT = 1\n",
        b"> 00000000005d[CPU0  ] interrupt(): vector = 06, TYPE = 3, EXT = 1\n",
        b"00000000005d[CPU0  ] interrupt(): vector = 06, TYPE = 3\n",
    ],
)
def test_other_lines(text: bytes) -> None:
    assert read(text) == ()


def test_a_log_without_end() -> None:
    """What cannot be kept as a whole is no record, however it was cut."""
    most = 4096
    lines = [raised(time, 6) for time in range(most + 1)]
    assert len(read(*lines[:most])) == most
    assert record(b"".join(lines)) is None
    assert record(*lines) is None
    assert record(*lines, exception(most, 14), raised(most, 8)) is None


def test_a_line_without_end() -> None:
    log = BochsLog()
    for _ in range(100):
        log.feed(b"00000000005d[CPU0  ] " * 1000)
    log.feed(b"\n" + raised(5, 6))
    assert log.faults() == (MachineFault(6),)


@given(st.lists(st.sampled_from([*LOG.splitlines(keepends=True), b"\n", b"0d[", b"\0\xff"])))
def test_lines_in_any_order(lines: list[bytes]) -> None:
    faults = read(*lines)
    assert all(fault.vector < 32 for fault in faults)
    assert len(faults) <= b"".join(lines).count(b"interrupt(): vector")


@given(st.binary())
def test_garbage(data: bytes) -> None:
    assert read(data) == ()
