"""The page walk, from the Intel SDM, volume 3, chapter 4 (Paging).

Unicorn asks here for every translation its TLB does not hold. What is returned is what the TLB may
keep: a page that was only read is handed out as not writable, so that the first write comes here
again and sets the dirty bit.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum

__all__ = ["Access", "ControlState", "PageFault", "Translation", "translate"]

_PRESENT, _WRITABLE, _USER, _ACCESSED, _DIRTY, _PAGE_SIZE = 0x1, 0x2, 0x4, 0x20, 0x40, 0x80
_CR0_WP, _CR0_PG = 1 << 16, 1 << 31
_CR4_PSE, _CR4_PAE = 1 << 4, 1 << 5
_FRAME = 0xFFFFF000

Memory = memoryview
"""Guest RAM from physical 0; entries in it are read and, for their A and D bits, written."""


class Access(Enum):
    """What an access wants to do."""

    READ = "read"
    WRITE = "write"
    FETCH = "fetch"


@dataclass(frozen=True, slots=True)
class ControlState:
    """The registers that a translation depends on.

    Attributes:
        cr0, cr3, cr4: control registers.
        user: the access is made at CPL 3.
    """

    cr0: int
    cr3: int
    cr4: int
    user: bool


@dataclass(frozen=True, slots=True)
class Translation:
    """A translation that succeeded.

    Attributes:
        physical: address of the 4 KiB frame.
        writable: the TLB may let writes through without asking again.
    """

    physical: int
    writable: bool


class PageFault(Exception):
    """The access faults; `error_code` as in SDM 4.7."""

    def __init__(self, linear: int, error_code: int) -> None:
        super().__init__(f"page fault at {linear:#x}, error code {error_code:#x}")
        self.linear = linear
        self.error_code = error_code


class NotModelled(Exception):
    """The guest chose a paging mode that this model does not have."""


def translate(memory: Memory, state: ControlState, linear: int, access: Access) -> Translation:
    """Translate a linear address.

    Raises:
        PageFault: the access is not allowed.
        NotModelled: CR4 asks for PAE or for 4 MiB pages that are in use.
    """
    if not state.cr0 & _CR0_PG:
        return Translation(linear & _FRAME, writable=True)  # 4.1.1: paging is off
    if state.cr4 & _CR4_PAE:
        raise NotModelled(f"CR4={state.cr4:#x}: PAE paging")
    # 4.3: the directory entry, then the table entry.
    directory_address = (state.cr3 & _FRAME) + (linear >> 22) * 4
    directory = _read(memory, directory_address)
    if not directory & _PRESENT:
        raise PageFault(linear, _error_code(state, access, present=False))
    if state.cr4 & _CR4_PSE and directory & _PAGE_SIZE:
        raise NotModelled(f"page-directory entry {directory:#x}: a 4 MiB page")
    table_address = (directory & _FRAME) + (linear >> 12 & 0x3FF) * 4
    table = _read(memory, table_address)
    if not table & _PRESENT:
        raise PageFault(linear, _error_code(state, access, present=False))
    # 4.6: access rights are those that both levels give.
    rights = directory & table
    if not _allowed(state, access, rights):
        raise PageFault(linear, _error_code(state, access, present=True))
    # 4.8: accessed on every level, dirty on the last, and only for an access that is allowed.
    _set(memory, directory_address, directory, _ACCESSED)
    dirty = _DIRTY if access is Access.WRITE else 0
    _set(memory, table_address, table, _ACCESSED | dirty)
    may_write = bool((table | dirty) & _DIRTY) and _allowed(state, Access.WRITE, rights)
    return Translation(table & _FRAME, may_write)


def _allowed(state: ControlState, access: Access, rights: int) -> bool:
    """SDM 4.6.1, for the features of a processor without NX, SMEP and SMAP."""
    if state.user and not rights & _USER:
        return False
    if access is Access.WRITE and not rights & _WRITABLE:
        return not state.user and not state.cr0 & _CR0_WP
    return True


def _error_code(state: ControlState, access: Access, *, present: bool) -> int:
    """SDM 4.7: P, W/R, U/S; I/D stays 0 without NX and SMEP."""
    return int(present) | int(access is Access.WRITE) << 1 | int(state.user) << 2


def _read(memory: Memory, address: int) -> int:
    # Memory that is not there reads as all ones, as on a bus that nobody answers on.
    if address + 4 > len(memory):
        return 0xFFFFFFFF
    return int(struct.unpack_from("<I", memory, address)[0])


def _set(memory: Memory, address: int, entry: int, bits: int) -> None:
    if entry & bits != bits and address + 4 <= len(memory):
        struct.pack_into("<I", memory, address, entry | bits)
