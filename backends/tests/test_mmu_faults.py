"""Error codes bit by bit, accessed and dirty flags, memory that is not there, modes."""

from __future__ import annotations

import pytest

from backends.unicorn_model.access_rights import Access, Privilege
from backends.unicorn_model.control_state import (
    CR0_PG,
    CR0_WP,
    CR4_PAE,
    CR4_PSE,
    CR4_SMAP,
    CR4_SMEP,
    EFER_NXE,
    ControlState,
    check_features,
)
from backends.unicorn_model.cpu_profile import CpuProfile
from backends.unicorn_model.faults import GeneralProtection, PageFault
from backends.unicorn_model.mmu import AccessedOnFault, Mmu, Translation
from backends.unicorn_model.physical_memory import PhysicalMemory

READ, WRITE, FETCH = Access.READ, Access.WRITE, Access.FETCH
USER, SUPERVISOR, IMPLICIT = Privilege.USER, Privilege.SUPERVISOR, Privilege.IMPLICIT
DIRECTORY, TABLE, PAGE = 0x1000, 0x2000, 0x3000
FULL = CpuProfile(has_smep=True, has_smap=True)


def new_ram(entries: dict[int, int], *, size: int = 4) -> bytearray:
    ram = bytearray(0x5000)
    for address, entry in entries.items():
        ram[address : address + size] = entry.to_bytes(size, "little")
    return ram


def word(ram: bytearray, address: int) -> int:
    return int.from_bytes(ram[address : address + 4], "little")


def translate(
    ram: bytearray,
    state: ControlState,
    linear: int,
    access: Access,
    privilege: Privilege,
    accessed_on_fault: AccessedOnFault = AccessedOnFault.LEAVE,
) -> Translation:
    mmu = Mmu(PhysicalMemory(memoryview(ram)), FULL, accessed_on_fault)
    return mmu.translate(state, linear, access, privilege)


def legacy(cr0: int = 0, cr4: int = 0, efer: int = 0, *, ac: bool = False) -> ControlState:
    return ControlState(CR0_PG | cr0, DIRECTORY, cr4, efer, ac)


def pae(cr4: int = 0, efer: int = 0) -> ControlState:
    return ControlState(CR0_PG, 0, CR4_PAE | cr4, efer, False, (DIRECTORY | 1, 0, 0, 0))


NOTHING: dict[int, int] = {}
KERNEL_PAGE = {DIRECTORY: TABLE | 3, TABLE: PAGE | 3}
USER_PAGE = {DIRECTORY: TABLE | 7, TABLE: PAGE | 7}
READ_ONLY = {DIRECTORY: TABLE | 7, TABLE: PAGE | 5}
NO_EXECUTE = {DIRECTORY: TABLE | 7, TABLE: PAGE | 7 | 1 << 63}

CODES = {
    "nothing there": (NOTHING, legacy(), READ, SUPERVISOR, 0b00000),
    "W/R": (NOTHING, legacy(), WRITE, SUPERVISOR, 0b00010),
    "U/S": (NOTHING, legacy(), READ, USER, 0b00100),
    "U/S and W/R": (NOTHING, legacy(), WRITE, USER, 0b00110),
    "not U/S: implicit": (NOTHING, legacy(), READ, IMPLICIT, 0b00000),
    "P, user on kernel": (KERNEL_PAGE, legacy(), READ, USER, 0b00101),
    "P, user writes read-only": (READ_ONLY, legacy(), WRITE, USER, 0b00111),
    "P, WP": (READ_ONLY, legacy(CR0_WP), WRITE, SUPERVISOR, 0b00011),
    "P, WP, implicit": (READ_ONLY, legacy(CR0_WP), WRITE, IMPLICIT, 0b00011),
    "P, SMAP": (USER_PAGE, legacy(cr4=CR4_SMAP), READ, SUPERVISOR, 0b00001),
    "P, SMAP, AC, implicit": (USER_PAGE, legacy(cr4=CR4_SMAP, ac=True), READ, IMPLICIT, 0b00001),
    "P, SMEP": (USER_PAGE, legacy(cr4=CR4_SMEP), FETCH, SUPERVISOR, 0b10001),
    "P, XD": (NO_EXECUTE, pae(efer=EFER_NXE), FETCH, USER, 0b10101),
    "RSVD": (NO_EXECUTE, pae(), READ, SUPERVISOR, 0b01001),
    "RSVD, fetch without NXE": (NO_EXECUTE, pae(), FETCH, USER, 0b01101),
    "no I/D: 32-bit": (NOTHING, legacy(), FETCH, USER, 0b00100),
    "no I/D: 32-bit, NXE": (NOTHING, legacy(efer=EFER_NXE), FETCH, USER, 0b00100),
    "no I/D: PAE": (NOTHING, pae(), FETCH, USER, 0b00100),
    "no I/D: not a fetch": (NOTHING, pae(CR4_SMEP, EFER_NXE), READ, USER, 0b00100),
    "I/D: PAE, NXE": (NOTHING, pae(efer=EFER_NXE), FETCH, USER, 0b10100),
    "I/D: SMEP": (NOTHING, legacy(cr4=CR4_SMEP), FETCH, USER, 0b10100),
    "I/D though XD plays no part": (KERNEL_PAGE, pae(efer=EFER_NXE), FETCH, USER, 0b10101),
}


