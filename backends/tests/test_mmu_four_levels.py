"""4-level paging against the second statement of its rules, and canonical addresses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, combinations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paging_machine import DIRECTORY, RAM, TABLES, Machine, control_state
from paging_statement import FOUR_LEVELS, Circumstances, Outcome, kind_of, outcome, reserved_bits

from backends.unicorn_model.access_rights import Access, Privilege
from backends.unicorn_model.cpu_profile import CpuProfile
from backends.unicorn_model.faults import NonCanonical
from backends.unicorn_model.mmu import AccessedOnFault, is_canonical

M36 = CpuProfile(36, has_smep=True, has_smap=True, has_1gib_pages=True)
NO_HUGE_PAGES = replace(M36, has_1gib_pages=False)
M52 = replace(M36, maxphyaddr=52)
NO_PAT = replace(M36, has_pat=False)

OPTIONAL = ("WP", "SMEP", "SMAP", "AC")
WHO = ("user", "supervisor", "implicit")
DOES = ("read", "write", "fetch")
PRESENT, LARGE, ACCESSED, DIRTY, XD = 1, 0x80, 0x20, 0x40, 1 << 63
LINEAR = 0xFFFF_8123_4567_89AB
ONES = 2**64 - 1
REFERENCES = tuple(table | 0x7 for table in TABLES)


def agree(
    circumstances: Circumstances,
    hierarchy: tuple[int, ...],
    linear: int,
    machine: Machine | None = None,
) -> Outcome:
    """Compare what the machine does with what the statement says."""
    machine = machine or Machine(circumstances.profile)
    addresses = machine.place_four(hierarchy, linear)
    before = bytes(machine.ram)
    read = tuple(
        ONES if address >= RAM else entry
        for address, entry in zip(addresses, hierarchy, strict=True)
    )
    expected = outcome(circumstances, read, linear)
    found = _access(machine, circumstances, linear, addresses)
    described = (circumstances, [hex(entry) for entry in hierarchy], hex(linear))
    wanted = replace(expected, used=0) if expected.error_code is None else expected
    assert replace(found, entries=found.entries[: len(expected.entries)]) == wanted, described
    # Nothing but these entries has changed.
    after = bytearray(before)
    for address, entry in zip(addresses, expected.entries, strict=False):
        if address < RAM:
            after[address : address + 8] = entry.to_bytes(8, "little")
    assert machine.ram == after, described
    return expected


def _access(
    machine: Machine, circumstances: Circumstances, linear: int, addresses: tuple[int, ...]
) -> Outcome:
    """Entries that are not in RAM are used where they are referenced, which is not compared."""
    state = control_state(circumstances.facts, linear)
    assert state.cr3 & ~0xFFF == DIRECTORY
    missing = RAM in addresses
    if not missing:
        return machine.access(circumstances, 8, linear, addresses)
    # All ones: the walk ends there with a reserved bit.
    known = addresses[: addresses.index(RAM)]
    found = machine.access(circumstances, 8, linear, known)
    return replace(found, entries=(*found.entries, ONES))


def hierarchies(mode: str) -> Iterator[tuple[int, ...]]:
    """A right may be missing at one level, or different ones at the first and the last; pages of
    each size, clean and dirty.
    """
    flags = [0x6, 0x4, 0x2, 0x0, *((0x6 | XD,) if "nxe" in mode else ())]
    good = [*REFERENCES, 0x123007]
    yield tuple(good)
    for level, lacking in product(range(4), flags[1:]):
        yield tuple(entry & ~0x6 | lacking if n == level else entry for n, entry in enumerate(good))
    for first, last in product(flags[1:], repeat=2):
        yield (good[0] & ~0x6 | first, *good[1:3], good[3] & ~0x6 | last)
    for level, address in ((1, 0x40000000), (2, 0x200000)):
        for lacking, dirty in product(flags, (0, DIRTY)):
            page = address | LARGE | PRESENT | lacking | dirty
            yield (*REFERENCES[:level], page, *(0 for _ in range(3 - level)))


@pytest.mark.parametrize("does", DOES)
@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("mode", FOUR_LEVELS)
def test_every_combination_of_rights_and_control_bits(mode: str, who: str, does: str) -> None:
    machine = Machine(M36)
    seen: set[int | None] = set()
    for facts in map(frozenset, chain.from_iterable(combinations(OPTIONAL, n) for n in range(5))):
        circumstances = Circumstances(facts | FOUR_LEVELS[mode], who, does, M36)
        for hierarchy in hierarchies(mode):
            seen.add(agree(circumstances, hierarchy, LINEAR, machine).error_code)
    assert {code % 2 for code in seen if code is not None} == {1}
    assert None in seen


PROFILES = st.builds(
    CpuProfile,
    maxphyaddr=st.integers(36, 52),
    has_pat=st.booleans(),
    has_1gib_pages=st.booleans(),
    has_smep=st.just(True),
    has_smap=st.just(True),
)
CANONICAL = st.integers(-(2**47), 2**47 - 1).map(lambda address: address % 2**64)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Circumstances, tuple[int, ...], int]:
    """Circumstances, entries of all levels and a linear address: most entries are good ones."""
    chosen = FOUR_LEVELS[draw(st.sampled_from(sorted(FOUR_LEVELS)))]
    # CR4.PSE plays no part.
    facts = frozenset(chosen | draw(st.sets(st.sampled_from((*OPTIONAL, "PSE")))))
    profile = draw(PROFILES)
    who, does = draw(st.sampled_from(WHO)), draw(st.sampled_from(DOES))
    entries = []
    for level in range(-2, 2):
        entry = draw(st.integers(0, 2**64 - 1))
        if draw(st.integers(0, 9)):
            entry |= PRESENT
        if level == -1 and not profile.has_1gib_pages and draw(st.integers(0, 5)):
            entry &= ~LARGE
        kind = kind_of(level, entry, facts)
        if kind in ("pml4e", "pdpte-pd", "4-pde"):
            # The next table of ours, or where there is no memory: an entry of all ones ends the
            # walk, but for the widest physical addresses, with which none of its bits is reserved.
            ours = profile.maxphyaddr == 52 or draw(st.integers(0, 9))
            table = TABLES[level + 2] if ours else 1 << 31
            entry = entry & 0xFFF | entry >> 52 << 52 | table
        reserved = sorted(reserved_bits(kind, facts, profile))
        for number in set(reserved) - {7}:
            entry &= ~(1 << number)
        if level == -2:
            entry &= ~LARGE
        if reserved and not draw(st.integers(0, 5)):
            entry |= 1 << draw(st.sampled_from(reserved))
        entries.append(entry)
    return Circumstances(facts, who, does, profile), tuple(entries), draw(CANONICAL)


@settings(max_examples=300)
@given(situation=situations())
def test_any_entries_on_any_processor(
    situation: tuple[Circumstances, tuple[int, ...], int],
) -> None:
    agree(*situation)


@given(situation=situations())
def test_a_fault_changes_what_the_manual_leaves_open_and_nothing_else(
    situation: tuple[Circumstances, tuple[int, ...], int],
) -> None:
    circumstances, hierarchy, linear = situation
    rams = {}
    for behaviour in AccessedOnFault:
        machine = Machine(circumstances.profile, behaviour)
        addresses = machine.place_four(hierarchy, linear)
        before = bytearray(machine.ram)
        found = _access(machine, circumstances, linear, addresses)
        rams[behaviour] = machine.ram
    if found.error_code is None:
        assert rams[AccessedOnFault.LEAVE] == rams[AccessedOnFault.SET]
        return
    assert rams[AccessedOnFault.LEAVE] == before
    for address in addresses[: found.used]:
        before[address] |= ACCESSED
    assert rams[AccessedOnFault.SET] == before


@given(situation=situations())
def test_a_right_that_the_tlb_may_keep_needs_no_walk(
    situation: tuple[Circumstances, tuple[int, ...], int],
) -> None:
    """What is kept hides neither a fault nor a flag; what is not kept would hide one."""
    circumstances, hierarchy, linear = situation
    machine = Machine(circumstances.profile)
    addresses = machine.place_four(hierarchy, linear)
    first = _access(machine, circumstances, linear, addresses)
    if first.error_code is not None:
        return
    before = bytes(machine.ram)
    for does in DOES:
        machine.ram[:] = before
        again = _access(machine, replace(circumstances, does=does), linear, addresses)
        assert (again.error_code is None and machine.ram == before) == (does in first.tlb)


def span(first: int, last: int) -> set[int]:
    return set(range(first, last + 1))


# Level, entry, profile and mode: the bits that are reserved (SDM vol. 3, tables 4-15 to 4-20).
PAGE_AT = {1: 0x40000081, 2: 0x200081, 3: 0x123001}
RESERVED = {
    "PML4E": (0, REFERENCES[0], M36, "4-level-nxe", {7} | span(36, 51)),
    "PML4E, M=52": (0, REFERENCES[0], M52, "4-level-nxe", {7}),
    "PML4E, NXE=0": (0, REFERENCES[0], M36, "4-level", {7, 63} | span(36, 51)),
    "PDPTE": (1, REFERENCES[1], M36, "4-level-nxe", span(36, 51)),
    "PDPTE, NXE=0": (1, REFERENCES[1], M52, "4-level", {63}),
    "PDPTE, no 1 GiB": (1, REFERENCES[1], NO_HUGE_PAGES, "4-level-nxe", {7} | span(36, 51)),
    "1 GiB": (1, PAGE_AT[1], M36, "4-level-nxe", span(13, 29) | span(36, 51)),
    "1 GiB, no PAT": (1, PAGE_AT[1], NO_PAT, "4-level-nxe", span(12, 29) | span(36, 51)),
    "PDE": (2, REFERENCES[2], M36, "4-level-nxe", span(36, 51)),
    "PDE, no PAT": (2, REFERENCES[2], NO_PAT, "4-level", {63} | span(36, 51)),
    "2 MiB": (2, PAGE_AT[2], M36, "4-level-nxe", span(13, 20) | span(36, 51)),
    "2 MiB, M=52": (2, PAGE_AT[2], M52, "4-level", {63} | span(13, 20)),
    "2 MiB, no PAT": (2, PAGE_AT[2], NO_PAT, "4-level-nxe", span(12, 20) | span(36, 51)),
    "PTE": (3, PAGE_AT[3], M36, "4-level-nxe", span(36, 51)),
    "PTE, M=52": (3, PAGE_AT[3], M52, "4-level-nxe", set()),
    "PTE, no PAT": (3, PAGE_AT[3], NO_PAT, "4-level-nxe", {7} | span(36, 51)),
}


@pytest.mark.parametrize("name", RESERVED)
def test_reserved_bits_one_by_one(name: str) -> None:
    level, entry, profile, mode, reserved = RESERVED[name]
    circumstances = Circumstances(frozenset(FOUR_LEVELS[mode]), "supervisor", "read", profile)
    faulting = set()
    for number in range(1, 64):
        if number == 7 and level in (1, 2) and 7 not in reserved:
            continue  # makes it another kind of entry
        for present in (True, False):
            changed = (entry | 1 << number) & (-1 if present else ~PRESENT)
            hierarchy = [*REFERENCES[:level], changed, *(0 for _ in range(3 - level))]
            machine = Machine(profile)
            addresses = machine.place_four(hierarchy, LINEAR)
            found = _access(machine, circumstances, LINEAR, addresses)
            if not present:
                # Reserved bits are not checked in an entry that is not present.
                assert (found.error_code, found.used) == (0, level)
            elif found.error_code == 0b1001 and found.used == level:
                faulting.add(number)
    assert faulting == reserved


def test_the_root_is_all_of_cr3s_address() -> None:
    machine = Machine(M36)
    state = control_state(frozenset(FOUR_LEVELS["4-level"]), 0)
    machine.place_four((*REFERENCES, 0x5555001), 0)
    translate = machine.mmu.translate
    assert translate(state, 0x123, Access.READ, Privilege.SUPERVISOR).physical == 0x5555123
    elsewhere = replace(state, cr3=state.cr3 | 1 << 35)
    # There is no memory at that address: it reads as all ones.
    with pytest.raises(Exception, match="error code 0x9"):
        translate(elsewhere, 0x123, Access.READ, Privilege.SUPERVISOR)
    ignored = replace(state, cr3=state.cr3 | 1 << 36 | 0xFFF)
    assert translate(ignored, 0x123, Access.READ, Privilege.SUPERVISOR).physical == 0x5555123


BORDERS = {
    0: True,
    0x0000_7FFF_FFFF_FFFF: True,
    0x0000_8000_0000_0000: False,
    0x8000_0000_0000_0000: False,
    0xFFFF_7FFF_FFFF_FFFF: False,
    0xFFFF_8000_0000_0000: True,
    0xFFFF_FFFF_FFFF_FFFF: True,
}


@pytest.mark.parametrize("linear", BORDERS)
def test_canonical_addresses(linear: int) -> None:
    assert is_canonical(linear) == BORDERS[linear]
    machine = Machine(M36)
    machine.place_four((*REFERENCES, 0x123007), linear)
    state = control_state(frozenset(FOUR_LEVELS["4-level"]), linear)
    before = bytes(machine.ram)
    if BORDERS[linear]:
        found = machine.mmu.translate(state, linear, Access.READ, Privilege.USER)
        assert found.physical == 0x123000 + linear % 0x1000
        return
    with pytest.raises(NonCanonical) as caught:
        machine.mmu.translate(state, linear, Access.READ, Privilege.USER)
    assert caught.value.linear == linear
    assert machine.ram == before
