"""Hypothesis strategies of programs that use, misuse and overflow the task stack pool.

Like in `strategies_programs`, which stack is meant is drawn as a small number and looked up when
all operations are there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from conformance.case.attempt_operations import Probe
from conformance.case.operation import Operation
from conformance.case.program import Program
from conformance.case.stack_operations import (
    Overflow,
    StackAllocate,
    StackFree,
    StackFreeAddress,
)
from conformance.case.strategies_regions import draw_several
from conformance.protocol import PROTOCOL

__all__ = ["stack_programs_of"]

_PAGE: Final = PROTOCOL.constants["frame_size"]
_OBJECT: Final = PROTOCOL.constants["task_stack_size"]
_MOST: Final = PROTOCOL.constants["maximum_stacks"]


@dataclass(frozen=True, slots=True)
class _FreeEarlier:
    """Give back what allocation number `which` was given."""

    which: int


@dataclass(frozen=True, slots=True)
class _FreeAddress:
    """Give back the stack at an address that is `distance` from a stack's."""

    stack: int
    distance: int


@dataclass(frozen=True, slots=True)
class _Overflow:
    """Overflow what allocation number `which` was given."""

    which: int
    how: str
    size: int


@dataclass(frozen=True, slots=True)
class _Probe:
    """Access the byte that is `distance` from a stack's address, and what follows."""

    stack: int
    distance: int
    access: str
    size: int
    ring: int
    alignment_check: bool
    through: str


_Seed = Operation | _FreeEarlier | _FreeAddress | _Overflow | _Probe

_WHICH: Final = st.integers(0, 7)
_STACK: Final = st.one_of(st.integers(0, 3), st.integers(-2, -1), st.integers(0, _MOST))
_ACCESSES: Final = st.sampled_from(("read", "write", "read", "write", "execute"))
_SIZES: Final = st.sampled_from((4, 2, 1))
_THROUGH: Final = st.sampled_from(("plain", "plain", "stack", "frame"))
_RINGS: Final = st.sampled_from((0, 0, 0, 3))
_BOOLEANS: Final = st.sampled_from((False, True))

# From a stack's address: its guard page, the stack itself, and the edges of both.
_DISTANCES: Final = st.one_of(
    st.sampled_from((0, _PAGE, _PAGE - 4, _OBJECT - 4)),
    st.integers(1, 4).map(lambda below: _PAGE - below),
    st.integers(1, 4).map(lambda below: _OBJECT - below),
    st.integers(0, _OBJECT - 1),
)
_WRONG: Final = st.one_of(
    st.just(0),
    st.just(0),
    st.just(0),
    st.sampled_from((4, _PAGE, _OBJECT - 1, 1)),
    st.integers(0, _OBJECT),
)
_WORDS: Final = st.integers(1, 3 * _PAGE // 4).map(lambda words: words * 4)
_NEAR_PAGES: Final = st.tuples(st.integers(1, 3), st.integers(-2, 2)).map(
    lambda near: near[0] * _PAGE + near[1] * 4
)
_ODD_SIZES: Final = st.sampled_from((0, 2, 5, 3 * _PAGE + 4, 0xFFFF_FFFC))
_ARRAYS: Final = st.one_of(_NEAR_PAGES, _NEAR_PAGES, _WORDS, _ODD_SIZES)
_LOCALS: Final = st.one_of(
    st.integers(2, 256).map(lambda words: words * 4),
    st.integers(2, 256).map(lambda words: words * 4),
    st.sampled_from((8, 16, 1024)),
    st.sampled_from((0, 4, 9, 1028)),
)
_KINDS: Final = tuple(
    how for how in PROTOCOL.enums["overflow_kind"].values() if how not in ("array", "recursion")
)

_allocate: SearchStrategy[_Seed] = st.just(StackAllocate())
_overflow: SearchStrategy[_Seed] = st.one_of(
    st.builds(_Overflow, _WHICH, st.sampled_from(_KINDS), st.just(0)),
    st.builds(_Overflow, _WHICH, st.just("array"), _ARRAYS),
    st.builds(_Overflow, _WHICH, st.just("recursion"), _LOCALS),
)
_probe: SearchStrategy[_Seed] = st.builds(
    _Probe, _STACK, _DISTANCES, _ACCESSES, _SIZES, _RINGS, _BOOLEANS, _THROUGH
)
_seeds: SearchStrategy[_Seed] = st.one_of(
    # A branch that is listed more than once is drawn more often.
    _allocate,
    _overflow,
    _probe,
    st.builds(_FreeEarlier, _WHICH),
    _allocate,
    _overflow,
    *[_probe] * 4,
    st.builds(_FreeAddress, _STACK, _WRONG),
    st.builds(
        StackFreeAddress,
        st.one_of(st.just(0), st.integers(0, 0xFFFF_FFFF), st.integers(0, (1 << 64) - 1)),
    ),
    st.builds(StackFree, st.integers(0, 12)),
    st.builds(Overflow, st.integers(0, 12), st.sampled_from(_KINDS)),
)
_COUNTS: Final = st.one_of(
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 40),
    st.integers(0, _MOST),
    st.sampled_from((_MOST, _MOST - 1, 512, 0)),
)
_ALLOCATIONS: Final = 5


@st.composite
def stack_programs_of(draw: DrawFn, most: int, area: int) -> Program:
    """Programs of at most so many operations: some allocations first, then anything.

    The first stack's object is at the linear address `area`.
    """
    stacks = draw(_COUNTS)
    seeds = draw_several(draw, _allocate, 0, min(_ALLOCATIONS, most))
    seeds += draw_several(draw, _seeds, 0, most - len(seeds))
    return Program(_resolve(seeds, stacks, area)[:most], stacks)


def _resolve(seeds: Iterable[_Seed], stacks: int, area: int) -> tuple[Operation, ...]:
    operations: list[Operation] = []
    allocations: list[int] = []
    for seed in seeds:
        operation: Operation
        match seed:
            case _FreeEarlier(which):
                operation = StackFree(_earlier(allocations, which))
            case _FreeAddress(stack, distance):
                operation = StackFreeAddress(area + _offset(stack, stacks, distance))
            case _Overflow(which, how, size):
                operation = Overflow(_earlier(allocations, which), how, size)
            case _Probe(stack, distance, access, size, ring, alignment_check, through):
                address = area + _offset(stack, stacks, distance)
                base = "plain" if access == "execute" else through
                operation = Probe(address, access, size, ring, alignment_check, base)
                if _reads_what_was_there(operation):
                    operations.append(replace(operation, access="write"))
            case _:
                operation = seed
        if isinstance(operation, StackAllocate):
            allocations.append(len(operations))
        operations.append(operation)
    return tuple(operations)


def _reads_what_was_there(probe: Probe) -> bool:
    """What a stack holds when the kernel starts is left open: it has to be written first."""
    inside = probe.address % _OBJECT
    return probe.access == "read" and probe.ring == 0 and _PAGE <= inside <= _OBJECT - probe.size


def _earlier(allocations: list[int], which: int) -> int:
    return allocations[which % len(allocations)] if allocations else which


def _offset(stack: int, stacks: int, distance: int) -> int:
    """So far from a stack of the pool: of the last ones, where the number is negative.

    It is counted from the first one's object.

    Every pool has one stack too many here: what is behind its end.
    """
    number = max(0, stacks + stack) if stack < 0 else min(stack, stacks)
    return number * _OBJECT + distance
