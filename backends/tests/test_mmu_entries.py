"""Reserved bits of each kind of entry, one by one, and the addresses that entries hold."""

from __future__ import annotations

import pytest
from paging_machine import Machine
from paging_statement import MODES, Circumstances, Outcome

from backends.unicorn_model.cpu_profile import CpuProfile

M36, M40, M52 = CpuProfile(36), CpuProfile(40), CpuProfile(52)
OLD = CpuProfile(32, has_pse36=False, has_pat=False)
OLD_PAE = CpuProfile(36, has_pat=False, has_nx=False)
# Bit 7 and, in a PDE, the address are part of what the entry is.
PDE, LARGE, PTE = 0x2001, 0x81, 0x1


def span(first: int, last: int) -> set[int]:
    return set(range(first, last + 1))


KINDS = {
    # SDM 4.3: with CR4.PSE = 0, no bits are reserved with 32-bit paging.
    "pde": ("legacy", "pde", PDE, M36, set()),
    "pde, no PAT": ("legacy", "pde", PDE, OLD, set()),
    "pde, PS ignored": ("legacy", "pde", PDE | 0x80, M36, set()),
    "pte, no PAT": ("legacy", "pte", PTE, OLD, set()),
    "pde, PSE": ("legacy-pse", "pde", PDE, OLD, set()),
    "pte, PSE": ("legacy-pse", "pte", PTE, M36, set()),
    "pte, PSE, no PAT": ("legacy-pse", "pte", PTE, OLD, {7}),
    "4 MiB, M=32": ("legacy-pse", "pde", LARGE, CpuProfile(32), span(13, 21)),
    "4 MiB, M=36": ("legacy-pse", "pde", LARGE, M36, span(17, 21)),
    "4 MiB, M=40": ("legacy-pse", "pde", LARGE, M40, {21}),
    "4 MiB, M=52": ("legacy-pse", "pde", LARGE, M52, {21}),
    "4 MiB, no PSE-36": ("legacy-pse", "pde", LARGE, CpuProfile(36, has_pse36=False), span(13, 21)),
    "4 MiB, no PAT": ("legacy-pse", "pde", LARGE, OLD, span(12, 21)),
    # SDM 4.4.2.
    "pae pde, M=36": ("pae-nxe", "pde", PDE, M36, span(36, 62)),
    "pae pde, M=52": ("pae-nxe", "pde", PDE, M52, span(52, 62)),
    "pae pde, NXE=0": ("pae", "pde", PDE, M36, span(36, 63)),
    "2 MiB, M=36": ("pae-nxe", "pde", LARGE, M36, span(13, 20) | span(36, 62)),
    "2 MiB, M=52": ("pae-nxe", "pde", LARGE, M52, span(13, 20) | span(52, 62)),
    "2 MiB, NXE=0": ("pae", "pde", LARGE, M40, span(13, 20) | span(40, 63)),
    "2 MiB, no PAT": ("pae", "pde", LARGE, OLD_PAE, span(12, 20) | span(36, 63)),
    "pae pte, M=36": ("pae-nxe", "pte", PTE, M36, span(36, 62)),
    "pae pte, M=52": ("pae-nxe", "pte", PTE, M52, span(52, 62)),
    "pae pte, NXE=0": ("pae", "pte", PTE, M40, span(40, 63)),
    "pae pte, no PAT": ("pae", "pte", PTE, OLD_PAE, {7} | span(36, 63)),
    "pae pde, no PAT": ("pae", "pde", PDE, OLD_PAE, span(36, 63)),
}


def access(mode: str, profile: CpuProfile, pde: int, pte: int, does: str = "read") -> Outcome:
    facts, size = MODES[mode]
    machine = Machine(profile)
    addresses = machine.place(size, pde, pte, 0)
    circumstances = Circumstances(frozenset(facts), "supervisor", does, profile)
    return machine.access(circumstances, size, 0, addresses)


