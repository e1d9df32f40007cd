"""The frame allocator's part of a run: from the memory map to the bitmaps.

It shares no algorithm with the kernel: where that walks a bitmap, this computes on ranges.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from conformance.case.case import Case
from conformance.observe.observation import StateDigest
from conformance.observe.trace import Event
from conformance.oracle.allocator import FrameAllocator
from conformance.oracle.boot import Layout, reserved_bytes
from conformance.oracle.frame_set import FrameSet
from conformance.oracle.map_reader import read_map
from conformance.protocol import PROTOCOL

__all__ = ["bitmap_digest", "initialise_frames"]


def initialise_frames(case: Case, image: Layout, allocator: FrameAllocator) -> Iterator[Event]:
    """Read the memory map, and run the allocator's passes up to `ready`."""
    memory_map = None if case.memory_map is None else case.memory_map.encode()
    reading = read_map(memory_map)
    for index, region in enumerate(reading.regions):
        fields = {
            "index": index,
            "base": region.base,
            "length": region.length,
            "type": region.type,
            "entry_size": region.entry_size,
        }
        yield Event("region", fields)
    problem = PROTOCOL.code("map_problem", reading.problem)
    yield Event("map_end", {"entries": len(reading.regions), "problem": problem})
    yield from allocator.initialise(reading.regions, reserved_bytes(case, image, memory_map))


def bitmap_digest(name: str, frames: FrameSet) -> StateDigest:
    """The digest of a region that has one bit for each frame."""
    return _bitmap_digest(name, frames.ranges)


@functools.lru_cache(maxsize=1024)
def _bitmap_digest(name: str, ranges: tuple[tuple[int, int], ...]) -> StateDigest:
    bitmap = FrameSet(ranges).bitmap_bytes(PROTOCOL.constants["frame_count"])
    return StateDigest.of(PROTOCOL.state_regions[name], bitmap)
