"""When the PDPTE registers are loaded, and which entries are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.unicorn_model.control_state import ControlState
from backends.unicorn_model.cpu_profile import CpuProfile
from backends.unicorn_model.faults import GeneralProtection
from backends.unicorn_model.pdptes import ControlWrite, load_pdptes, loads_pdptes, with_pdptes
from backends.unicorn_model.physical_memory import PhysicalMemory

PG, PAE, LME = 1 << 31, 1 << 5, 1 << 8
IN_PAE = ControlState(PG, 0x1000, PAE, pdptes=(0x5001, 0, 0, 0))
ENTRIES = (0x2001, 0x3E19, 0xFFFF_FFFF_FFFF_FFFE, 0xF_FFFF_F001)
CR0, CR3 = ControlWrite.MOV_TO_CR0, ControlWrite.MOV_TO_CR3
CR4, TASK_SWITCH = ControlWrite.MOV_TO_CR4, ControlWrite.TASK_SWITCH


def memory_with(entries: tuple[int, ...], address: int = 0x1000) -> PhysicalMemory:
    ram = bytearray(0x2000)
    for index, entry in enumerate(entries):
        ram[address + 8 * index : address + 8 * index + 8] = entry.to_bytes(8, "little")
    return PhysicalMemory(memoryview(bytes(ram)))  # read-only: a write would raise


@pytest.mark.parametrize("low", [0, 0x18, 0x1F])
@pytest.mark.parametrize("address", [0x1000, 0x1FE0])
def test_the_table_lies_where_bits_31_to_5_of_cr3_say(address: int, low: int) -> None:
    assert load_pdptes(memory_with(ENTRIES, address), CpuProfile(36), address | low) == ENTRIES


@pytest.mark.parametrize("width", [32, 36, 52])
@pytest.mark.parametrize("index", range(4))
def test_reserved_bits_one_by_one(width: int, index: int) -> None:
    """SDM table 4-8."""
    profile = CpuProfile(width)
    refused = set()
    for number in range(1, 64):
        entries = [0, 0, 0, 0]
        entries[index] = 1 << number
        load_pdptes(memory_with(tuple(entries)), profile, 0x1000)  # not present: not looked at
        entries[index] |= 1
        try:
            load_pdptes(memory_with(tuple(entries)), profile, 0x1000)
        except GeneralProtection as fault:
            refused.add((number, fault.error_code))
    assert refused == {(number, 0) for number in (1, 2, 5, 6, 7, 8, *range(width, 64))}


def test_some_processors_check_absent_entries_too() -> None:
    profile = CpuProfile(36, checks_absent_pdptes=True)
    assert load_pdptes(memory_with((0xE18, 0, 0, 0)), profile, 0x1000) == (0xE18, 0, 0, 0)
    with pytest.raises(GeneralProtection):
        load_pdptes(memory_with((0, 0, 0, 1 << 5)), profile, 0x1000)


def test_a_table_outside_of_memory_is_refused() -> None:
    """All ones are present and have reserved bits set."""
    with pytest.raises(GeneralProtection):
        load_pdptes(memory_with(()), CpuProfile(52), 0x2000)


@pytest.mark.parametrize("number", range(32))
def test_the_bits_of_cr0_and_cr4_that_load(number: int) -> None:
    """CD, NW and PG; PAE, PGE, PSE and SMEP (4.4.1)."""
    flipped = replace(IN_PAE, cr0=IN_PAE.cr0 ^ 1 << number)
    # Where the flip ends PAE paging, the flip back begins it.
    after, before = (flipped, IN_PAE) if number != 31 else (IN_PAE, flipped)
    assert loads_pdptes(before, after, CR0) == (number in (29, 30, 31))
    flipped = replace(IN_PAE, cr4=IN_PAE.cr4 ^ 1 << number)
    after, before = (flipped, IN_PAE) if number != 5 else (IN_PAE, flipped)
    assert loads_pdptes(before, after, CR4) == (number in (4, 5, 7, 20))


def test_cr3_loads_always_and_a_task_switch_if_it_changes_cr3() -> None:
    moved = replace(IN_PAE, cr3=0x1020)
    assert loads_pdptes(IN_PAE, IN_PAE, CR3)
    assert loads_pdptes(IN_PAE, moved, CR3)
    assert not loads_pdptes(IN_PAE, IN_PAE, TASK_SWITCH)
    assert loads_pdptes(IN_PAE, moved, TASK_SWITCH)


@pytest.mark.parametrize("write", ControlWrite)
@pytest.mark.parametrize(
    "state",
    [
        ControlState(0, 0x1000, PAE),
        ControlState(PG, 0x1000, 0),
        ControlState(PG, 0x1000, PAE, LME),
    ],
)
def test_other_modes_load_nothing(state: ControlState, write: ControlWrite) -> None:
    before = ControlState(state.cr0 ^ 1 << 30, 0x1020, state.cr4 ^ 1 << 4, state.efer)
    assert not loads_pdptes(before, state, write)
    bad = memory_with((0x1E7,) * 4)
    assert with_pdptes(bad, CpuProfile(), before, state, write) == state


@given(
    entries=st.tuples(*[st.sampled_from([0, 0x2001, 0x3019, 0x1E6, 0x1E7, 1 << 36 | 1])] * 4),
    write=st.sampled_from(ControlWrite),
    cr3=st.sampled_from([0x1000, 0x1008, 0x1018]),
)
def test_registers_change_all_or_not(
    entries: tuple[int, ...], write: ControlWrite, cr3: int
) -> None:
    """A load replaces the four; a refused one leaves the state; other writes keep them."""
    memory = memory_with(entries)
    after = replace(IN_PAE, cr3=cr3, pdptes=(1, 2, 3, 4))
    loads = write is CR3 or (write is TASK_SWITCH and cr3 != IN_PAE.cr3)
    if not loads:
        kept = with_pdptes(memory, CpuProfile(36), IN_PAE, after, write)
        assert kept == replace(after, pdptes=IN_PAE.pdptes)
    elif {0x1E7, 1 << 36 | 1} & set(entries):
        with pytest.raises(GeneralProtection):
            with_pdptes(memory, CpuProfile(36), IN_PAE, after, write)
    else:
        found = with_pdptes(memory, CpuProfile(36), IN_PAE, after, write)
        assert found == replace(after, pdptes=entries)
