"""Hypothesis strategies of programs, with operations that have something to work on.

What an operation refers to (an earlier one, a place in the memory map) is drawn as a small number
and looked up only when all operations are there, so that leaving some out keeps the others sound.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from conformance.case.memory_map import ADDRESS_LIMIT, MemoryMap
from conformance.case.program import (
    Allocate,
    AllocateRun,
    Count,
    Dump,
    Exhaust,
    Free,
    FreeAddress,
    Operation,
    Program,
)
from conformance.case.strategies_regions import draw_several
from conformance.errors import InvalidArgument
from conformance.protocol import PROTOCOL

__all__ = ["check_operations", "places", "programs", "programs_at"]

_FRAME: Final = PROTOCOL.constants["frame_size"]
_FRAMES: Final = PROTOCOL.constants["frame_count"]
_OPERATIONS: Final = PROTOCOL.constants["maximum_operations"]
_U32: Final = 0xFFFF_FFFF

_PLACES: Final = (
    16 << 20,
    1 << 20,  # the kernel
    2 << 20,
    0,
    _FRAME,
    0x9_F000,
    PROTOCOL.boot["payload"],
    (_FRAMES - 1) * _FRAME,
)
"""Addresses of frames that mean something under many maps."""


@dataclass(frozen=True, slots=True)
class _FreeEarlier:
    """Free what allocation number `which` got; from the first on: those in between can go."""

    which: int


@dataclass(frozen=True, slots=True)
class _FreePlace:
    """Free the frame `frames` frames after a place, or an address inside of it."""

    place: int
    frames: int
    offset: int


@dataclass(frozen=True, slots=True)
class _ExhaustAndReturn:
    """Take everything, give a frame back, and see that it can be had again."""

    returned: _FreePlace


_counts = st.one_of(
    st.integers(1, 8), st.integers(1, 1024), st.sampled_from((0, 512, 1024, _FRAMES, _U32))
)
_alignments = st.one_of(
    st.integers(0, 10).map(lambda bits: 1 << bits),
    st.integers(0, 10).map(lambda bits: 1 << bits),
    st.sampled_from((0, 3, 6, 1 << 20, 1 << 31, _U32)),
)
_free_earlier = st.builds(_FreeEarlier, st.integers(0, 7))
_free_place = st.builds(
    _FreePlace,
    st.integers(0, 63),
    st.one_of(st.just(0), st.just(0), st.integers(-4, 64), st.integers(-4, 1024)),
    st.one_of(st.just(0), st.just(0), st.just(0), st.integers(1, _FRAME - 1)),
)
_exhaust_and_return = st.builds(
    _ExhaustAndReturn, st.builds(_FreePlace, st.integers(0, 63), st.integers(0, 64), st.just(0))
)
_free_address = st.builds(
    FreeAddress,
    st.one_of(
        st.integers(0, _FRAMES - 1).map(lambda frame: frame * _FRAME),
        st.integers(_FRAMES, 2 * _FRAMES).map(lambda frame: frame * _FRAME),
        st.sampled_from((ADDRESS_LIMIT - _FRAME, ADDRESS_LIMIT - 1)),
        st.integers(0, ADDRESS_LIMIT - 1),
    ),
)
_allocate_run = st.builds(AllocateRun, _counts, _alignments)
_free_any = st.builds(Free, st.one_of(st.integers(0, 12), st.integers(0, _U32)))
# Taking everything is a million allocations under a large map: rarely, therefore.
_once = st.one_of(
    st.sampled_from((Count(), Dump())),
    st.sampled_from((Count(), Dump())),
    st.sampled_from((Count(), Dump(), Exhaust())),
    _exhaust_and_return,
)

_Seed = Operation | _FreeEarlier | _FreePlace | _ExhaustAndReturn
_seeds: SearchStrategy[_Seed] = st.one_of(
    # A branch that is listed more than once is drawn more often.
    st.just(Allocate()),
    _allocate_run,
    _free_earlier,
    _free_place,
    st.just(Allocate()),
    _allocate_run,
    _free_earlier,
    _free_place,
    _free_address,
    _free_any,
    _once,
)


def programs(*, max_operations: int = 12) -> SearchStrategy[Program]:
    """Programs.

    Args:
        max_operations: how many operations there are at most.

    Raises:
        InvalidArgument: the kernel has no room for so many.
    """
    check_operations(max_operations)
    return programs_at(_PLACES, max_operations=max_operations)


def check_operations(number: int) -> None:
    """Raise InvalidArgument unless the kernel has room for so many operations."""
    if not isinstance(number, int) or isinstance(number, bool):
        raise InvalidArgument(f"max_operations must be an integer, got {number!r}")
    if not 0 <= number <= _OPERATIONS:
        raise InvalidArgument(f"max_operations={number} is outside [0, {_OPERATIONS}]")


def programs_at(addresses: Sequence[int], *, max_operations: int) -> SearchStrategy[Program]:
    """Programs that free frames at or near these addresses."""
    return _programs(tuple(addresses), max_operations)


@st.composite
def _programs(draw: DrawFn, addresses: tuple[int, ...], most: int) -> Program:
    seeds = itertools.chain.from_iterable(map(_parts, draw_several(draw, _seeds, 0, most)))
    return Program(_resolve(itertools.islice(seeds, most), addresses))


def _parts(seed: _Seed) -> tuple[_Seed, ...]:
    """What becomes one operation each."""
    if isinstance(seed, _ExhaustAndReturn):
        return Exhaust(), seed.returned, Allocate()
    return (seed,)


def _resolve(seeds: Iterable[_Seed], addresses: Sequence[int]) -> tuple[Operation, ...]:
    operations: list[Operation] = []
    allocations: list[int] = []
    for seed in seeds:
        operation: Operation
        if isinstance(seed, _FreeEarlier):
            which = seed.which % max(1, len(allocations))
            operation = Free(allocations[which] if allocations else seed.which)
        elif isinstance(seed, _FreePlace):
            address = addresses[seed.place % len(addresses)] + seed.frames * _FRAME + seed.offset
            operation = FreeAddress(max(0, address) % ADDRESS_LIMIT)
        elif isinstance(seed, Exhaust) and seed in operations:
            operation = Count()  # a second million of allocations would find nothing new
        else:
            assert isinstance(seed, Operation)  # _parts leaves no other
            operation = seed
        if isinstance(operation, Allocate | AllocateRun):
            allocations.append(len(operations))
        operations.append(operation)
    return tuple(operations)


def places(memory_map: MemoryMap | None) -> tuple[int, ...]:
    """Addresses of frames at the edges of a map's regions, then those that every map has."""
    found: dict[int, None] = {}
    for region in () if memory_map is None else memory_map.regions:
        first = (region.base + _FRAME - 1) // _FRAME
        last = max(region.base, region.end - 1) // _FRAME
        for frame in (first, last):
            # Modulo 4 GiB: what a kernel that drops the high half would take it for.
            found[frame % _FRAMES * _FRAME] = None
    return (*found, *_PLACES)
