"""Programs about the bits of paging-structure entries: reserved, accessed, dirty."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from conformance import (
    Control,
    Machine,
    Map,
    Operation,
    Probe,
    Protect,
    ReadEntry,
    Rights,
    WriteEntry,
)
from conformance.case.processor import Feature
from conformance.suites.directed import MACHINES, probe_of

__all__ = ["ALL", "HUGE", "LARGE", "PRESENT", "mapping", "reserved_bits", "watched_flags"]

ALL = Rights.WRITABLE | Rights.USER
LARGE = Rights.LARGE_PAGE
HUGE = Rights.HUGE_PAGE
PRESENT = 1 << 0
_ACCESSED_AND_DIRTY = 1 << 5 | 1 << 6


def mapping(machine: Machine, rights: Rights) -> Iterator[Operation]:
    """The page at the start of the probe area; before a large one, CR4.PSE where that counts."""
    if LARGE in rights and machine.paging == "legacy":
        yield Control("page_size_extensions", value=True)
    yield Map(probe_of(machine), rights=rights)


def reserved_bits() -> Iterator[tuple[Machine, str, Rights, int]]:
    """Machine, level, size of the page, and a bit that is reserved there (SDM vol. 3, 4.3 to 4.5).

    Bits 39:36 are left out: whether they are reserved is the processor's MAXPHYADDR.
    """
    for machine in MACHINES:
        if machine.paging == "legacy":
            yield machine, "page_directory", LARGE, 21
            continue
        # With 4-level paging bits 62:52 are ignored (4.5).
        high = [40, 51, 52, 62] if machine.paging == "pae" else [40, 51]
        if Feature.NX not in machine.features:
            high.append(63)
        levels = ["page_table", "page_directory"]
        if machine.paging == "4-level":
            levels += ["pointer_table", "root_table"]
            # PS of a PML4E, and of a PDPTE where that cannot map a page.
            yield machine, "root_table", Rights(0), 7
            if Feature.HUGE_PAGES not in machine.features:
                yield machine, "pointer_table", Rights(0), 7
        for level, bit in itertools.product(levels, high):
            yield machine, level, Rights(0), bit
        for bit in (13, 20, *high):
            yield machine, "page_directory", LARGE, bit
        if machine.paging == "4-level" and Feature.HUGE_PAGES in machine.features:
            for bit in (13, 29, *high):
                yield machine, "pointer_table", HUGE, bit


def watched_flags(machine: Machine, size: Rights) -> Iterator[Operation]:
    """Accesses, and the accessed and dirty flags before and after each of them.

    Args:
        machine: what they are for.
        size: of the page: LARGE, HUGE or nothing.
    """
    start = probe_of(machine)
    levels = ["page_table", "page_directory"]
    if machine.paging == "4-level":
        levels += ["pointer_table", "root_table"]
    levels = levels[{Rights(0): 0, LARGE: 1, HUGE: 2}[size] :]

    def watched(*probes: Operation) -> Iterator[Operation]:
        for level in levels:
            yield WriteEntry(start, level, clear=_ACCESSED_AND_DIRTY)
        for probe in probes:
            yield probe
            for level in levels:
                yield ReadEntry(start, level)

    yield from mapping(machine, ALL | size)
    yield from watched(Probe(start))
    yield from watched(Probe(start, "write"))
    yield from watched(Probe(start, "execute"))
    yield from watched(Probe(start, "write", ring=3))
    yield from watched(Probe(start), Probe(start, "write"))
    yield Protect(start, Rights(0))
    yield from watched(Probe(start, "write"))
    yield from watched(Probe(start, ring=3))
    yield from watched(Probe(start, "execute", ring=3))
