"""Hypothesis strategies of operations that try something: accesses, segments, exceptions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from conformance.case.attempt_operations import Interrupt, Probe, Raise, Segment
from conformance.case.operation import Operation
from conformance.case.probe_space import ARENA_PAGES, PAGE, Plain, ProbeSpace, Seed
from conformance.case.strategies_mappings import WHICH
from conformance.protocol import PROTOCOL

__all__ = ["VECTORS", "Access", "accesses", "attempt_seeds"]

_U32: Final = 0xFFFF_FFFF
_ARENA: Final = PROTOCOL.boot["kernel_window"] + 0xC0_0000
_GRANULE: Final = 0xFFF
_IMAGE: Final = 1 << 20
"""Where the kernel's image begins, in its window."""

_NEXT: Final = ARENA_PAGES // 2 + 1
_NEEDS_ERROR_CODE: Final = (8, 10, 11, 12, 13, 14, 17, 21)
VECTORS: Final = tuple(vector for vector in range(32) if vector not in _NEEDS_ERROR_CODE)
"""Vectors that INT can raise as the exception would: without an error code."""


@dataclass(frozen=True, slots=True)
class Access:
    """Access a mapped page, or the page after it, or the kernel.

    Attributes:
        which: the mapping; of a large one, `page` says where in it.
        page: the number of the page in a large one; of 4 KiB pages, the page after it if it is
            `_NEXT`.
        kernel: not the mapping at all, but the kernel's first page.
    """

    which: int
    page: int
    offset: int
    access: str
    size: int
    ring: int
    alignment_check: bool
    kernel: bool = False
    through: str = "plain"

    def operations(self, space: ProbeSpace) -> Iterator[Operation]:
        """The access."""
        ring = self.ring
        if self.kernel:
            values = PROTOCOL.images[space.machine.architecture]
            address = values.boot["kernel_window"] + _IMAGE
            if self.access != "read":
                ring = 3  # ring 0 would change the kernel itself
        else:
            address = space.mapped(self.which)
            pages = self.page if space.covers_slot(address) else self.page == _NEXT
            address += pages * PAGE
        address += self.offset
        yield _probe(space, address, self, ring)


@dataclass(frozen=True, slots=True)
class AccessNowhere:
    """Access an address that is not canonical; where there are none, a mapped page.

    Attributes:
        address: in 64-bit mode.
    """

    address: int
    access: str
    size: int
    ring: int
    alignment_check: bool
    through: str

    def operations(self, space: ProbeSpace) -> Iterator[Operation]:
        """The access."""
        address = self.address if _is_long(space) else space.mapped(0)
        yield _probe(space, address, self, self.ring)


def _probe(space: ProbeSpace, address: int, access: Access | AccessNowhere, ring: int) -> Probe:
    """The access, as it can be made on the machine: only 64-bit mode has accesses of 8 bytes."""
    return Probe(
        address,
        access.access,
        access.size if access.size < _LONG or _is_long(space) else _LONG // 2,
        ring,
        access.alignment_check,
        "plain" if access.access == "execute" else access.through,
    )


def _is_long(space: ProbeSpace) -> bool:
    return space.machine.paging == "4-level"


@dataclass(frozen=True, slots=True)
class SegmentAccess:
    """Access a mapped page through a segment whose limit is near.

    Attributes:
        which, place: the mapping, and the byte of it that is accessed.
        offset: of that byte in the segment.
        room: how many bytes further the limit could be: negative for an access that is too long.
    """

    which: int
    place: int
    target: str
    offset: int
    room: int
    access: str
    size: int
    expand_down: bool

    def operations(self, space: ProbeSpace) -> Iterator[Operation]:
        """The access."""
        linear = space.mapped(self.which) + self.place
        if self.target == "ss":
            # The kernel's handlers run on it: it has to be flat, and the arena is reached through
            # the window, above their stacks.
            offset = _ARENA + self.which % ARENA_PAGES * PAGE + self.place
            limit = (offset + self.size - 1 + self.room) | _GRANULE
            yield Segment("ss", offset, 0, min(limit, _U32), self.access, self.size)
            return
        # Expand-down: the bytes above the limit are inside (SDM vol. 3, 5.3).
        limit = (
            self.offset - 1 - self.room
            if self.expand_down
            else self.offset + self.size - 1 + self.room
        )
        limit = min(max(limit, 0), _U32)
        if limit > _U32 >> 12:
            limit |= _GRANULE
        yield Segment(
            self.target,
            self.offset,
            (linear - self.offset) % (1 << 32),
            limit,
            self.access,
            self.size,
            self.expand_down,
        )