@pytest.mark.parametrize("name", CODES)
def test_error_codes(name: str) -> None:
    entries, state, access, privilege, code = CODES[name]
    ram = new_ram(entries, size=8 if state.cr4 & CR4_PAE else 4)
    with pytest.raises(PageFault) as caught:
        translate(ram, state, 0xABC, access, privilege)
    assert (caught.value.error_code, caught.value.linear) == (code, 0xABC)


def test_ac_lets_an_explicit_access_at_user_pages() -> None:
    state = legacy(cr4=CR4_SMAP, ac=True)
    assert translate(new_ram(USER_PAGE), state, 0, WRITE, SUPERVISOR).writable


def test_accessed_in_all_levels_and_dirty_in_the_last() -> None:
    ram = new_ram(USER_PAGE)
    assert not translate(ram, legacy(), 0, READ, USER).writable
    assert (word(ram, DIRECTORY), word(ram, TABLE)) == (TABLE | 0x27, PAGE | 0x27)
    assert translate(ram, legacy(), 0, WRITE, USER).writable
    assert (word(ram, DIRECTORY), word(ram, TABLE)) == (TABLE | 0x27, PAGE | 0x67)


def test_a_large_page_keeps_its_flags_in_the_directory() -> None:
    ram = new_ram({DIRECTORY: 0x87})
    assert not translate(ram, legacy(cr4=CR4_PSE), 0, FETCH, USER).writable
    assert word(ram, DIRECTORY) == 0xA7
    translate(ram, legacy(cr4=CR4_PSE), 0, WRITE, USER)
    assert word(ram, DIRECTORY) == 0xE7


def test_a_directory_that_maps_itself() -> None:
    """Both entries are one word; neither flag may be lost."""
    ram = new_ram({DIRECTORY + 0xFFC: DIRECTORY | 3})
    result = translate(ram, legacy(CR0_WP), 0xFFFFF000, WRITE, SUPERVISOR)
    assert result == Translation(DIRECTORY, 0x1000, True, True, True)
    assert word(ram, DIRECTORY + 0xFFC) == DIRECTORY | 0x63


def test_pae_sets_no_flag_outside_of_directory_and_table() -> None:
    """A PDPTE has no accessed flag, neither in its register nor in memory (4.8)."""
    ram = new_ram({**USER_PAGE, 0x4000: DIRECTORY | 1}, size=8)
    state = ControlState(CR0_PG, 0x4000, CR4_PAE, 0, False, (DIRECTORY | 1, 0, 0, 0))
    translate(ram, state, 0, WRITE, USER)
    assert ram == new_ram(
        {DIRECTORY: TABLE | 0x27, TABLE: PAGE | 0x67, 0x4000: DIRECTORY | 1}, size=8
    )


@pytest.mark.parametrize("access", Access)
def test_the_pdpte_registers_count_and_not_the_table(access: Access) -> None:
    ram = new_ram({**USER_PAGE, 0x4008: DIRECTORY | 1}, size=8)
    # Without its P flag, the second register's other bits are ignored.
    state = ControlState(CR0_PG, 0x4000, CR4_PAE, 0, False, (DIRECTORY | 1, DIRECTORY, 0, 0))
    assert translate(ram, state, 0x123, access, USER).physical == PAGE | 0x123
    with pytest.raises(PageFault) as caught:
        translate(ram, state, 0x40000000, access, USER)
    assert caught.value.error_code & 1 == 0
    assert caught.value.left_open == ()


