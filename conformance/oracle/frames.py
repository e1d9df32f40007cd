"""The oracle of the frame allocator: kernel/TRACE.md in executable form.

It shares no algorithm with the kernel: where that walks a bitmap, this computes on ranges.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator

from conformance.case.case import Case
from conformance.errors import ImageError
from conformance.observe.observation import Outcome, StateDigest
from conformance.observe.trace import Event
from conformance.oracle.allocator import FrameAllocator
from conformance.oracle.boot import Layout, entry_event, reserved_bytes
from conformance.oracle.expectation import Expectation
from conformance.oracle.frame_set import FrameSet
from conformance.oracle.map_reader import read_map
from conformance.oracle.paging import page_tables, paging_event
from conformance.protocol import PROTOCOL

__all__ = ["expect"]


def expect(case: Case, image: Layout) -> Expectation:
    """What the kernel should do with a case.

    Args:
        case: what is run.
        image: the kernel, for where its parts are.

    Raises:
        ImageError: the image's trace buffer cannot hold any trace.
    """
    run = _Run(case, image)
    events = _recorded(run.events(), _capacity(image))
    if events[-1].kind != "completed":
        return Expectation(Outcome.PANICKED, events)
    return Expectation(Outcome.COMPLETED, events, run.state)


class _Run:
    """One run of the kernel, on an endless trace buffer."""

    def __init__(self, case: Case, image: Layout) -> None:
        self._case = case
        self._image = image
        self._allocator = FrameAllocator()
        self.state: tuple[StateDigest, ...] = ()

    def events(self) -> Iterator[Event]:
        directory, _ = self._image.bounds("page_tables")
        yield entry_event()
        yield paging_event(directory)
        # The loader's magic is right and its structures are inside the kernel window, always: no
        # not_multiboot, no information_out_of_reach. And a Program is never a bad_program.
        memory_map = None if self._case.memory_map is None else self._case.memory_map.encode()
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
        reserved = reserved_bytes(self._case, self._image, memory_map)
        yield from self._allocator.initialise(reading.regions, reserved)
        if not self._allocator.owned:
            yield _panic("no_usable_frame")
            return
        operations = self._case.program.operations
        for number, operation in enumerate(operations):
            yield from self._allocator.perform(number, operation)
        self.state = self._digests(directory)
        for digest in self.state:
            code = PROTOCOL.state_regions[digest.region].code
            fields = {"region": code, "words": digest.words, "checksum": digest.checksum}
            yield Event("state", fields)
        yield Event("completed", {"operations": len(operations)})

    def _digests(self, directory: int) -> tuple[StateDigest, ...]:
        digests = []
        for name, region in PROTOCOL.state_regions.items():
            if name not in self._case.state_regions:
                continue
            if name == "frame_bitmap":
                digests.append(_bitmap_digest(name, self._allocator.free.ranges))
            elif name == "frame_owned":
                digests.append(_bitmap_digest(name, self._allocator.owned.ranges))
            else:
                digests.append(StateDigest.of(region, page_tables(directory)))
        return tuple(digests)


@functools.lru_cache(maxsize=1024)
def _bitmap_digest(name: str, ranges: tuple[tuple[int, int], ...]) -> StateDigest:
    bitmap = FrameSet(ranges).bitmap_bytes(PROTOCOL.constants["frame_count"])
    return StateDigest.of(PROTOCOL.state_regions[name], bitmap)


def _capacity(image: Layout) -> int:
    """Bytes that records may take."""
    start, end = image.bounds("trace_buffer")
    capacity = end - start - PROTOCOL.trace_header.size
    if capacity < _record_size("panic"):
        raise ImageError(
            f"trace_buffer=[{start:#x}, {end:#x}) has no room for a single panic record; "
            "give the kernel a larger one"
        )
    return capacity


def _recorded(events: Iterable[Event], capacity: int) -> tuple[Event, ...]:
    """As many of the events as the trace buffer takes, up to the one that ends the trace."""
    recorded = []
    left = capacity - _record_size("panic")
    for event in events:
        # The room that is kept for a panic is for it alone: `completed` does not get it.
        if event.kind != "panic":
            left -= _record_size(event.kind)
            if left < 0:
                recorded.append(_panic("trace_full"))
                break
        recorded.append(event)
    return tuple(recorded)


def _record_size(kind: str) -> int:
    return PROTOCOL.trace_record.size + PROTOCOL.events[kind].layout.size


def _panic(reason: str) -> Event:
    return Event("panic", {"reason": PROTOCOL.code("panic_reason", reason), "detail": 0})
