"""Formats of the paging-structure entries (SDM vol. 3, 4.3 to 4.5, tables 4-4 to 4-20).

What differs between paging modes is data here; the walk (mmu) is the same for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from backends.unicorn_model.control_state import PagingMode
from backends.unicorn_model.cpu_profile import CpuProfile

__all__ = [
    "ACCESSED",
    "DIRTY",
    "EXECUTE_DISABLE",
    "PRESENT",
    "USER",
    "WRITABLE",
    "EntryKind",
    "Level",
    "PagingFormat",
    "bits",
    "four_level_format",
    "legacy_format",
    "pae_format",
    "pdpte_kind",
]

PRESENT, WRITABLE, USER, ACCESSED, DIRTY = 1 << 0, 1 << 1, 1 << 2, 1 << 5, 1 << 6
EXECUTE_DISABLE = 1 << 63


def bits(high: int, low: int) -> int:
    """The mask of bits high:low, as the manual writes them: both ends included; 62:63 is none."""
    return (1 << high + 1) - (1 << low) if high >= low else 0


@dataclass(frozen=True, slots=True)
class EntryKind:
    """How an entry with P = 1 is read.

    Attributes:
        name: what the manual calls it.
        maps_page: it maps a page; otherwise it references another paging structure.
        address: bits that are bits of the physical address, each in its place.
        reserved: bits that have to be 0.
        high_address: bits 20:13 where they are bits 39:32 of the address (4.3), or 0.
    """

    name: str
    maps_page: bool
    address: int
    reserved: int
    high_address: int = 0

    def physical(self, entry: int) -> int:
        """The physical address that an entry holds."""
        return entry & self.address | (entry & self.high_address) << 32 - 13


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the hierarchy (4.2).

    Attributes:
        shift: lowest bit of the linear address that selects an entry; if the entry maps a page,
            the page has 2**shift bytes.
        index_mask: selects the entry, once the linear address is shifted.
        kinds: how an entry is read with bit 7 (PS) clear, and with it set.
    """

    shift: int
    index_mask: int
    kinds: tuple[EntryKind, EntryKind]


@dataclass(frozen=True, slots=True)
class PagingFormat:
    """The paging structures of one mode, with its modifiers (4.1.3), on one processor.

    Attributes:
        mode: the paging mode.
        entry_size: bytes of an entry.
        levels: those that are walked in memory, from the top down.
        root: bits of CR3 that are the address of the first structure; with PAE paging it is in the
            PDPTE registers instead.
    """

    mode: PagingMode
    entry_size: int
    levels: tuple[Level, ...]
    root: int = 0


def legacy_format(profile: CpuProfile, *, pse: bool) -> PagingFormat:
    """32-bit paging (4.3).

    Args:
        profile: the processor.
        pse: CR4.PSE.
    """
    # 4.3: "there are reserved bits only if CR4.PSE = 1".
    without_pat = pse and not profile.has_pat
    # 4.3: M is the minimum of 40 and MAXPHYADDR.
    m = min(40, profile.maxphyaddr)
    # 4.3, table 4-4.
    large_page = EntryKind(
        name="PDE that maps a 4-MByte page",
        maps_page=True,
        address=bits(31, 22),
        high_address=bits(20, 13),
        reserved=(bits(21, m - 19) if profile.has_pse36 else bits(21, 13))
        | (bits(12, 12) if without_pat else 0),
    )
    # 4.3, table 4-5: nothing is reserved.
    table = EntryKind(
        name="PDE that references a page table",
        maps_page=False,
        address=bits(31, 12),
        reserved=0,
    )
    # 4.3, table 4-6.
    page = EntryKind(
        name="PTE that maps a 4-KByte page",
        maps_page=True,
        address=bits(31, 12),
        reserved=bits(7, 7) if without_pat else 0,
    )
    # 4.3: the PS flag of a PDE is ignored if CR4.PSE = 0; bit 7 of a PTE is not the PS flag.
    return PagingFormat(
        PagingMode.LEGACY,
        entry_size=4,
        levels=(
            Level(22, 0x3FF, (table, large_page if pse else table)),
            Level(12, 0x3FF, (page, page)),
        ),
        root=bits(31, 12),  # 4.3, table 4-3
    )


