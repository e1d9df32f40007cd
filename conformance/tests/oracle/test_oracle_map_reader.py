"""Reading a memory map's bytes: kernel/TRACE.md, step 4."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.case.memory_map import MemoryMap, Region
from conformance.oracle.map_reader import MapReading, read_map

LOW = Region(0x0, 0x9FC00)
HIGH = Region(0x1_0000_0000, 0x1000, 7)


def test_no_map_is_not_an_empty_map() -> None:
    assert read_map(None) == MapReading((), "absent")
    assert read_map(b"") == MapReading((), "none")


@pytest.mark.parametrize("size", [20, 24, 256])
def test_the_entry_size_says_where_the_next_one_is(size: int) -> None:
    regions = (Region(0x1000, 0x2000, 2, size), HIGH)
    assert read_map(MemoryMap(regions).encode()) == MapReading(regions, "none")


@pytest.mark.parametrize("size", [0, 4, 19])
def test_a_small_entry_ends_the_reading(size: int) -> None:
    regions = (LOW, Region(0x1000, 0x2000, 1, size), HIGH)
    assert read_map(MemoryMap(regions).encode()) == MapReading((LOW,), "small_entry")


@pytest.mark.parametrize("size", [280, 0x7FFFFFFF, 0xFFFFFFEC, 0xFFFFFFFC, 0xFFFFFFFF])
def test_an_entry_that_reaches_past_the_end_does_not_count(size: int) -> None:
    regions = (LOW, Region(0x1000, 0x2000, 1, size))
    assert read_map(MemoryMap(regions).encode()) == MapReading((LOW,), "truncated_entry")


@pytest.mark.parametrize("cut", range(1, 24))
def test_a_cut_map_loses_its_last_entry(cut: int) -> None:
    assert read_map(MemoryMap((LOW, HIGH), cut).encode()) == MapReading((LOW,), "truncated_entry")


def test_a_map_cut_between_entries_is_whole() -> None:
    assert read_map(MemoryMap((LOW, HIGH), 24).encode()) == MapReading((LOW,), "none")


def test_a_small_entry_is_small_even_where_it_is_cut_too() -> None:
    assert read_map(struct.pack("<I", 19)).problem == "small_entry"


def test_the_bytes_count_and_not_what_the_map_meant() -> None:
    # This entry claims 300 bytes and has 256: the reading goes on 44 bytes into its neighbours.
    liar = Region(0x1000, 0x2000, 1, 300)
    reading = read_map(MemoryMap((liar, LOW, HIGH, LOW, HIGH)).encode())
    # 44 = one entry of 24 bytes and 20 of the next: what is left of that is its type.
    assert reading == MapReading((liar,), "small_entry")


entries = st.builds(
    Region,
    base=st.integers(0, (1 << 64) - 1),
    length=st.integers(0, (1 << 64) - 1),
    type=st.integers(0, (1 << 32) - 1),
    entry_size=st.sampled_from([0, 19, 20, 21, 24, 256, 257, 300, 0xFFFFFFFF]),
)


@given(st.lists(entries, max_size=5), st.binary(max_size=40))
def test_any_bytes_have_a_reading(regions: list[Region], rest: bytes) -> None:
    data = MemoryMap(tuple(regions)).encode() + rest
    reading = read_map(data)
    offset = 0
    for region in reading.regions:
        fields = struct.unpack_from("<IQQI", data, offset)
        assert fields == (region.entry_size, region.base, region.length, region.type)
        offset += 4 + region.entry_size
    left = data[offset:]
    match reading.problem:
        case "none":
            assert left == b""
        case "small_entry":
            assert int.from_bytes(left[:4], "little") < 20
        case problem:
            assert problem == "truncated_entry"
            assert 0 < len(left) < 4 + max(20, int.from_bytes(left[:4], "little"))
