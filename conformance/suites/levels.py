"""Programs about the entries above page tables in 4-level paging, and about huge pages."""

from __future__ import annotations

from collections.abc import Iterator

from conformance import (
    Invalidate,
    Machine,
    Map,
    Operation,
    Probe,
    Protect,
    ReadEntry,
    Reload,
    Rights,
    Unmap,
    WriteEntry,
)
from conformance.protocol import PROTOCOL
from conformance.suites.directed import PAGE, accesses, slots_of
from conformance.suites.entries import ALL, HUGE, LARGE, PRESENT

__all__ = ["LEVELS", "huge_pages_over_tables", "rights_taken_away", "stale_upper_entries"]

LEVELS = tuple(PROTOCOL.enums["paging_level"].values())
"""All four, from the page table up."""


def huge_pages_over_tables(machine: Machine, *, invalidate: bool) -> Iterator[Operation]:
    """A huge page over a page, and over a large one; what is below is there again afterwards."""
    first, second = slots_of(machine)
    yield Map(first + PAGE, 3, ALL)
    yield Map(second, 0, ALL | LARGE)
    for slot in (first, second):
        yield Probe(slot + PAGE)
        yield Map(slot, 0, HUGE, invalidate)
        yield from accesses(slot + PAGE)
        yield from accesses(slot + 2 * PAGE)
        # Nothing fits below it, or beside it.
        yield Map(slot + 2 * PAGE, 1)
        yield Map(slot, 0, LARGE)
        yield ReadEntry(slot, "page_directory")
        yield ReadEntry(slot, "pointer_table")
        yield Protect(slot + 5 * PAGE, Rights.USER, invalidate)
        yield from accesses(slot + 2 * PAGE)
        # One that is not present is none: what is below is worked on, and not reached.
        yield WriteEntry(slot, "pointer_table", clear=PRESENT)
        yield Probe(slot + PAGE)
        yield Protect(slot + PAGE, ALL)
        yield WriteEntry(slot, "pointer_table", set=PRESENT)
        yield Unmap(slot + 7 * PAGE, invalidate)
        yield ReadEntry(slot, "page_directory")
        yield from accesses(slot + PAGE)
        yield from accesses(slot + 2 * PAGE)
        yield Reload()
        yield from accesses(slot + PAGE)
        yield Unmap(slot + PAGE, invalidate)
        yield Unmap(slot + PAGE, invalidate)


def rights_taken_away(
    machine: Machine, level: str, *, clear: int = 0, set_bits: int = 0
) -> Iterator[Operation]:
    """A change of one entry that takes rights away, and that is taken back.

    The page beside, and the page of the other slot, share some of the entries.
    """
    first, second = slots_of(machine)
    pages = first, first + PAGE, second
    for frame, page in enumerate(pages):
        yield Map(page, frame, ALL)
    yield WriteEntry(first, level, clear, set_bits)
    yield Reload()
    for page in pages:
        yield from accesses(page)
    yield WriteEntry(first, level, set_bits, clear)
    for page in pages:
        yield from accesses(page)


def stale_upper_entries(machine: Machine, level: str, cleared: int) -> Iterator[Operation]:
    """A bit of an entry that was used is cleared, and the processor is told only later."""
    first, second = slots_of(machine)
    used, beside = first, first + PAGE
    for frame, page in enumerate((used, beside, second)):
        yield Map(page, frame, ALL)
    yield Probe(used, "write", ring=3)
    yield WriteEntry(used, level, clear=cleared, invalidate=False)
    yield Probe(used, "write", ring=3)
    # This one has only the upper entries in common with what was used.
    yield Probe(beside, "write", ring=3)
    yield Probe(second, ring=3)
    yield Invalidate(beside)
    yield Probe(beside, ring=3)
    yield Invalidate(used)
    yield from accesses(used)
    yield from accesses(second)
    yield WriteEntry(used, level, set=cleared)
    yield from accesses(used)
    yield ReadEntry(used, level)