_ACCESSES: Final = st.sampled_from(("read", "write", "execute"))
_DATA: Final = st.sampled_from(("read", "write"))
_LONG: Final = 8
_SIZES: Final = st.sampled_from((4, 2, 1))
_PROBE_SIZES: Final = st.sampled_from((4, 2, 1, _LONG))
_THROUGH: Final = st.sampled_from(("plain", "plain", "plain", "stack", "frame"))
_FIRST_NOWHERE: Final = 1 << 47
_LAST_NOWHERE: Final = (1 << 64) - (1 << 47) - 1
"""What is not canonical (SDM vol. 1, 3.3.7.1)."""

_NOWHERE: Final = st.one_of(
    st.just(PROTOCOL.images["x86_64"].constants["nowhere"]),
    st.sampled_from((_FIRST_NOWHERE, _LAST_NOWHERE, 1 << 63, (1 << 63) - 1)),
    # The first bytes count, of what ends at a canonical address.
    st.integers(1, _LONG).map(lambda below: _LAST_NOWHERE + 1 - below),
    st.integers(_FIRST_NOWHERE, _LAST_NOWHERE),
)
_PLACES: Final = st.one_of(
    st.just(0),
    st.integers(0, 4).map(lambda bytes_before_end: PAGE - bytes_before_end),
    st.integers(1, 3).map(lambda bytes_before_end: PAGE - bytes_before_end),
    st.integers(0, PAGE - 1),
)
_BOOLEANS: Final = st.sampled_from((False, True))
_RARELY: Final = st.sampled_from((*(False,) * 15, True))

accesses: Final[SearchStrategy[Access]] = st.builds(
    Access,
    WHICH,
    st.integers(0, ARENA_PAGES - 1),
    _PLACES,
    _ACCESSES,
    _PROBE_SIZES,
    st.sampled_from((0, 3)),
    _BOOLEANS,
    _RARELY,
    _THROUGH,
)
_accesses_nowhere: SearchStrategy[Seed] = st.builds(
    AccessNowhere,
    _NOWHERE,
    _ACCESSES,
    _PROBE_SIZES,
    st.sampled_from((0, 3)),
    _BOOLEANS,
    st.sampled_from(("plain", "stack", "frame")),
)
_segments: SearchStrategy[Seed] = st.builds(
    SegmentAccess,
    WHICH,
    _PLACES,
    st.sampled_from(("fs", "fs", "fs", "ss")),
    st.one_of(st.integers(0, 16), st.integers(0, 1 << 20), st.integers(0, 0xFFFF_F000)),
    st.one_of(st.just(0), st.integers(-4, 4), st.integers(0, 1 << 21)),
    _DATA,
    _SIZES,
    _BOOLEANS,
)
# An engine that hangs takes a whole deadline for each such case: the suite has one of its own.
_HANGS: Final = "reserved_control_bit"
_causes = st.sampled_from(
    tuple(cause for cause in PROTOCOL.enums["raise_cause"].values() if cause != _HANGS)
)
attempt_seeds: Final[SearchStrategy[Seed]] = st.one_of(
    # A branch that is listed more than once is drawn more often.
    *[accesses] * 6,
    *[_accesses_nowhere] * 2,
    *[_segments] * 3,
    *[st.builds(Plain, st.builds(Raise, _causes))] * 3,
    *[st.builds(Plain, st.builds(Interrupt, st.sampled_from(VECTORS)))] * 2,
)
