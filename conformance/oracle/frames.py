"""The frame allocator's part of a run: from the memory map to the bitmaps.

It shares no algorithm with the kernel: where that walks a bitmap, this computes on ranges.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from conformance.case.case import Case
from conformance.case.memory_map import RegionType
from conformance.observe.observation import StateDigest
from conformance.observe.trace import Event
from conformance.oracle.allocator import FrameAllocator, contained_frames
from conformance.oracle.boot import Layout, reserved_bytes
from conformance.oracle.frame_set import FrameSet
from conformance.oracle.map_reader import read_map
from conformance.protocol import PROTOCOL

__all__ = ["bitmap_digest", "frame_capacity", "frame_extent", "initialise_frames"]

_UNIT = PROTOCOL.constants["frame_unit"]


def frame_capacity(case: Case) -> int:
    """How many frames the kernel's allocator can have."""
    return PROTOCOL.images[case.machine.architecture].constants["frame_count"]


def frame_extent(case: Case) -> int:
    """How many frames the allocator's bitmaps are about: enough for all that can ever be free."""
    memory_map = None if case.memory_map is None else case.memory_map.encode()
    capacity = frame_capacity(case)
    ends = [
        contained_frames(region, capacity)
        for region in read_map(memory_map).regions
        if region.type == RegionType.AVAILABLE
    ]
    last = max((end for first, end in ends if first < end), default=1)
    return -(-last // _UNIT) * _UNIT


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


def bitmap_digest(name: str, frames: FrameSet, extent: int) -> StateDigest:
    """The digest of a region that has one bit for each frame below `extent`."""
    return _bitmap_digest(name, frames.ranges, extent)


@functools.lru_cache(maxsize=1024)
def _bitmap_digest(name: str, ranges: tuple[tuple[int, int], ...], extent: int) -> StateDigest:
    bitmap = FrameSet(ranges).bitmap_bytes(extent)
    return StateDigest.of(PROTOCOL.state_regions[name], bitmap)
