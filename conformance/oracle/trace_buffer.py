"""The trace buffer: how much of a trace the kernel can write (kernel/TRACE.md)."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from conformance.errors import ImageError
from conformance.observe.trace import Event
from conformance.oracle.boot import Layout
from conformance.protocol import PROTOCOL

__all__ = ["capacity", "panic", "record_size", "recorded"]


def capacity(image: Layout) -> int:
    """Bytes that records may take.

    Raises:
        ImageError: not even one record fits.
    """
    start, end = image.bounds("trace_buffer")
    room = end - start - PROTOCOL.trace_header.size
    if room < record_size("panic"):
        raise ImageError(
            f"trace_buffer=[{start:#x}, {end:#x}) has no room for a single panic record; "
            "give the kernel a larger one"
        )
    return room


def recorded(events: Iterable[Event], room: int) -> tuple[Event, ...]:
    """As many of the events as the trace buffer takes, up to the one that ends the trace."""
    shown = []
    left = room - record_size("panic")
    for event in events:
        # The room that is kept for a panic is for it alone: `completed` does not get it.
        if event.kind != "panic":
            left -= record_size(event.kind)
            if left < 0:
                shown.append(panic("trace_full"))
                break
        shown.append(event)
    return tuple(shown)


@functools.cache
def record_size(kind: str) -> int:
    """Bytes of an event's record."""
    return PROTOCOL.trace_record.size + PROTOCOL.events[kind].layout.size


def panic(reason: str) -> Event:
    """The kernel stops on purpose, with nothing more to say."""
    return Event("panic", {"reason": PROTOCOL.code("panic_reason", reason), "detail": 0})
