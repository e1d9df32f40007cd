"""The expected page tables, against a walk as the processor does it."""

from __future__ import annotations

import struct

import pytest

from conformance.oracle.paging import page_tables, paging_event
from conformance.protocol import PROTOCOL

DIRECTORY = 0x00130000
WINDOW = PROTOCOL.boot["kernel_window"]
SIZE = PROTOCOL.boot["kernel_window_size"]
PRESENT_WRITABLE_SUPERVISOR = 0b011


def walk(address: int) -> tuple[int, int, int] | None:
    """Physical address and the two entries' flags, or None where nothing is mapped."""
    tables = page_tables(DIRECTORY)
    (upper,) = struct.unpack_from("<I", tables, address >> 22 << 2)
    if not upper & 1:
        return None
    offset = (upper & ~0xFFF) - DIRECTORY + (address >> 12 & 0x3FF) * 4
    (lower,) = struct.unpack_from("<I", tables, offset)
    return (lower & ~0xFFF) + (address & 0xFFF), upper & 0xFFF, lower & 0xFFF


def test_cr3_is_the_directory() -> None:
    assert dict(paging_event(DIRECTORY).fields) == {"cr0": 0x80010001, "cr3": DIRECTORY}


def test_the_directory_and_its_tables_and_no_more() -> None:
    assert len(page_tables(DIRECTORY)) == 4096 * (1 + SIZE // 0x400000)


@pytest.mark.parametrize("physical", [0, 0xFFF, 0x1000, 0x3FFFFF, 0x400000, 0x9ABCDE, SIZE - 1])
def test_the_window_maps_physical_memory(physical: int) -> None:
    flags = PRESENT_WRITABLE_SUPERVISOR
    assert walk(WINDOW + physical) == (physical, flags, flags)


@pytest.mark.parametrize("address", [0, 0x100000, WINDOW - 1, WINDOW + SIZE, 0xFFFFFFFF])
def test_nothing_else_is_mapped(address: int) -> None:
    assert walk(address) is None


def test_every_mapped_page_is_in_the_window() -> None:
    mapped = [page for page in range(0, 1 << 32, 1 << 22) if walk(page) is not None]
    assert mapped == list(range(WINDOW, WINDOW + SIZE, 1 << 22))
