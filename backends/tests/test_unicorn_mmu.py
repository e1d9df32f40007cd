"""The page walk against the manual's rules, written down a second time as a table."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.unicorn_model.mmu import (
    Access,
    ControlState,
    NotModelled,
    PageFault,
    Translation,
    translate,
)

PG, WP = 1 << 31, 1 << 16
PSE, PAE = 1 << 4, 1 << 5
RAM = 0x5000
DIRECTORY = 0x1000
FRAMES = (0x2000, 0x3000, 0x4000)

# What supervisor and user may do with a page whose rights, both levels together, are (U/S, R/W):
# without and with CR0.WP (SDM vol. 3, 4.6.1).
SUPERVISOR_WRITES = {
    (0, 0, "wp=0"): True,
    (0, 0, "wp=1"): False,
    (0, 1, "wp=0"): True,
    (0, 1, "wp=1"): True,
    (1, 0, "wp=0"): True,
    (1, 0, "wp=1"): False,
    (1, 1, "wp=0"): True,
    (1, 1, "wp=1"): True,
}
USER_READS = {(0, 0): False, (0, 1): False, (1, 0): True, (1, 1): True}
USER_WRITES = {(0, 0): False, (0, 1): False, (1, 0): False, (1, 1): True}


def entries(frames: tuple[int, ...]) -> st.SearchStrategy[int]:
    """Page-table entries without P, R/W and U/S: any other flags, a frame that is one of few.

    Bit 7 is PAT or, without CR4.PSE, ignored; 8 to 11 are global and available.
    """
    flags = st.integers(0, 0xFFF >> 3).map(lambda bits: bits << 3)
    return st.builds(lambda frame, flags: frame | flags, st.sampled_from(frames), flags)


STATES = [
    ControlState(cr0, cr3, cr4, user)
    for cr0 in (PG, PG | WP)
    for cr3, cr4 in ((DIRECTORY, 0), (DIRECTORY | 0x18, 1 << 7))  # PWT, PCD; PGE
    for user in (False, True)
]


def memory_with(directory: int, table: int, linear: int) -> bytearray:
    memory = bytearray(RAM)
    struct.pack_into("<I", memory, DIRECTORY + linear // 0x400000 * 4, directory)
    struct.pack_into("<I", memory, (directory & ~0xFFF) + linear // 0x1000 % 0x400 * 4, table)
    return memory


def walk(memory: bytearray, state: ControlState, linear: int, access: Access) -> Translation | int:
    """The translation, or the error code of the page fault."""
    try:
        return translate(memoryview(memory), state, linear, access)
    except PageFault as fault:
        return fault.error_code if fault.linear == linear else -1


def allowed(directory: int, table: int, state: ControlState, access: Access) -> bool:
    user = min(directory >> 2 & 1, table >> 2 & 1)
    write = min(directory >> 1 & 1, table >> 1 & 1)
    if state.user:
        return (USER_WRITES if access is Access.WRITE else USER_READS)[user, write]
    if access is not Access.WRITE:
        return True
    return SUPERVISOR_WRITES[user, write, "wp=1" if state.cr0 & WP else "wp=0"]


@settings(max_examples=10)
@given(
    directory=entries(FRAMES),
    table=entries((*FRAMES, 0x7FFFF000, 0xFFFFF000)),
    linear=st.integers(0, 0xFFFFFFFF),
)
def test_the_walk_follows_the_table(directory: int, table: int, linear: int) -> None:
    """For all rights, all states and all accesses; what has no part in it is anything."""
    for upper, lower, state, access in itertools.product(range(8), range(8), STATES, Access):
        check(directory | upper, table | lower, linear, state, access)


def check(directory: int, table: int, linear: int, state: ControlState, access: Access) -> None:
    memory = memory_with(directory, table, linear)
    before = bytes(memory)
    result = walk(memory, state, linear, access)
    present = bool(directory & table & 1)
    if present and allowed(directory, table, state, access):
        dirty = 0x40 if access is Access.WRITE else 0
        assert isinstance(result, Translation)
        assert result.physical == table // 0x1000 * 0x1000
        assert memory == memory_with(directory | 0x20, table | 0x20 | dirty, linear)
    else:
        code = {"present": 1, "write": 2, "user": 4}
        expected = code["present"] * present
        expected += code["write"] * (access is Access.WRITE) + code["user"] * state.user
        assert result == expected
        assert memory == before


@settings(max_examples=10)
@given(directory=entries(FRAMES), table=entries(FRAMES), linear=st.integers(0, 0xFFFFFFFF))
def test_writable_means_that_a_write_has_nothing_left_to_do(
    directory: int, table: int, linear: int
) -> None:
    """What the TLB keeps must hide neither a fault nor a dirty bit."""
    for upper, lower, state, access in itertools.product(range(8), range(8), STATES, Access):
        memory = memory_with(directory | upper, table | lower, linear)
        result = walk(memory, state, linear, access)
        if isinstance(result, Translation):
            before = bytes(memory)
            write = walk(memory, state, linear, Access.WRITE)
            assert result.writable == (isinstance(write, Translation) and memory == before)


@given(linear=st.integers(0, 0xFFFFFFFF), access=st.sampled_from(Access))
def test_without_paging_every_address_is_its_own(linear: int, access: Access) -> None:
    state = ControlState(cr0=WP, cr3=DIRECTORY, cr4=0, user=False)
    assert walk(bytearray(RAM), state, linear, access) == Translation(linear & ~0xFFF, True)


def test_a_directory_that_maps_itself() -> None:
    """Both entries are one word; neither flag may be lost."""
    memory = bytearray(RAM)
    struct.pack_into("<I", memory, DIRECTORY + 0x3FF * 4, DIRECTORY | 3)
    state = ControlState(PG | WP, DIRECTORY, 0, user=False)
    result = walk(memory, state, 0xFFFFF000, Access.WRITE)
    assert result == Translation(DIRECTORY, True)
    assert struct.unpack_from("<I", memory, DIRECTORY + 0x3FF * 4) == (DIRECTORY | 0x63,)


def test_tables_outside_of_ram_read_as_ones() -> None:
    memory = bytearray(RAM)
    struct.pack_into("<I", memory, DIRECTORY, 0x10000000 | 7)
    state = ControlState(PG, DIRECTORY, 0, user=True)
    assert walk(memory, state, 0, Access.WRITE) == Translation(0xFFFFF000, True)


@pytest.mark.parametrize(
    ("cr4", "flags", "modelled"),
    [(PAE, 1, False), (PSE, 0x81, False), (PSE, 1, True), (0, 0x81, True)],
)
def test_other_paging_modes_are_not_guessed_at(cr4: int, flags: int, modelled: bool) -> None:
    memory = memory_with(0x2000 | flags, 0x3001, 0)
    state = ControlState(PG, DIRECTORY, cr4, user=False)
    if modelled:
        assert walk(memory, state, 0, Access.READ) == Translation(0x3000, False)
    else:
        with pytest.raises(NotModelled, match=r"PAE|4 MiB"):
            walk(memory, state, 0, Access.READ)
