"""Hypothesis strategies of operations that change the paging structures and what governs them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from conformance.case.operation import Operation, Rights
from conformance.case.paging_operations import (
    Control,
    Invalidate,
    Map,
    Protect,
    ReadEntry,
    Reload,
    Unmap,
    WriteEntry,
)
from conformance.case.probe_space import ARENA_PAGES, Plain, ProbeSpace, Seed

__all__ = [
    "BITS",
    "INVALIDATE",
    "LEVELS",
    "RIGHTS",
    "WHICH",
    "NewMapping",
    "NewRights",
    "ReadBack",
    "SetControl",
    "WriteBits",
    "mapping_seeds",
    "new_mappings",
]

WHICH: Final = st.integers(0, 3)
"""Which of the mappings there are: the first, unless another one matters."""

INVALIDATE: Final = st.sampled_from((True, True, True, False))
RIGHTS: Final = st.integers(0, 7).map(Rights)


@dataclass(frozen=True, slots=True)
class NewMapping:
    """Map a page, or a slot with one large or huge page, where nothing is mapped yet.

    Attributes:
        size: a right that says that the page is large or huge, or nothing. Where there are no huge
            pages, it is large in place of huge.
    """

    page: int
    frame: int
    rights: Rights
    invalidate: bool
    size: Rights

    def operations(self, space: ProbeSpace) -> Iterator[Operation]:
        """The mapping; before a large one with 32-bit paging, CR4.PSE."""
        rights = space.rights(self.rights)
        if self.size is Rights.HUGE_PAGE and space.has_huge_pages:
            address = space.slot(self.page // ARENA_PAGES, huge=True)
            space.huge.append(address)
            space.latest = address
            yield Map(address, 0, rights | Rights.HUGE_PAGE, self.invalidate)
            return
        if not self.size:
            address = space.unmapped(self.page)
            space.pages.append(address)
            space.latest = address
            yield Map(address, self.frame, rights, self.invalidate)
            return
        if not space.wide and not space.page_size_extensions:
            space.page_size_extensions = True
            yield Control("page_size_extensions", value=True)
        address = space.slot(self.page // ARENA_PAGES)
        space.large.append(address)
        space.latest = address
        yield Map(address, 0, rights | Rights.LARGE_PAGE, self.invalidate)


@dataclass(frozen=True, slots=True)
class Removal:
    """Unmap what was mapped."""

    which: int
    invalidate: bool

    def operations(self, space: ProbeSpace) -> Iterator[Operation]:
        """The removal."""
        address = space.mapped(self.which)
        space.remove(address)
        yield Unmap(address, self.invalidate)


@dataclass(frozen=True, slots=True)
class NewRights:
    """Change a mapping's rights."""

    which: int
    rights: Rights
    invalidate: bool

    def operations(self, space: ProbeSpace) -> Iterator[Operation]:
        """The change."""
        yield Protect(space.mapped(self.which), space.rights(self.rights), self.invalidate)


@dataclass(frozen=True, slots=True)
class Invalidation:
    """Invalidate a mapping's translation."""

    which: int

    def operations(self, space: ProbeSpace) -> Iterator[Operation]:
        """The invalidation."""
        yield Invalidate(space.mapped(self.which))


@dataclass(frozen=True, slots=True)
class WriteBits:
    """Clear or set one or two bits of an entry."""

    which: int
    level: int
    bits: tuple[int, ...]
    clear: bool
    invalidate: bool

    def operations(self, space: ProbeSpace) -> Iterator[Operation]:
        """The write."""
        address = space.mapped(self.which)
        level = space.level(self.level, address)
        bits = 0
        for bit in self.bits:
            bits |= space.entry_bit(bit, level, address)
        changes = (bits, 0) if self.clear else (0, bits)
        yield WriteEntry(address, level, *changes, self.invalidate)


@dataclass(frozen=True, slots=True)
class ReadBack:
    """Read an entry."""

    which: int
    level: int

    def operations(self, space: ProbeSpace) -> Iterator[Operation]:
        """The read."""
        address = space.mapped(self.which)
        yield ReadEntry(address, space.level(self.level, address))


@dataclass(frozen=True, slots=True)
class SetControl:
    """Set or clear a control bit."""

    bit: int
    value: bool

    def operations(self, space: ProbeSpace) -> Iterator[Operation]:
        """The change."""
        name = space.control_bit(self.bit)
        if name == "page_size_extensions" and (self.value or space.wide or not space.large):
            space.page_size_extensions = self.value
        yield Control(name, self.value)


LEVELS: Final = st.integers(0, 3)

# Numbers of bits; from the end, where the reserved ones are, if negative.
_BIT: Final = st.one_of(st.integers(0, 10), st.integers(-7, -1))
BITS: Final[SearchStrategy[tuple[int, ...]]] = st.one_of(st.tuples(_BIT), st.tuples(_BIT, _BIT))

_PAGE: Final = st.one_of(st.integers(0, 3), st.integers(0, 2 * ARENA_PAGES - 1))
_SIZES: Final = st.sampled_from((*(Rights(0),) * 4, Rights.LARGE_PAGE, Rights.HUGE_PAGE))

new_mappings: Final[SearchStrategy[NewMapping]] = st.builds(
    NewMapping, _PAGE, st.integers(0, ARENA_PAGES - 1), RIGHTS, INVALIDATE, _SIZES
)
_writes: SearchStrategy[Seed] = st.builds(
    WriteBits, WHICH, LEVELS, BITS, st.sampled_from((False, True)), INVALIDATE
)
_controls: SearchStrategy[Seed] = st.builds(
    SetControl, st.integers(0, 4), st.sampled_from((True, False))
)
mapping_seeds: Final[SearchStrategy[Seed]] = st.one_of(
    # A branch that is listed more than once is drawn more often.
    new_mappings,
    *[_writes] * 2,
    *[_controls] * 2,
    st.builds(Removal, WHICH, INVALIDATE),
    st.builds(NewRights, WHICH, RIGHTS, INVALIDATE),
    st.builds(ReadBack, WHICH, LEVELS),
    st.builds(Invalidation, WHICH),
    st.just(Plain(Reload())),
)
