"""Programs about addresses: in which register they are, and those that are not canonical."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from conformance import Machine, Map, Operation, Probe, Rights
from conformance.protocol import PROTOCOL
from conformance.suites.directed import PAGE, probe_of
from conformance.suites.entries import ALL

__all__ = ["THROUGH", "accesses_nowhere", "accesses_through"]

THROUGH = tuple(PROTOCOL.enums["base_register"].values())

_FIRST, _LAST = 1 << 47, (1 << 64) - (1 << 47) - 1
_NOWHERE = (_FIRST, PROTOCOL.images["x86_64"].constants["nowhere"], 1 << 63, _LAST - 7, _LAST)
"""The first of what is not canonical, the last, and what is between (SDM vol. 1, 3.3.7.1)."""


def accesses_nowhere(access: str) -> Iterator[Operation]:
    """One kind of access to addresses that are not canonical; the last ones end where one is."""
    sizes = (1, 4, 8) if access != "execute" else (1,)
    bases = THROUGH if access != "execute" else ("plain",)
    for address, through, ring, size in itertools.product(_NOWHERE, bases, (0, 3), sizes):
        yield Probe(address, access, size, ring, through=through)


def accesses_through(machine: Machine, through: str) -> Iterator[Operation]:
    """Data accesses through a register: inside a page, across its end, and where there is none."""
    start = probe_of(machine)
    yield Map(start, 5, ALL)
    yield Map(start + PAGE, 2, Rights.USER)
    sizes = (1, 2, 4, 8) if machine.paging == "4-level" else (1, 2, 4)
    for size, ring, access in itertools.product(sizes, (0, 3), ("write", "read")):
        for address in (start, start + PAGE - size // 2, start + PAGE, start + 2 * PAGE - 1):
            yield Probe(address, access, size, ring, through=through)
