"""Which accesses a translation allows (SDM vol. 3, 4.6.1).

Pages have no protection keys here: those need 4-level paging (4.6.2).
"""

from __future__ import annotations

from enum import Enum

from backends.unicorn_model.control_state import CR0_WP, CR4_SMAP, CR4_SMEP, ControlState

__all__ = ["Access", "Privilege", "may_fetch", "may_read", "may_write"]


class Access(Enum):
    """What an access does."""

    READ = "read"
    WRITE = "write"
    FETCH = "fetch"


class Privilege(Enum):
    """Whose access it is (4.6.1)."""

    USER = "user"
    """An access made at CPL 3, unless it is implicit."""

    SUPERVISOR = "supervisor"
    """An explicit access made at CPL 0, 1 or 2."""

    IMPLICIT = "implicit supervisor"
    """The processor's own access to the GDT, LDT, IDT or TSS, at whatever CPL."""


def may_read(state: ControlState, privilege: Privilege, *, user_page: bool) -> bool:
    """May data be read?

    Args:
        state: the control registers and EFLAGS.AC.
        privilege: who reads.
        user_page: the manual's user-mode address: U/S is 1 in every entry of the translation.
    """
    if privilege is Privilege.USER:
        return user_page
    return not user_page or not _smap_prevents(state, privilege)


def may_write(
    state: ControlState, privilege: Privilege, *, user_page: bool, writable: bool
) -> bool:
    """May data be written?

    Args:
        state: the control registers and EFLAGS.AC.
        privilege: who writes.
        user_page: as for `may_read`.
        writable: R/W is 1 in every entry of the translation.
    """
    if privilege is Privilege.USER:
        return user_page and writable
    if user_page and _smap_prevents(state, privilege):
        return False
    return writable or not state.cr0 & CR0_WP


def may_fetch(
    state: ControlState, privilege: Privilege, *, user_page: bool, execute_disable: bool
) -> bool:
    """May instructions be fetched?

    Args:
        state: the control registers.
        privilege: who fetches.
        user_page: as for `may_read`.
        execute_disable: XD is 1 in an entry of the translation. With 32-bit paging there is no such
            flag, and if IA32_EFER.NXE = 0 it is reserved: then there is no translation.
    """
    if execute_disable:
        return False
    if privilege is Privilege.USER:
        return user_page
    return not user_page or not state.cr4 & CR4_SMEP


def _smap_prevents(state: ControlState, privilege: Privilege) -> bool:
    """Does CR4.SMAP keep a supervisor access from the data of user-mode pages?"""
    if not state.cr4 & CR4_SMAP:
        return False
    return not state.alignment_check or privilege is Privilege.IMPLICIT