@pytest.mark.parametrize("kind", KINDS)
def test_reserved_bits_one_by_one(kind: str) -> None:
    mode, which, entry, profile, reserved = KINDS[kind]
    faulting = set()
    for number in range(1, 8 * MODES[mode][1]):
        if which == "pde" and number == 7 and mode != "legacy":
            continue  # makes it another kind of entry
        changed = entry | 1 << number
        pde, pte = (changed, PTE) if which == "pde" else (PDE, changed)
        found = access(mode, profile, pde, pte)
        # A PDE that sends the walk out of RAM is used, and the ones that lie there are refused.
        if found.error_code == 0b1001 and found.used == (which == "pte"):
            faulting.add(number)
        # Reserved bits are not checked in an entry that is not present.
        pde, pte = (changed & ~1, PTE) if which == "pde" else (PDE, changed & ~1)
        assert access(mode, profile, pde, pte).error_code == 0
    assert faulting == reserved


@pytest.mark.parametrize(
    ("does", "code"), [("read", 0b01001), ("write", 0b01011), ("fetch", 0b11001)]
)
def test_a_reserved_bit_tells_of_the_access_too(does: str, code: int) -> None:
    """P is 1 with RSVD; I/D is 1 for a fetch that XD might have prevented."""
    assert access("pae-nxe", M36, PDE, PTE | 1 << 51, does).error_code == code


@pytest.mark.parametrize("upper", [0, 1 << 51 | 1])
@pytest.mark.parametrize("lower", [0, 1 << 51 | 1])
def test_the_first_entry_that_ends_the_walk_decides(upper: int, lower: int) -> None:
    assert access("pae", M36, upper, lower).error_code == (9 if upper else 0)
    assert access("pae", M36, PDE, lower).error_code == (9 if lower else 0)


@pytest.mark.parametrize("rights", [0x1, 0x3, 0x5, 0x7])
def test_no_entry_below_matters_to_a_large_page(rights: int) -> None:
    """Bit 12 of the PDE is PAT, and not an address of anything."""
    assert access("legacy-pse", M36, 0x1080 | rights, 0).error_code is None
    assert access("pae", M36, 0x1080 | rights, 0).error_code is None


@pytest.mark.parametrize(
    ("mode", "pde", "pte", "linear", "physical", "page_size"),
    [
        ("legacy", 0x2001, 0xFEDCB001, 0x00000ABC, 0xFEDCBABC, 0x1000),
        ("legacy-pse", 0x2001, 0xFEDCB081, 0xFFC00FFF, 0xFEDCBFFF, 0x1000),
        ("legacy-pse", 0x87C00081, 0, 0x003FFFFF, 0x87FFFFFF, 0x400000),
        ("legacy-pse", 0x00402081, 0, 0x00000000, 0x1_00400000, 0x400000),
        ("legacy-pse", 0x801FE081, 0, 0x12345678, 0xFF_80345678, 0x400000),
        ("pae", 0x2001, 0xFFFFFFFFFF001, 0xC0000123, 0xFFFFFFFFFF123, 0x1000),
        ("pae", 0x3001, 0x7654001, 0x40201123, 0x7654123, 0x1000),
        ("pae", 0xFFFFFFFE00081, 0, 0xFFFFFFFF, 0xFFFFFFFFFFFFF, 0x200000),
        ("pae", 0x600081, 0, 0x40212345, 0x612345, 0x200000),
    ],
)
def test_physical_addresses(
    mode: str, pde: int, pte: int, linear: int, physical: int, page_size: int
) -> None:
    facts, size = MODES[mode]
    machine = Machine(M52)
    addresses = machine.place(size, pde, pte, linear)
    circumstances = Circumstances(frozenset(facts), "supervisor", "read", M52)
    found = machine.access(circumstances, size, linear, addresses)
    assert (found.physical, found.page_size) == (physical, page_size)
