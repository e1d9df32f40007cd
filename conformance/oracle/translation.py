"""How linear addresses are translated, and what a translation allows (SDM vol. 3, chapter 4).

32-bit paging is section 4.3, PAE paging 4.4, 4-level paging 4.5. Nothing here changes any state.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

from conformance.oracle import rules
from conformance.oracle.address_space import (
    DIRTY,
    EXECUTE_DISABLE,
    LARGE,
    PRESENT,
    USER_MODE,
    WRITABLE,
    PagingStructures,
)
from conformance.oracle.control import ControlRegisters
from conformance.oracle.expectation import Rule
from conformance.oracle.setting import PAGE, Setting

__all__ = ["Access", "Translation", "Upper", "Walk", "error_code", "right", "walk"]

_FRAME: Final = (1 << 40) - PAGE  # bits 39:12 of an entry are a frame's address
_RIGHTS: Final = WRITABLE | USER_MODE

# Reserved bits, for a MAXPHYADDR of 40 (see control.PDPTE_RESERVED).
_LEGACY_LARGE_RESERVED: Final = 1 << 21  # table 4-4
_PAE_RESERVED: Final = (1 << 63) - (1 << 40)  # tables 4-9 to 4-11: bits 62:MAXPHYADDR
_FOUR_LEVEL_RESERVED: Final = (1 << 52) - (1 << 40)  # tables 4-15 to 4-20: bits 51:MAXPHYADDR
_LARGE_RESERVED: Final = (1 << 21) - (1 << 13)  # tables 4-9 and 4-18: bits 20:13 too
_HUGE_RESERVED: Final = (1 << 30) - (1 << 13)  # table 4-16: bits 29:13 too


@dataclass(frozen=True, slots=True)
class Access:
    """Who accesses memory, and how.

    Attributes:
        kind: the protocol's `access_kind`.
        user: it is made at CPL 3.
        alignment_check: EFLAGS.AC.
    """

    kind: str
    user: bool = False
    alignment_check: bool = False


@dataclass(frozen=True, slots=True)
class Translation:
    """A page and its rights: what a TLB entry holds (4.10.2.2).

    Attributes:
        start: linear address of the page.
        size: bytes.
        physical: of its first byte.
        user, writable: in every entry of the translation.
        execute_disable: in one of them.
        dirty: of the entry that maps the page.
    """

    start: int
    size: int
    physical: int
    user: bool
    writable: bool
    execute_disable: bool
    dirty: bool


@dataclass(frozen=True, slots=True)
class Upper:
    """What entries above the one that maps a page lead to: what the paging-structure caches hold.

    Attributes:
        shift: of the level that was used last: what its entry governs has `2**shift` bytes.
        start: linear address of that.
        table: physical address of the structure that the entry references.
        rights: of all entries that were used together, as if they were one (4.10.3.1): the flags
            W and U where all have them, XD where one has it.
    """

    shift: int
    start: int
    table: int
    rights: int

    def covers(self, linear: int) -> bool:
        """Does a translation of this address use it?"""
        return linear >> self.shift == self.start >> self.shift


@dataclass(frozen=True, slots=True)
class Walk:
    """What the paging structures say of a linear address.

    Attributes:
        used: addresses of the entries that were used, from the top down; not the one at which the
            walk ends in a fault, and not one that came from elsewhere.
        uppers: what each of those that reference another structure led to.
        translation: None where there is none.
        obstacle: why not.
    """

    used: tuple[int, ...]
    uppers: tuple[Upper, ...]
    translation: Translation | None
    obstacle: Rule | None = None


@dataclass(frozen=True, slots=True)
class _Level:
    """Entries of one level.

    Attributes:
        shift: an entry governs `2**shift` bytes of linear addresses.
        reserved: bits that have to be 0.
        maps_pages: an entry with PS maps a page; elsewhere PS is ignored, or reserved.
        large_reserved: bits that have to be 0 in such an entry.
    """

    shift: int
    reserved: int
    maps_pages: bool = False
    large_reserved: int = 0


def walk(
    setting: Setting,
    structures: PagingStructures,
    control: ControlRegisters,
    linear: int,
    cached: Upper | None = None,
) -> Walk:
    """Walk the paging structures.

    Args:
        setting: for the paging mode, and CR3.
        structures: what is in memory.
        control: for the PDPTE registers, and what is reserved or ignored.
        linear: the address.
        cached: used in place of the entries in memory down to its level (4.10.3.2).
    """
    used: list[int] = []
    uppers: list[Upper] = []

    def ends(obstacle: Rule) -> Walk:
        return Walk(tuple(used), tuple(uppers), None, obstacle)

    levels = _levels(
        setting.paging, setting.huge_pages, control.no_execute, control.page_size_extensions
    )
    if cached is not None:
        table, rights = cached.table, cached.rights
        levels = tuple(level for level in levels if level.shift < cached.shift)
    elif setting.pae:
        # A PDPTE register names the page directory, and memory is not looked at.
        register = control.pdptes[linear >> 30]
        if not register & PRESENT:
            return ends(rules.NOT_PRESENT)
        table, rights = register & _FRAME, _RIGHTS
    else:
        table, rights = setting.tables[0], _RIGHTS
    lowest = levels[-1]
    index_mask = PAGE // setting.entry_size - 1
    for level in levels:
        address = table + (linear >> level.shift & index_mask) * setting.entry_size
        entry = structures.read(address)
        if not entry & PRESENT:
            return ends(rules.NOT_PRESENT)
        large = level.maps_pages and bool(entry & LARGE)
        if entry & (level.large_reserved if large else level.reserved):
            return ends(rules.RESERVED_BIT)
        used.append(address)
        rights = rights & entry & _RIGHTS | (rights | entry) & EXECUTE_DISABLE
        size = 1 << level.shift
        if large or level is lowest:
            frame = entry & _FRAME & -size
            found = _translation(linear & -size, size, frame, rights, bool(entry & DIRTY))
            return Walk(tuple(used), tuple(uppers), found)
        table = entry & _FRAME
        uppers.append(Upper(level.shift, linear & -size, table, rights))
    raise AssertionError("the lowest level maps pages")


@functools.cache
def _levels(paging: str, huge_pages: bool, no_execute: bool, pse: bool) -> tuple[_Level, ...]:
    """The levels that are walked in memory, from the top down."""
    if paging == "legacy":
        # Its PS flag means nothing unless CR4.PSE is set, and bit 7 of a PTE is another flag.
        return _Level(22, 0, pse, _LEGACY_LARGE_RESERVED), _Level(12, 0)
    reserved = _PAE_RESERVED if paging == "pae" else _FOUR_LEVEL_RESERVED
    if not no_execute:
        reserved |= EXECUTE_DISABLE
    lower = _Level(21, reserved, True, reserved | _LARGE_RESERVED), _Level(12, reserved)
    if paging == "pae":
        return lower
    root = _Level(39, reserved | LARGE)
    if huge_pages:
        return root, _Level(30, reserved, True, reserved | _HUGE_RESERVED), *lower
    return root, _Level(30, reserved | LARGE), *lower


def _translation(start: int, size: int, frame: int, rights: int, dirty: bool) -> Translation:
    return Translation(
        start,
        size,
        frame,
        bool(rights & USER_MODE),
        bool(rights & WRITABLE),
        bool(rights & EXECUTE_DISABLE),
        dirty,
    )


def right(access: Access, control: ControlRegisters, page: Translation) -> tuple[bool, Rule]:
    """Does a translation allow an access (4.6.1), and by which rule?"""
    if access.user and not page.user:
        return False, rules.SUPERVISOR_PAGE
    if access.kind == "execute":
        if page.execute_disable:
            return False, rules.EXECUTE_DISABLE
        if not access.user and page.user and control.supervisor_execution:
            return False, rules.SMEP
        return True, rules.PERMITTED
    lifted = False
    if not access.user and page.user and control.supervisor_access:
        if not access.alignment_check:
            return False, rules.SMAP
        lifted = True
    if access.kind == "write" and not page.writable:
        if access.user or control.write_protect:
            return False, rules.READ_ONLY
        return True, rules.WRITE_PROTECT_OFF
    return True, rules.SMAP_LIFTED if lifted else rules.PERMITTED


def error_code(
    setting: Setting, control: ControlRegisters, access: Access, obstacle: Rule | None
) -> int:
    """The error code of a page fault (4.7); no obstacle: the rights forbid the access."""
    code = 0
    if obstacle is not rules.NOT_PRESENT:
        code |= 1 << 0  # P
    if access.kind == "write":
        code |= 1 << 1  # W/R
    if access.user:
        code |= 1 << 2  # U/S
    if obstacle is rules.RESERVED_BIT:
        code |= 1 << 3  # RSVD
    tells_fetches = control.supervisor_execution or (setting.wide and control.no_execute)
    if access.kind == "execute" and tells_fetches:
        code |= 1 << 4  # I/D
    return code
