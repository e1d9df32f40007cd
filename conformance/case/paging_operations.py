"""Operations on the kernel's paging structures (kernel/TRACE.md, "Operations on paging").

Addresses are linear addresses of the probe area, in bytes. `invalidate` says whether the kernel
does an INVLPG after it changed an entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from conformance.case.operation import Operation, Rights

__all__ = [
    "Control",
    "Invalidate",
    "Map",
    "Protect",
    "ReadEntry",
    "Reload",
    "Unmap",
    "WriteEntry",
]


@dataclass(frozen=True, slots=True)
class Map(Operation):
    """Map the page (or the large or huge page) at `address` to the arena."""

    name: ClassVar[str] = "map"
    address: int
    frame: int = 0
    rights: Rights = Rights(0)
    invalidate: bool = True


@dataclass(frozen=True, slots=True)
class Unmap(Operation):
    """Clear the entry that maps the page at `address`."""

    name: ClassVar[str] = "unmap"
    address: int
    invalidate: bool = True


@dataclass(frozen=True, slots=True)
class Protect(Operation):
    """Give the page at `address` other rights, and keep everything else of its entry."""

    name: ClassVar[str] = "protect"
    address: int
    rights: Rights
    invalidate: bool = True


@dataclass(frozen=True, slots=True)
class Invalidate(Operation):
    """INVLPG of `address`."""

    name: ClassVar[str] = "invalidate"
    address: int


@dataclass(frozen=True, slots=True)
class WriteEntry(Operation):
    """Clear bits of the entry for `address` at `level` of the paging structures, then set some.

    Attributes:
        level: `page_table`, `page_directory`, (with PAE or 4-level paging) `pointer_table` or (with
            4-level paging) `root_table`.
        clear, set: bits of the entry.
    """

    name: ClassVar[str] = "write_entry"
    address: int
    level: str
    clear: int = 0
    set: int = 0
    invalidate: bool = True


@dataclass(frozen=True, slots=True)
class ReadEntry(Operation):
    """Read the entry for `address` at `level` (see WriteEntry) from memory."""

    name: ClassVar[str] = "read_entry"
    address: int
    level: str


@dataclass(frozen=True, slots=True)
class Reload(Operation):
    """Load CR3 with what is in it."""

    name: ClassVar[str] = "reload"


@dataclass(frozen=True, slots=True)
class Control(Operation):
    """Set (True) or clear (False) a control bit, then load CR3 with what is in it.

    Attributes:
        bit: `write_protect`, `page_size_extensions`, `no_execute`, `supervisor_execution` or
            `supervisor_access`.
    """

    name: ClassVar[str] = "control"
    bit: str
    value: bool
