"""The error code of a page fault (SDM vol. 3, 4.7).

Bits 5 (PK), 6 (SS) and 15 (SGX) remain 0: what they report is not modelled.
"""

from __future__ import annotations

from enum import Enum

from backends.unicorn_model.access_rights import Access, Privilege
from backends.unicorn_model.control_state import CR4_PAE, CR4_SMEP, EFER_NXE, ControlState

__all__ = ["FaultCause", "page_fault_code"]

_P, _WR, _US, _RSVD, _ID = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4


class FaultCause(Enum):
    """Why there is a page fault; the value is what it gives to the error code."""

    NOT_PRESENT = 0
    """No translation: an entry has P = 0."""

    RESERVED_BIT = _P | _RSVD
    """No translation: a present entry sets a reserved bit. "Bit 3 of the error code can be set only
    if bit 0 is also set": reserved bits are not checked where P = 0."""

    RIGHTS = _P
    """There is a translation, and it does not permit the access."""


def page_fault_code(
    state: ControlState, access: Access, privilege: Privilege, cause: FaultCause
) -> int:
    """The error code: its cause and, whatever the cause, the access."""
    code: int = cause.value
    if access is Access.WRITE:
        code |= _WR
    # An implicit access is a supervisor-mode access even when CPL is 3 (4.6.1).
    if privilege is Privilege.USER:
        code |= _US
    # Not "because of XD": I/D tells of the access, if fetches can be told apart at all.
    if access is Access.FETCH and (
        state.cr4 & CR4_SMEP or (state.cr4 & CR4_PAE and state.efer & EFER_NXE)
    ):
        code |= _ID
    return code
