"""Hypothesis strategies of programs that map, probe and fault.

Like in `strategies_programs`, what is drawn are small numbers: which mapping, which edge of a page,
which bit. They become operations when all are there, so that leaving some out keeps the others
sound.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from conformance.case.attempt_operations import TripleFault
from conformance.case.machine import Machine
from conformance.case.operation import Operation, Rights
from conformance.case.paging_operations import Invalidate, Reload, Unmap
from conformance.case.probe_space import ProbeSpace, Seed
from conformance.case.program import Program
from conformance.case.strategies_attempts import Access, accesses, attempt_seeds
from conformance.case.strategies_mappings import (
    BITS,
    INVALIDATE,
    LEVELS,
    RIGHTS,
    NewMapping,
    NewRights,
    ReadBack,
    SetControl,
    WriteBits,
    mapping_seeds,
    new_mappings,
)
from conformance.case.strategies_regions import draw_several
from conformance.case.strategies_unsound import unsound_seeds_on

__all__ = ["paging_programs_on"]


@dataclass(frozen=True, slots=True)
class _Stale:
    """Use a translation, take rights (or the page) away, use it again.

    The TLB is told at once, afterwards, both times or never.
    """

    access: Access
    rights: Rights
    unmap: bool
    at_once: bool
    afterwards: bool

    def operations(self, space: ProbeSpace) -> Iterator[Operation]:
        address = space.mapped(self.access.which)
        yield from self.access.operations(space)
        if self.unmap:
            yield Unmap(address, invalidate=self.at_once)
        else:
            change = NewRights(self.access.which, self.rights, invalidate=self.at_once)
            yield from change.operations(space)
        if self.afterwards:
            yield Invalidate(address)
        yield from self.access.operations(space)
        if self.unmap:
            space.remove(address)


@dataclass(frozen=True, slots=True)
class _EntryAndAccess:
    """Change bits of an entry, access what it maps, and see what the processor made of it.

    Bits 1 and 2 are accessed and dirty; the last ones are reserved where the entry has such bits.
    """

    access: Access
    level: int
    bits: tuple[int, ...]
    clear: bool
    invalidate: bool
    reload: bool
    mapping: NewMapping | None = None

    def operations(self, space: ProbeSpace) -> Iterator[Operation]:
        which = self.access.which
        if self.mapping is not None:
            yield from self.mapping.operations(space)
            which = space.newest()
        change = WriteBits(which, self.level, self.bits, self.clear, self.invalidate)
        yield from change.operations(space)
        if self.reload:
            yield Reload()
        yield from replace(self.access, which=which).operations(space)
        yield from ReadBack(which, self.level).operations(space)


@dataclass(frozen=True, slots=True)
class _ControlAndAccess:
    """Change a control bit, and access something that it may concern."""

    bit: int
    value: bool
    access: Access

    def operations(self, space: ProbeSpace) -> Iterator[Operation]:
        yield from SetControl(self.bit, self.value).operations(space)
        yield from self.access.operations(space)


_ACCESSED_AND_DIRTY: Final = (1, 2)
_BOOLEANS: Final = st.sampled_from((False, True))
_RARELY: Final = st.sampled_from((False, False, False, True))
_together: SearchStrategy[Seed] = st.one_of(
    st.builds(_Stale, accesses, RIGHTS, _BOOLEANS, _RARELY, _BOOLEANS),
    st.builds(
        _EntryAndAccess,
        accesses,
        LEVELS,
        st.just(_ACCESSED_AND_DIRTY),
        st.just(True),
        INVALIDATE,
        _RARELY,
    ),
    st.builds(
        _EntryAndAccess,
        accesses,
        LEVELS,
        BITS,
        _BOOLEANS,
        INVALIDATE,
        _RARELY,
        st.one_of(st.none(), new_mappings),
    ),
    st.builds(_ControlAndAccess, st.integers(0, 4), st.sampled_from((True, False)), accesses),
)


@functools.cache
def _seeds_on(architecture: str) -> SearchStrategy[Seed]:
    unsound = unsound_seeds_on(architecture)
    return st.one_of(attempt_seeds, mapping_seeds, *[_together] * 3, *[unsound] * 2)


_MAPPINGS: Final = 4
_LAST: Final[SearchStrategy[tuple[Operation, ...]]] = st.sampled_from(
    (*((),) * 15, (TripleFault(),))
)


def paging_programs_on(machine: Machine, *, max_operations: int) -> SearchStrategy[Program]:
    """Programs for a machine: some mappings first, then anything."""
    return _programs(machine, max_operations)


@st.composite
def _programs(draw: DrawFn, machine: Machine, most: int) -> Program:
    seeds: list[Seed] = [*draw_several(draw, new_mappings, 0, min(_MAPPINGS, most))]
    seeds += draw_several(draw, _seeds_on(machine.architecture), 0, max(0, most - len(seeds)))
    last: tuple[Operation, ...] = draw(_LAST)[:most]
    operations = itertools.islice(_resolve(seeds, machine), most - len(last))
    return Program((*operations, *last))


def _resolve(seeds: Iterable[Seed], machine: Machine) -> Iterator[Operation]:
    space = ProbeSpace(machine)
    for seed in seeds:
        yield from seed.operations(space)
