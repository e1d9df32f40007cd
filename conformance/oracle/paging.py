"""The page tables that the kernel is to build (kernel/TRACE.md, step 2)."""

from __future__ import annotations

import functools
import struct

from conformance.observe.trace import Event
from conformance.protocol import PROTOCOL

__all__ = ["page_tables", "paging_event"]

_ENTRIES = 1024
_PRESENT_WRITABLE = 0b11
_PAGING_WRITE_PROTECT_PROTECTION = 1 << 31 | 1 << 16 | 1 << 0


def paging_event(directory: int) -> Event:
    """Paging is on; `directory` is the physical address of the page directory."""
    return Event("paging", {"cr0": _PAGING_WRITE_PROTECT_PROTECTION, "cr3": directory})


@functools.lru_cache(maxsize=8)
def page_tables(directory: int) -> bytes:
    """The page directory at physical `directory`, then its page tables, as bytes.

    Only the kernel's window is mapped: physical [0, size) from `kernel_window` on, as 4 KiB pages,
    present, writable, supervisor; accessed and dirty bits clear.
    """
    page = PROTOCOL.constants["frame_size"]
    pages = PROTOCOL.boot["kernel_window_size"] // page
    tables = pages // _ENTRIES
    first = PROTOCOL.boot["kernel_window"] // (page * _ENTRIES)
    entries = [0] * _ENTRIES
    for table in range(tables):
        entries[first + table] = directory + page * (1 + table) | _PRESENT_WRITABLE
    entries += [number * page | _PRESENT_WRITABLE for number in range(pages)]
    return struct.pack(f"<{len(entries)}I", *entries)
