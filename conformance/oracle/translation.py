"""How linear addresses are translated, and what a translation allows (SDM vol. 3, chapter 4).

32-bit paging is section 4.3, PAE paging 4.4, 4-level paging 4.5. Nothing here changes any state.
"""

from __future__ import annotations

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
    entry_address,
)
from conformance.oracle.control import ControlRegisters
from conformance.oracle.expectation import Rule
from conformance.oracle.setting import PAGE, Setting

__all__ = ["Access", "Translation", "Walk", "error_code", "right", "walk"]

_FRAME: Final = (1 << 40) - PAGE  # bits 39:12 of an entry are a frame's address
_MIB_4: Final = 1 << 22
_MIB_2: Final = 1 << 21

# Reserved bits, for a MAXPHYADDR of 40 (see control.PDPTE_RESERVED).
_LEGACY_LARGE_RESERVED: Final = 1 << 21  # table 4-4
_PAE_RESERVED: Final = (1 << 63) - (1 << 40)  # tables 4-9 to 4-11: bits 62:MAXPHYADDR
_FOUR_LEVEL_RESERVED: Final = (1 << 52) - (1 << 40)  # tables 4-17 to 4-19: bits 51:MAXPHYADDR
_FOUR_LEVEL_LARGE_RESERVED: Final = _FOUR_LEVEL_RESERVED | (1 << 21) - (1 << 13)  # table 4-17
_PAE_LARGE_RESERVED: Final = _PAE_RESERVED | (1 << 21) - (1 << 13)  # table 4-9: bits 20:13 too


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
class Walk:
    """What the paging structures say of a linear address.

    Attributes:
        used: addresses of the entries that were used, from the top down; not the one at which the
            walk ends in a fault, and not one that came from elsewhere.
        directory_entry: the PDE if it references a page table that was looked at, else 0.
        translation: None where there is none.
        obstacle: why not.
    """

    used: tuple[int, ...]
    directory_entry: int
    translation: Translation | None
    obstacle: Rule | None = None


def walk(
    setting: Setting,
    structures: PagingStructures,
    control: ControlRegisters,
    linear: int,
    cached_directory_entry: int | None = None,
) -> Walk:
    """Walk the paging structures.

    Args:
        setting: for the paging mode, and CR3.
        structures: what is in memory.
        control: for the PDPTE registers, and what is reserved or ignored.
        linear: the address.
        cached_directory_entry: used in place of the PDE in memory (4.10.3.1).
    """
    used: list[int] = []

    def ends(obstacle: Rule) -> Walk:
        return Walk(tuple(used), 0, None, obstacle)

    # The page directory: with PAE paging a PDPTE register names it, and memory is not looked at.
    if setting.pae:
        register = control.pdptes[linear >> 30]
        if not register & PRESENT:
            return ends(rules.NOT_PRESENT)
        address = (register & _FRAME) + (linear >> 21 & 0x1FF) * 8
        reserved, large_reserved = _PAE_RESERVED, _PAE_LARGE_RESERVED
    elif setting.wide:
        # Programs cannot change the two levels above it, which allow everything that is allowed at
        # all.
        address = entry_address(setting, "page_directory", linear)
        reserved, large_reserved = _FOUR_LEVEL_RESERVED, _FOUR_LEVEL_LARGE_RESERVED
    else:
        address = setting.tables[0] + (linear >> 22) * 4
        reserved, large_reserved = 0, _LEGACY_LARGE_RESERVED
    unless_enabled = EXECUTE_DISABLE if setting.wide and not control.no_execute else 0
    large_size, table_mask = (_MIB_2, 0x1FF) if setting.wide else (_MIB_4, 0x3FF)

    # The PDE. With 32-bit paging its PS flag means nothing unless CR4.PSE is set.
    cached = cached_directory_entry
    upper = structures.read(address) if cached is None else cached
    if not upper & PRESENT:
        return ends(rules.NOT_PRESENT)
    large = bool(upper & LARGE and (setting.wide or control.page_size_extensions))
    if upper & ((large_reserved if large else reserved) | unless_enabled):
        return ends(rules.RESERVED_BIT)
    if cached is None:
        used.append(address)
    if large:
        start = linear & -large_size
        frame = upper & _FRAME & -large_size
        return Walk(tuple(used), 0, _translation(start, large_size, frame, upper, upper))

    # The PTE.
    address = (upper & _FRAME) + (linear >> 12 & table_mask) * setting.entry_size
    lower = structures.read(address)
    if not lower & PRESENT:
        return ends(rules.NOT_PRESENT)
    if lower & (reserved | unless_enabled):
        return ends(rules.RESERVED_BIT)
    used.append(address)
    start = linear & -PAGE
    return Walk(tuple(used), upper, _translation(start, PAGE, lower & _FRAME, upper, lower))


def _translation(start: int, size: int, frame: int, upper: int, lower: int) -> Translation:
    in_all, in_any = upper & lower, upper | lower
    return Translation(
        start,
        size,
        frame,
        bool(in_all & USER_MODE),
        bool(in_all & WRITABLE),
        bool(in_any & EXECUTE_DISABLE),
        bool(lower & DIRTY),
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