@pytest.mark.parametrize(
    ("entries", "access", "left_open"),
    [
        (NOTHING, READ, ()),
        ({DIRECTORY: TABLE | 7}, READ, (DIRECTORY,)),
        (KERNEL_PAGE, WRITE, (DIRECTORY, TABLE)),
    ],
)
def test_what_the_manual_leaves_open_after_a_fault(
    entries: dict[int, int], access: Access, left_open: tuple[int, ...]
) -> None:
    for behaviour, flag in [(AccessedOnFault.LEAVE, 0), (AccessedOnFault.SET, 0x20)]:
        ram = new_ram(entries)
        with pytest.raises(PageFault) as caught:
            translate(ram, legacy(), 0, access, USER, behaviour)
        assert caught.value.left_open == left_open
        assert ram == new_ram(
            {at: entry | (flag if at in left_open else 0) for at, entry in entries.items()}
        )


def test_tables_outside_of_memory_read_as_ones() -> None:
    ram = new_ram({DIRECTORY: 0x10000000 | 7})
    result = translate(ram, legacy(), 0xABC, WRITE, USER)
    assert result == Translation(0xFFFFFABC, 0x1000, True, True, True)
    # With 8 bytes, all ones have reserved bits among them.
    ram = new_ram({DIRECTORY: 0x10000000 | 7}, size=8)
    with pytest.raises(PageFault) as caught:
        translate(ram, pae(efer=EFER_NXE), 0, READ, SUPERVISOR)
    assert caught.value.error_code == 0b1001
    assert caught.value.left_open == (DIRECTORY,)


def test_memory_ends_where_it_ends() -> None:
    ram = bytearray(b"\x12" * 0x10)
    memory = PhysicalMemory(memoryview(ram))
    assert memory.read(0xC, 4) == 0x12121212
    assert memory.read(0x8, 8) == 0x1212121212121212
    assert memory.read(0x10, 4) == 0xFFFFFFFF
    assert memory.read(0x10, 8) == 2**64 - 1
    memory.set_bits(0x10, 8, 1)
    memory.set_bits(0xC, 4, 0x20)
    assert ram == b"\x12" * 0xC + b"\x32\x12\x12\x12"


@pytest.mark.parametrize("access", Access)
@pytest.mark.parametrize("privilege", Privilege)
def test_without_paging_every_address_is_its_own(access: Access, privilege: Privilege) -> None:
    state = ControlState(CR0_WP, DIRECTORY, CR4_SMEP | CR4_SMAP | CR4_PAE)
    result = translate(bytearray(0x5000), state, 0xFFFFFFFF, access, privilege)
    assert result == Translation(0xFFFFFFFF, 0x1000, True, True, True)
    assert result.frame == 0xFFFFF000


def test_one_mmu_follows_the_mode_that_the_state_chooses() -> None:
    """Nothing of one mode is kept for another."""
    ram = new_ram({DIRECTORY: TABLE | 0x87, TABLE: PAGE | 7})
    mmu = Mmu(PhysicalMemory(memoryview(ram)), FULL)
    assert mmu.translate(legacy(), 0x5, READ, USER).physical == PAGE | 5
    # What was the address of a table has become bit 32 of the address of a page.
    assert mmu.translate(legacy(cr4=CR4_PSE), 0x5, READ, USER).physical == 1 << 32 | 5
    assert mmu.translate(legacy(), 0x5, READ, USER).physical == PAGE | 5
    ram[:] = new_ram(NO_EXECUTE, size=8)
    assert mmu.translate(pae(efer=EFER_NXE), 0x5, READ, USER).physical == PAGE | 5
    with pytest.raises(PageFault):
        mmu.translate(pae(), 0x5, READ, USER)


@pytest.mark.parametrize(
    ("feature", "state"),
    [
        ("has_pse", legacy(cr4=CR4_PSE)),
        ("has_pae", legacy(cr4=CR4_PAE)),
        ("has_smep", legacy(cr4=CR4_SMEP)),
        ("has_smap", legacy(cr4=CR4_SMAP)),
        ("has_nx", legacy(efer=EFER_NXE)),
    ],
)
def test_a_feature_that_is_missing_cannot_be_switched_on(feature: str, state: ControlState) -> None:
    features = ("has_pse", "has_pae", "has_smep", "has_smap", "has_nx")
    check_features(CpuProfile(**{name: name == feature for name in features}), state)
    with pytest.raises(GeneralProtection) as caught:
        check_features(CpuProfile(**{name: name != feature for name in features}), state)
    assert caught.value.error_code == 0


@pytest.mark.parametrize("width", [31, 53])
def test_a_processor_has_a_possible_address_width(width: int) -> None:
    with pytest.raises(ValueError, match=f"maxphyaddr: expected 32 to 52, got {width}"):
        CpuProfile(maxphyaddr=width)
