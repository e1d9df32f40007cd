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
from conformance.suites.directed import MACHINES, PROBE

__all__ = ["ALL", "LARGE", "PRESENT", "mapping", "reserved_bits", "watched_flags"]

ALL = Rights.WRITABLE | Rights.USER
LARGE = Rights.LARGE_PAGE
PRESENT = 1 << 0
_ACCESSED_AND_DIRTY = 1 << 5 | 1 << 6


def mapping(machine: Machine, rights: Rights) -> Iterator[Operation]:
    """The page at the start of the probe area; before a large one, CR4.PSE where that counts."""
    if LARGE in rights and machine.paging == "legacy":
        yield Control("page_size_extensions", value=True)
    yield Map(PROBE, rights=rights)


def reserved_bits() -> Iterator[tuple[Machine, str, Rights, int]]:
    """Machine, level, LARGE or nothing, and a bit that is reserved there (SDM vol. 3, 4.3 to 4.5).

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
        for level, bit in itertools.product(("page_table", "page_directory"), high):
            yield machine, level, Rights(0), bit
        for bit in (13, 20, *high):
            yield machine, "page_directory", LARGE, bit


def watched_flags(machine: Machine, large: Rights) -> Iterator[Operation]:
    """Accesses, and the accessed and dirty flags before and after each of them."""
    levels = ["page_directory"] if large else ["page_table", "page_directory"]

    def watched(*probes: Operation) -> Iterator[Operation]:
        for level in levels:
            yield WriteEntry(PROBE, level, clear=_ACCESSED_AND_DIRTY)
        for probe in probes:
            yield probe
            for level in levels:
                yield ReadEntry(PROBE, level)

    yield from mapping(machine, ALL | large)
    yield from watched(Probe(PROBE))
    yield from watched(Probe(PROBE, "write"))
    yield from watched(Probe(PROBE, "execute"))
    yield from watched(Probe(PROBE, "write", ring=3))
    yield from watched(Probe(PROBE), Probe(PROBE, "write"))
    yield Protect(PROBE, Rights(0))
    yield from watched(Probe(PROBE, "write"))
    yield from watched(Probe(PROBE, ring=3))
    yield from watched(Probe(PROBE, "execute", ring=3))
