"""Cases: everything that one run depends on, as one value."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from conformance.case.image import ImageId
from conformance.case.machine import Machine
from conformance.case.memory_map import MemoryMap
from conformance.case.program import Program
from conformance.errors import InvalidArgument
from conformance.protocol import PROTOCOL

__all__ = ["Case"]


@dataclass(frozen=True, slots=True)
class Case:
    """Image, machine, memory map and program: hashable, replayable.

    Attributes:
        image: which kernel.
        machine: RAM, processor, paging mode.
        memory_map: what the boot loader reports; None where it reports none at all.
        program: what the kernel does.
        state_regions: names of the regions whose final content is compared; by default those that
            every program can change, not the arena that only probes write to.

    Raises:
        InvalidArgument: an unknown or repeated state region, a map or program over the limit, or an
            image that is not for this machine.
    """

    image: ImageId
    machine: Machine = Machine()
    memory_map: MemoryMap | None = None
    program: Program = Program()
    state_regions: tuple[str, ...] = ("frame_bitmap", "frame_owned", "page_tables")

    def __post_init__(self) -> None:
        if self.image.architecture != self.machine.architecture:
            raise InvalidArgument(
                f"image {self.image.name!r} ({self.image.architecture}) does not run with "
                f"{self.machine.paging} paging, which is for {self.machine.architecture}"
            )
        for name in self.state_regions:
            if name not in PROTOCOL.state_regions:
                raise InvalidArgument(
                    f"no state region {name!r}; known: {', '.join(PROTOCOL.state_regions)}"
                )
        if len(set(self.state_regions)) != len(self.state_regions):
            raise InvalidArgument(f"state_regions={self.state_regions} names one twice")
        limit = PROTOCOL.boot["memory_map_limit"]
        size = 0 if self.memory_map is None else len(self.memory_map.encode())
        if size > limit:
            raise InvalidArgument(f"the memory map takes {size} bytes, the loader has {limit}")

    @property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of the case's file form: a name for it."""
        from conformance.case.codec import dump_case

        return hashlib.sha256(dump_case(self).encode()).hexdigest()
