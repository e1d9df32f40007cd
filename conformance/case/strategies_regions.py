"""Hypothesis strategies of regions: ordinary ones, and those that no firmware should report.

Whatever is drawn, the choices behind it are the same ones in the same order. Nothing moves when one
of them becomes simpler, so everything shrinks by itself: to one frame at 16 MiB, where no other
part of a run is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from conformance.case.memory_map import ADDRESS_LIMIT, Region, RegionType
from conformance.errors import InvalidArgument
from conformance.protocol import PROTOCOL

__all__ = [
    "FEW_FRAMES",
    "FRAME",
    "GIB",
    "MIB",
    "ODD_BYTES",
    "check_hostile",
    "draw_several",
    "hostile_regions",
    "plain_regions",
    "regions",
]

FRAME: Final = PROTOCOL.constants["frame_size"]
MIB: Final = 1 << 20
GIB: Final = 1 << 30
_HOME: Final = 16 * MIB
_DRAWN: Final = 128

# Listing a value twice draws it twice as often; the first is what values shrink to.
ODD_BYTES: Final = st.sampled_from((0, 0, 0, 0x400, 0x800, 0xC00, 0x640, 1, 0xFFF))
FEW_FRAMES: Final = st.integers(0, 255)
_LOW_BASES: Final = (MIB, 2 * MIB, 3 * MIB, 0, FRAME, PROTOCOL.boot["payload"], 0x9_F000)
_FRAME_COUNTS: Final = st.integers(1, 1024)
_KNOWN_TYPES: Final = st.sampled_from((*(RegionType.AVAILABLE,) * 5, *RegionType))
_ANY_TYPES: Final = st.sampled_from(
    (
        *(RegionType.AVAILABLE,) * 8,
        *RegionType,
        *(0, 8, 9, 12, 16, 20, 0x101, 0x1_0001, 0x8000_0001, 0xEFFF_FFFF, 0xFFFF_FFFF),
    )
)

_Value = TypeVar("_Value")


def check_hostile(hostile: bool | None) -> None:
    """Raise InvalidArgument unless it is True, False or None."""
    if hostile is not None and not isinstance(hostile, bool):
        raise InvalidArgument(f"hostile must be True, False or None, got {hostile!r}")


def draw_several(
    draw: DrawFn, values: SearchStrategy[_Value], least: int, most: int
) -> list[_Value]:
    """From `least` to `most` values; beyond the first hundred or so they repeat.

    The number is drawn before the values: a value of many choices is left out as a whole only from
    a list like this one (`lists` decides after each value whether there is another).
    """
    count = draw(st.integers(least, most))
    drawn = [draw(values) for _ in range(min(count, _DRAWN))]
    return [drawn[index % _DRAWN] for index in range(count)]


def regions(*, hostile: bool | None = None) -> SearchStrategy[Region]:
    """Regions, one at a time.

    Args:
        hostile: True for those that no firmware should report (some of them are harmless all the
            same), False for ordinary ones, None for both.

    Raises:
        InvalidArgument: it is something else.
    """
    check_hostile(hostile)
    if hostile is None:
        return st.one_of(plain_regions(), hostile_regions())
    return hostile_regions() if hostile else plain_regions()


@st.composite
def plain_regions(draw: DrawFn, types: SearchStrategy[int] = _KNOWN_TYPES) -> Region:
    """A few frames, from 16 MiB to 17 MiB on, with or without odd bytes at both ends."""
    base = _HOME + draw(FEW_FRAMES) * FRAME + draw(ODD_BYTES)
    length = draw(_FRAME_COUNTS) * FRAME + draw(ODD_BYTES)
    return Region(base, length, draw(types))


@st.composite
def hostile_regions(draw: DrawFn) -> Region:
    """A plain region of any type, or one that is turned into something odd."""
    plain = draw(plain_regions(_ANY_TYPES))
    shape = draw(st.sampled_from(_SHAPES))
    address = st.integers(0, ADDRESS_LIMIT - 1)
    return shape(plain, _Wild(draw(address), draw(address)))


@dataclass(frozen=True, slots=True)
class _Wild:
    """Two numbers below 2^64, for a shape to make of what it needs."""

    one: int
    other: int


def _as_it_is(plain: Region, _: _Wild) -> Region:
    return plain


def _empty(plain: Region, _: _Wild) -> Region:
    return replace(plain, length=0)


def _below_a_frame(plain: Region, wild: _Wild) -> Region:
    return replace(plain, length=1 + wild.one % (FRAME - 1))


def _low(plain: Region, wild: _Wild) -> Region:
    """In low memory, where the kernel and the loader's data are."""
    base = _LOW_BASES[wild.one % len(_LOW_BASES)] + plain.base % FRAME
    return replace(plain, base=base)


def _high_base(plain: Region, wild: _Wild) -> Region:
    """Above 4 GiB, where the low half of the base looks like low memory."""
    return replace(plain, base=plain.base + (1 + wild.one % 64) * 4 * GIB)


def _high_length(plain: Region, wild: _Wild) -> Region:
    """Longer than 4 GiB, where the low half of the length is a short one."""
    return replace(plain, length=plain.length + (1 + wild.one % 64) * 4 * GIB)


def _around(limit: int, plain: Region, wild: _Wild) -> Region:
    """Up to a limit, or past it with what is left of the length."""
    below = 1 + wild.one % plain.length
    return replace(plain, base=limit - below, length=below if wild.other % 2 else plain.length)


def _around_4_gib(plain: Region, wild: _Wild) -> Region:
    return _around(4 * GIB, plain, wild)


def _around_the_last_address(plain: Region, wild: _Wild) -> Region:
    return _around(ADDRESS_LIMIT, plain, wild)


def _anything(plain: Region, wild: _Wild) -> Region:
    return replace(plain, base=wild.one, length=wild.other)


_SHAPES: Final[tuple[Callable[[Region, _Wild], Region], ...]] = (
    _as_it_is,
    _empty,
    _below_a_frame,
    _low,
    _high_base,
    _high_length,
    _around_4_gib,
    _around_the_last_address,
    _anything,
)