def pae_format(profile: CpuProfile, *, nxe: bool) -> PagingFormat:
    """PAE paging below the PDPTE registers (4.4.2).

    CR4.PSE plays no part (4.1.3). R/W and U/S are in PDEs and PTEs only: in a PDPTE those bits are
    reserved, so that it gives all rights.

    Args:
        profile: the processor.
        nxe: IA32_EFER.NXE.
    """
    # 4.4.2: for a PDE and a PTE, bits 62:MAXPHYADDR; and XD if IA32_EFER.NXE = 0.
    reserved = bits(62, profile.maxphyaddr) | (0 if nxe else EXECUTE_DISABLE)
    return PagingFormat(PagingMode.PAE, entry_size=8, levels=_lower_levels(profile, reserved))


def four_level_format(profile: CpuProfile, *, nxe: bool) -> PagingFormat:
    """4-level paging (4.5).

    Neither CR4.PSE nor CR4.PGE plays a part (4.1.3), and protection keys are not modelled: bits
    62:59 are ignored then.

    Args:
        profile: the processor.
        nxe: IA32_EFER.NXE.
    """
    m = profile.maxphyaddr
    # 4.5: bits 51:MAXPHYADDR in every entry; and XD if IA32_EFER.NXE = 0.
    reserved = bits(51, m) | (0 if nxe else EXECUTE_DISABLE)
    # 4.5, table 4-15: bit 7 is reserved.
    top = EntryKind(
        name="PML4E",
        maps_page=False,
        address=bits(m - 1, 12),
        reserved=reserved | bits(7, 7),
    )
    # 4.5, table 4-16.
    huge_page = EntryKind(
        name="PDPTE that maps a 1-GByte page",
        maps_page=True,
        address=bits(m - 1, 30),
        reserved=reserved | bits(29, 13) | (0 if profile.has_pat else bits(12, 12)),
    )
    # 4.5, table 4-17; without 1-GByte pages, PS is reserved.
    directory = EntryKind(
        name="PDPTE that references a page directory",
        maps_page=False,
        address=bits(m - 1, 12),
        reserved=reserved | (0 if profile.has_1gib_pages else bits(7, 7)),
    )
    return PagingFormat(
        PagingMode.FOUR_LEVEL,
        entry_size=8,
        levels=(
            Level(39, 0x1FF, (top, top)),
            Level(30, 0x1FF, (directory, huge_page if profile.has_1gib_pages else directory)),
            *_lower_levels(profile, reserved),
        ),
        root=bits(m - 1, 12),  # 4.5, table 4-12
    )


def _lower_levels(profile: CpuProfile, reserved: int) -> tuple[Level, Level]:
    """Page directory and page table of 8-byte entries, with what is reserved in all of them."""
    m = profile.maxphyaddr
    # 4.4.2, table 4-9; 4.5, table 4-18.
    large_page = EntryKind(
        name="PDE that maps a 2-MByte page",
        maps_page=True,
        address=bits(m - 1, 21),
        reserved=reserved | bits(20, 13) | (0 if profile.has_pat else bits(12, 12)),
    )
    # 4.4.2, table 4-10; 4.5, table 4-19.
    table = EntryKind(
        name="PDE that references a page table",
        maps_page=False,
        address=bits(m - 1, 12),
        reserved=reserved,
    )
    # 4.4.2, table 4-11; 4.5, table 4-20.
    page = EntryKind(
        name="PTE that maps a 4-KByte page",
        maps_page=True,
        address=bits(m - 1, 12),
        reserved=reserved | (0 if profile.has_pat else bits(7, 7)),
    )
    return Level(21, 0x1FF, (table, large_page)), Level(12, 0x1FF, (page, page))


def pdpte_kind(profile: CpuProfile) -> EntryKind:
    """An entry of the page-directory-pointer table with PAE paging (4.4.1, table 4-8)."""
    m = profile.maxphyaddr
    return EntryKind(
        name="PDPTE",
        maps_page=False,
        address=bits(m - 1, 12),
        reserved=bits(2, 1) | bits(8, 5) | bits(63, m),
    )
