"""Programs about segment limits: accesses around the last byte that is inside."""

from __future__ import annotations

from collections.abc import Iterator

from conformance import Machine, Map, Operation, Probe, Segment
from conformance.protocol import PROTOCOL
from conformance.suites.directed import PAGE, probe_of
from conformance.suites.entries import ALL

__all__ = [
    "accesses_around_a_limit",
    "accesses_around_the_stack_limit",
    "accesses_through_a_flat_stack_segment",
]

_ARENA = PROTOCOL.boot["kernel_window"] + 0xC0_0000
"""The arena through the kernel's window: above the kernel's stacks, which SS has to reach."""

_PROBE = probe_of(Machine())
_PLACE = _PROBE + PAGE // 2
_GRANULE = 1 << 12
_BYTES = 1 << 20
"""Limits from here on count in units of 4 KiB (SDM vol. 3, 3.4.5)."""


def accesses_around_a_limit(access: str, size: int, *, expand_down: bool) -> Iterator[Operation]:
    """Through FS: the same linear bytes, with limits and offsets that just fit or just do not."""
    yield Map(_PROBE, rights=ALL)
    # What the segment's last byte (expand-down: the last byte that is outside) is.
    for limit in (0, 15, 0xFFFF, _BYTES - 1, _BYTES + _GRANULE - 1, 0xCFFF_FFFF, 0xFFFF_EFFF):
        for distance in range(-size, 2):
            offset = limit + 1 + distance
            if offset < 0:
                continue
            base = (_PLACE - offset) % (1 << 32)
            yield Segment("fs", offset, base, limit, access, size, expand_down)
    yield Probe(_PLACE)


def accesses_through_a_flat_stack_segment(machine: Machine) -> Iterator[Operation]:
    """Through SS: page faults are page faults, whatever the segment register is."""
    probe = probe_of(machine)
    yield Map(probe, rights=ALL)
    for limit in (0xC040_0FFF, 0xFFFF_FFFF):
        for address in (probe, probe + PAGE - 2, probe + PAGE):
            for access in ("write", "read"):
                for size in (1, 2, 4):
                    yield Segment("ss", address, 0, limit, access, size)


def accesses_around_the_stack_limit(access: str) -> Iterator[Operation]:
    """Through SS: the last bytes inside, across the limit, and outside."""
    for size in (1, 2, 4):
        for distance in range(-size, 2):
            yield Segment("ss", _ARENA + PAGE + distance, 0, _ARENA + PAGE - 1, access, size)
