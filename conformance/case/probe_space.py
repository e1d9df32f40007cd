"""What a program of paging operations has done to the probe area so far.

Strategies draw small numbers; here they become addresses, frames and bits that mean something at
that point of the program. It is a sketch of the kernel's state and not the oracle: where it is
wrong, an operation is rejected, which is a case as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from conformance.case.machine import Machine
from conformance.case.operation import Operation, Rights
from conformance.case.processor import Feature
from conformance.protocol import PROTOCOL

__all__ = ["ARENA_PAGES", "PAGE", "Plain", "ProbeSpace", "Seed"]

PAGE: Final = PROTOCOL.constants["frame_size"]
ARENA_PAGES: Final = PROTOCOL.constants["arena_frames"]
_SLOTS: Final = PROTOCOL.constants["probe_slots"]

_LEVELS: Final = tuple(PROTOCOL.enums["paging_level"].values())
_LEVEL_COUNT: Final = {"legacy": 2, "pae": 3, "4-level": 4}
_FEATURE_OF: Final = {
    "page_size_extensions": Feature.PSE,
    "no_execute": Feature.NX,
    "supervisor_execution": Feature.SMEP,
    "supervisor_access": Feature.SMAP,
}

# Bits of entries, by the name of the level (SDM vol. 3, 4.3 and 4.4). Present and accessed come
# first: the order is that in which they shrink.
_PTE_BITS: Final = (0, 5, 6, 1, 2, 3, 4, 8, 9, 10, 11)
_PDPTE_BITS: Final = (0, 5, 1, 2, 6, 8, 3, 4, 7, 9, 10, 11)
_HUGE_PDPTE_BITS: Final = tuple(bit for bit in _PDPTE_BITS if bit != 7)
_HIGH_BITS: Final = (63, 51, 40, 52, 62)
_LARGE_BITS: Final = {"legacy": (21, 21, 21), "pae": (13, 20), "4-level": (13, 20)}
"""A bit that is listed more than once is drawn more often."""
_HUGE_BITS: Final = (13, 29)


class ProbeSpace:
    """Which pages are mapped, and what the processor has been told.

    Attributes:
        machine: what the program runs on.
        start: of the probe area.
        pages: addresses of the pages mapped, in the order of the program.
        large, huge: addresses of the slots mapped by a large or a huge page.
        latest: the address that was mapped last.
        page_size_extensions: CR4.PSE.
    """

    def __init__(self, machine: Machine) -> None:
        values = PROTOCOL.images[machine.architecture]
        self.machine = machine
        self.start: Final = values.area["probe"]
        self._slot_size: Final = values.constants["probe_slot_size"]
        self.pages: list[int] = []
        self.large: list[int] = []
        self.huge: list[int] = []
        self.latest = self.start
        self.page_size_extensions = False

    @property
    def wide(self) -> bool:
        """Entries have 64 bits: PAE paging, or 4-level paging."""
        return self.machine.paging != "legacy"

    @property
    def has_huge_pages(self) -> bool:
        """A huge page can be mapped."""
        return self.machine.paging == "4-level" and Feature.HUGE_PAGES in self.machine.features

    def unmapped(self, wanted: int) -> int:
        """The address of the first page from number `wanted` on that is not mapped."""
        count = ARENA_PAGES * _SLOTS
        for number in range(wanted, wanted + count):
            slot, page = divmod(number % count, ARENA_PAGES)
            start = self.start + slot * self._slot_size
            address = start + page * PAGE
            if address not in self.pages and start not in self.large and start not in self.huge:
                return address
        return self.start

    def mapped(self, which: int) -> int:
        """The address of the page that was mapped as number `which`; the first one without any."""
        found = self._mappings()
        return found[which % len(found)] if found else self.start

    def newest(self) -> int:
        """The number of the mapping that was made last."""
        found = self._mappings()
        return found.index(self.latest) if self.latest in found else 0

    def remove(self, address: int) -> None:
        """The mapping at an address is no more. A huge page hides a large one at its address."""
        for mapped in (self.huge, self.large, self.pages):
            if address in mapped:
                mapped.remove(address)
                return

    def covers_slot(self, address: int) -> bool:
        """One page, large or huge, covers the slot that begins at an address."""
        return address in self.large or address in self.huge

    def slot(self, wanted: int, *, huge: bool = False) -> int:
        """The address of a slot without a huge page, or a large one if those are in the way."""
        slots = [self.start + number * self._slot_size for number in range(_SLOTS)]
        taken = self.huge if huge else self.large + self.huge
        return next((one for one in slots[wanted:] if one not in taken), slots[wanted])

    def rights(self, wanted: Rights) -> Rights:
        """The rights, without those that the paging mode or the processor does not know."""
        if self.wide and Feature.NX in self.machine.features:
            return wanted
        return wanted & ~Rights.NO_EXECUTE

    def level(self, wanted: int, address: int) -> str:
        """A level at which there is an entry for the address."""
        levels = _LEVELS[: _LEVEL_COUNT[self.machine.paging]]
        slot = address - (address - self.start) % self._slot_size
        if slot in self.huge:
            levels = levels[2:]
        elif slot in self.large:
            levels = levels[1:]
        return levels[wanted % len(levels)]

    def entry_bit(self, wanted: int, level: str, address: int) -> int:
        """A bit that the kernel lets programs write in the entry; negative: from the end."""
        bits: tuple[int, ...] = _PTE_BITS
        if level == "root_table":
            bits = _PDPTE_BITS
        elif level == "pointer_table":
            bits = _HUGE_PDPTE_BITS if self.has_huge_pages else _PDPTE_BITS
            if address in self.huge:
                bits += _HUGE_BITS
        elif level == "page_directory" and address in self.large:
            bits += _LARGE_BITS[self.machine.paging]
        if self.wide:
            bits += _HIGH_BITS
        return 1 << bits[wanted % len(bits)]

    def control_bit(self, wanted: int) -> str:
        """A control bit that there is."""
        names = [
            name
            for name in PROTOCOL.enums["control_bit"].values()
            if _FEATURE_OF.get(name, Feature(0)) in self.machine.features
            and (self.wide or name != "no_execute")
        ]
        return names[wanted % len(names)]

    def _mappings(self) -> list[int]:
        return self.pages + self.large + self.huge


class Seed(Protocol):
    """What is drawn for one or a few operations."""

    def operations(self, space: ProbeSpace) -> Iterator[Operation]:
        """The operations at this point of a program; what they do is noted in `space`."""


@dataclass(frozen=True, slots=True)
class Plain:
    """An operation that needs nothing but itself."""

    operation: Operation

    def operations(self, space: ProbeSpace) -> Iterator[Operation]:  # noqa: ARG002
        """The operation."""
        yield self.operation
