"""The page walk against the second statement of its rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, combinations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paging_machine import RAM, TABLES, Machine
from paging_statement import MODES, Circumstances, kind_of, outcome, reserved_bits

from backends.unicorn_model.cpu_profile import CpuProfile
from backends.unicorn_model.mmu import AccessedOnFault

PROFILE = CpuProfile(maxphyaddr=40, has_smep=True, has_smap=True)
OPTIONAL = ("WP", "SMEP", "SMAP", "AC")
WHO = ("user", "supervisor", "implicit")
DOES = ("read", "write", "fetch")
PRESENT, LARGE, ACCESSED, DIRTY, XD = 1, 0x80, 0x20, 0x40, 1 << 63
ONES = {4: 2**32 - 1, 8: 2**64 - 1}


def sums(*bits: int) -> list[int]:
    """Every sum of some of the bits."""
    some = chain.from_iterable(combinations(bits, count) for count in range(len(bits) + 1))
    return [sum(chosen) for chosen in some]


def matrix(mode: str) -> Iterator[tuple[int, int]]:
    """Each combination of P, R/W, U/S and XD in both levels and of D, small pages and large."""
    rights = (0x2, 0x4, XD) if "nxe" in mode else (0x2, 0x4)
    uppers = [0x2000 + flags for flags in sums(PRESENT, *rights)]
    lowers = [0x123000 + flags for flags in sums(PRESENT, *rights, DIRTY)]
    yield from product(uppers, lowers)
    if mode != "legacy":
        yield from product(
            [0x400000 + LARGE + flags for flags in sums(PRESENT, *rights, DIRTY)], [0]
        )


def agree(
    machine: Machine, mode: str, circumstances: Circumstances, pde: int, pte: int, linear: int
) -> int | None:
    """Compare what the machine does with what the statement says; returns the error code."""
    size = MODES[mode][1]
    addresses = machine.place(size, pde, pte, linear)
    before = bytes(machine.ram)
    if addresses[1] >= RAM:
        pte = ONES[size]
    expected = outcome(circumstances, (pde, pte), linear)
    found = machine.access(circumstances, size, linear, addresses)
    described = (mode, circumstances, hex(pde), hex(pte), hex(linear))
    if expected.error_code is None:
        expected = replace(expected, used=0)
    assert replace(found, entries=found.entries[: len(expected.entries)]) == expected, described
    # Nothing but these entries has changed.
    after = bytearray(before)
    for address, entry in zip(addresses, expected.entries, strict=False):
        if address < RAM:
            after[address : address + size] = entry.to_bytes(size, "little")
    assert machine.ram == after, described
    return expected.error_code


@pytest.mark.parametrize("does", DOES)
@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("mode", MODES)
def test_every_combination_of_rights_and_control_bits(mode: str, who: str, does: str) -> None:
    machine = Machine(PROFILE)
    seen: set[int | None] = set()
    for facts in map(frozenset, chain.from_iterable(combinations(OPTIONAL, n) for n in range(5))):
        circumstances = Circumstances(facts | MODES[mode][0], who, does, PROFILE)
        for pde, pte in matrix(mode):
            seen.add(agree(machine, mode, circumstances, pde, pte, 0xC0C03ABC))
    # A comparison says little if all accesses end in the same way.
    assert {code % 2 for code in seen if code is not None} == {0, 1}
    assert None in seen


PROFILES = st.builds(
    CpuProfile,
    maxphyaddr=st.integers(32, 52),
    has_pse36=st.booleans(),
    has_pat=st.booleans(),
    has_smep=st.just(True),
    has_smap=st.just(True),
)


@st.composite
def situations(draw: st.DrawFn) -> tuple[str, Circumstances, int, int, int]:
    """A mode, circumstances, a PDE, a PTE and a linear address: most entries are good ones."""
    mode = draw(st.sampled_from(sorted(MODES)))
    chosen, size = MODES[mode]
    # CR4.PSE plays no part in PAE paging, nor does EFER.NXE in 32-bit paging.
    also = "PSE" if "PAE" in chosen else "NXE"
    facts = frozenset(chosen | draw(st.sets(st.sampled_from((*OPTIONAL, also)))))
    profile = draw(PROFILES)
    circumstances = Circumstances(
        facts, draw(st.sampled_from(WHO)), draw(st.sampled_from(DOES)), profile
    )
    entries = []
    for level in (0, 1):
        entry = draw(st.integers(0, 2 ** (8 * size) - 1))
        if draw(st.integers(0, 7)):
            entry |= PRESENT
        if kind_of(level, entry, facts) in ("pde", "pae-pde"):
            # A page table of ours, or where there is no memory.
            ours = entry & 0xFFF | entry >> 63 << 63 | draw(st.sampled_from(TABLES))
            entry = ours if draw(st.integers(0, 7)) else entry | 1 << 31
        reserved = sorted(reserved_bits(kind_of(level, entry, facts), facts, profile))
        for number in reserved:
            entry &= ~(1 << number)
        if reserved and not draw(st.integers(0, 3)):
            entry |= 1 << draw(st.sampled_from(reserved))
        entries.append(entry)
    return mode, circumstances, entries[0], entries[1], draw(st.integers(0, 2**32 - 1))


@settings(max_examples=300)
@given(situation=situations())
def test_any_entries_on_any_processor(
    situation: tuple[str, Circumstances, int, int, int],
) -> None:
    mode, circumstances, pde, pte, linear = situation
    agree(Machine(circumstances.profile), mode, circumstances, pde, pte, linear)


@given(situation=situations())
def test_a_fault_changes_what_the_manual_leaves_open_and_nothing_else(
    situation: tuple[str, Circumstances, int, int, int],
) -> None:
    mode, circumstances, pde, pte, linear = situation
    size = MODES[mode][1]
    rams = {}
    for behaviour in AccessedOnFault:
        machine = Machine(circumstances.profile, behaviour)
        addresses = machine.place(size, pde, pte, linear)
        before = bytearray(machine.ram)
        found = machine.access(circumstances, size, linear, addresses)
        rams[behaviour] = machine.ram
    if found.error_code is None:
        assert rams[AccessedOnFault.LEAVE] == rams[AccessedOnFault.SET]
        return
    assert rams[AccessedOnFault.LEAVE] == before
    for address in addresses[: found.used]:
        if address < RAM:
            before[address] |= ACCESSED
    assert rams[AccessedOnFault.SET] == before


@given(situation=situations())
def test_a_right_that_the_tlb_may_keep_needs_no_walk(
    situation: tuple[str, Circumstances, int, int, int],
) -> None:
    """What is kept hides neither a fault nor a flag; what is not kept would hide one."""
    mode, circumstances, pde, pte, linear = situation
    size = MODES[mode][1]
    machine = Machine(circumstances.profile)
    addresses = machine.place(size, pde, pte, linear)
    first = machine.access(circumstances, size, linear, addresses)
    if first.error_code is not None:
        return
    before = bytes(machine.ram)
    for does in DOES:
        machine.ram[:] = before
        again = machine.access(replace(circumstances, does=does), size, linear, addresses)
        free = again.error_code is None and machine.ram == before
        # A page whose PTE is not in RAM has all flags set: it reads as ones.
        assert free == (does in first.tlb)
