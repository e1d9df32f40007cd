"""The frame allocator's rules, on ranges (kernel/TRACE.md, step 5 and "Operations")."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from conformance.case.memory_map import ADDRESS_LIMIT, Region, RegionType
from conformance.case.program import (
    Allocate,
    AllocateRun,
    Count,
    Dump,
    Exhaust,
    Free,
    FreeAddress,
    Operation,
)
from conformance.errors import InvalidArgument
from conformance.observe.trace import Event
from conformance.oracle.frame_set import FrameSet
from conformance.protocol import PROTOCOL

__all__ = ["FrameAllocator", "contained_frames"]

_FRAME = PROTOCOL.constants["frame_size"]
_NO_FRAME = PROTOCOL.constants["no_frame"]


def _whole_frames(region: Region) -> tuple[int, int]:
    """The frames that lie wholly inside a region, whether they exist or not."""
    first = -(-region.base // _FRAME)
    return first, max(first, min(region.end, ADDRESS_LIMIT) // _FRAME)


def contained_frames(region: Region, capacity: int) -> tuple[int, int]:
    """Those of them that exist."""
    first, end = _whole_frames(region)
    return min(first, capacity), min(end, capacity)


def _touched(start: int, end: int, capacity: int) -> tuple[int, int]:
    """The frames that share a byte with [start, end); none, at the frame of its start, if empty."""
    first = start // _FRAME
    last = -(-min(end, ADDRESS_LIMIT) // _FRAME) if start < end else first
    return min(first, capacity), min(last, capacity)


class FrameAllocator:
    """What the kernel's frame allocator answers. Its methods yield the events as they happen.

    Args:
        capacity: how many frames exist for it.

    Attributes:
        free: the frames that are free now.
        owned: the frames that were free when the initialisation was over.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.free = FrameSet()
        self.owned = FrameSet()
        self._given: dict[int, tuple[int, int]] = {}

    def initialise(
        self, regions: tuple[Region, ...], reserved: Iterable[tuple[str, int, int]]
    ) -> Iterator[Event]:
        """Run the passes, up to `ready`.

        Args:
            regions: the memory map's entries.
            reserved: pass and bytes [start, end) of what is taken back at last, in order.
        """
        yield self._passed("all_used")
        for index, region in enumerate(regions):
            if region.type == RegionType.AVAILABLE:
                self.free.add(*contained_frames(region, self._capacity))
                yield from self._clipped(index, region)
        yield self._passed("available")
        for region in regions:
            if region.type != RegionType.AVAILABLE:
                self.free.subtract(*_touched(region.base, region.end, self._capacity))
        yield self._passed("unavailable")
        for name, start, stop in reserved:
            first, end = _touched(start, stop, self._capacity)
            self.free.subtract(first, end)
            code = PROTOCOL.code("allocator_pass", name)
            yield Event("reserved", {"pass": code, "first": first, "end": end})
            yield self._passed(name)
        self.owned = self.free.copy()
        lowest = _NO_FRAME if self.free.lowest is None else self.free.lowest
        yield Event("ready", {"free_frames": self.free.count, "lowest": lowest})

    def perform(self, number: int, operation: Operation) -> Iterator[Event]:
        """Do operation number `number` of the program.

        Raises:
            InvalidArgument: the oracle has no rule for such an operation.
        """
        # It may have been performed before: what it is given now is what it means.
        self._given.pop(number, None)
        match operation:
            case Allocate():
                yield self._hand_out(number, self.free.lowest, 1, "none_free")
            case AllocateRun(count, alignment):
                yield self._allocate_run(number, count, alignment)
            case Free(earlier):
                yield self._free(number, earlier)
            case FreeAddress(address):
                yield self._free_address(number, address)
            case Count():
                yield Event("counted", {"operation": number, "free_frames": self.free.count})
            case Exhaust():
                yield from self._exhaust(number)
            case Dump():
                yield from self._dump(number)
            case _:
                raise InvalidArgument(f"the oracle has no rule for operation {operation.name!r}")

    def _clipped(self, index: int, region: Region) -> Iterator[Event]:
        first, end = _whole_frames(region)
        first = max(first, self._capacity)
        if first < end:
            yield Event("clipped", {"index": index, "first": first, "end": end})

    def _passed(self, name: str) -> Event:
        code = PROTOCOL.code("allocator_pass", name)
        return Event("pass", {"pass": code, "free_frames": self.free.count})

    def _hand_out(self, number: int, frame: int | None, count: int, otherwise: str) -> Event:
        if frame is None:
            return _allocation_failed(number, otherwise)
        self.free.subtract(frame, frame + count)
        self._given[number] = frame, count
        return Event("allocated", {"operation": number, "frame": frame, "count": count})

    def _allocate_run(self, number: int, count: int, alignment: int) -> Event:
        if count == 0:
            return _allocation_failed(number, "zero_count")
        if alignment.bit_count() != 1:
            return _allocation_failed(number, "bad_alignment")
        return self._hand_out(number, self.free.first_fit(count, alignment), count, "no_run")

    def _free(self, number: int, earlier: int) -> Event:
        # This operation and those after it cannot be meant.
        if earlier >= number or earlier not in self._given:
            return _free_rejected(number, 0, "nothing_allocated")
        frame, count = self._given[earlier]
        # Only what is owned was ever handed out, so a frame of it can but be free already.
        already_free = self.free.lowest_in(frame, frame + count)
        if already_free is not None:
            return _free_rejected(number, already_free * _FRAME, "already_free")
        return self._take_back(number, frame, count)

    def _free_address(self, number: int, address: int) -> Event:
        frame, offset = divmod(address, _FRAME)
        if offset:
            return _free_rejected(number, address, "misaligned")
        if frame >= self._capacity:
            return _free_rejected(number, address, "out_of_range")
        if frame not in self.owned:
            return _free_rejected(number, address, "not_owned")
        if frame in self.free:
            return _free_rejected(number, address, "already_free")
        return self._take_back(number, frame, 1)

    def _take_back(self, number: int, frame: int, count: int) -> Event:
        self.free.add(frame, frame + count)
        return Event("freed", {"operation": number, "frame": frame, "count": count})

    def _exhaust(self, number: int) -> Iterator[Event]:
        total, ranges = self.free.count, self.free.ranges
        self.free = FrameSet()
        for first, end in ranges:
            fields = {"operation": number, "first": first, "count": end - first}
            yield Event("exhausted_run", fields)
        yield Event("exhausted", {"operation": number, "frames": total})

    def _dump(self, number: int) -> Iterator[Event]:
        ranges = self.free.ranges
        for first, end in ranges:
            yield Event("free_range", {"operation": number, "first": first, "end": end})
        total = {"operation": number, "ranges": len(ranges), "frames": self.free.count}
        yield Event("dumped", total)


def _allocation_failed(number: int, reason: str) -> Event:
    code = PROTOCOL.code("allocation_failure", reason)
    return Event("allocation_failed", {"operation": number, "reason": code})


def _free_rejected(number: int, address: int, reason: str) -> Event:
    code = PROTOCOL.code("free_failure", reason)
    return Event("free_rejected", {"operation": number, "address": address, "reason": code})
