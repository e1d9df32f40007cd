"""Hypothesis strategies of memory maps: those of real machines, and hostile ones.

A real map is one drawing in which each part is there or not; a hostile one is a harmless one that a
few mutations were done to. A failing map shrinks part by part and mutation by mutation, down to one
frame at 16 MiB where that is enough to fail.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from conformance.case.memory_map import ADDRESS_LIMIT, ENTRY_SIZE, MemoryMap, Region, RegionType
from conformance.case.strategies_regions import (
    FEW_FRAMES,
    FRAME,
    GIB,
    MIB,
    ODD_BYTES,
    check_hostile,
    draw_several,
    hostile_regions,
    plain_regions,
)
from conformance.errors import InvalidArgument
from conformance.protocol import PROTOCOL

__all__ = ["memory_maps"]

_MAP_BYTES: Final = PROTOCOL.boot["memory_map_limit"]
_MAP_REGIONS: Final = _MAP_BYTES // (4 + ENTRY_SIZE)

_bits = st.booleans()
_ram_mib = st.one_of(st.integers(4, 64), st.integers(4, 3584))
_high_mib = st.one_of(st.integers(1, 1024), st.integers(1, 64 * 1024), st.integers(1, 2 * MIB))
_distances = st.sampled_from((0, 0, FRAME, 0x400, 0xFFF, 0x1_0000, MIB, 16 * MIB))
_cuts = st.sampled_from((*(0,) * 20, 1, 4, 19, 20, 24, 25, 48))
_entry_sizes = st.sampled_from((24, 0, 19, 21, 64, 0xFFFF_FFFC, 0xFFFF_FFFF))


def memory_maps(
    *, min_regions: int = 0, max_regions: int = 24, hostile: bool | None = None
) -> SearchStrategy[MemoryMap]:
    """Memory maps.

    Args:
        min_regions: how many regions there are at least.
        max_regions: and at most.
        hostile: True for maps that no firmware should report (a few come out harmless all the
            same), False for sorted, disjoint ones like those of real machines, None for both.

    Raises:
        InvalidArgument: there is no such map, or it would not fit into the loader's memory.
    """
    for name, value in (("min_regions", min_regions), ("max_regions", max_regions)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidArgument(f"{name} must be an integer, got {value!r}")
        if not 0 <= value <= _MAP_REGIONS:
            raise InvalidArgument(f"{name}={value} is outside [0, {_MAP_REGIONS}]")
    if min_regions > max_regions:
        raise InvalidArgument(f"min_regions={min_regions} is above max_regions={max_regions}")
    check_hostile(hostile)
    plain = _plain_maps(min_regions, max_regions)
    real = _real_maps(min_regions, max_regions)
    harmless = st.one_of(plain, real)
    wild = _wild_maps(min_regions, max_regions)
    mutated = _mutated_maps(st.one_of(plain, real, wild), min_regions, max_regions)
    if hostile is None:
        # A branch that is listed twice is drawn twice as often; the first is what maps shrink to.
        return st.one_of(plain, real, real, mutated, mutated)
    return mutated if hostile else harmless


@st.composite
def _plain_maps(draw: DrawFn, least: int, most: int) -> MemoryMap:
    return MemoryMap(tuple(_append(draw, [], least, _usual(least, most))))


@st.composite
def _wild_maps(draw: DrawFn, least: int, most: int) -> MemoryMap:
    return MemoryMap(tuple(draw_several(draw, hostile_regions(), least, _usual(least, most))))


def _usual(least: int, most: int) -> int:
    """Few: a map that shrinks is drawn again in a simpler way, with no more choices than it had."""
    return min(most, max(least + 6, most // 4))


@st.composite
def _pieces(draw: DrawFn) -> tuple[int, Region]:
    return draw(_distances), draw(plain_regions())


def _append(draw: DrawFn, found: list[Region], least: int, most: int) -> list[Region]:
    """The regions and more of them, each at a distance from the end of what comes before."""
    placed = list(found)
    for distance, piece in draw_several(draw, _pieces(), least, most):
        base = placed[-1].end + distance if placed else piece.base
        placed.append(replace(piece, base=base))
    return placed


@st.composite
def _real_maps(draw: DrawFn, least: int, most: int) -> MemoryMap:
    found = [*_below_1_mib(draw), *_main_memory(draw), *_below_4_gib(draw), *_above_4_gib(draw)]
    found = [region for region in found if region.length][:most]
    missing = max(0, least - len(found))
    return MemoryMap(tuple(_append(draw, found, missing, missing)))


def _below_1_mib(draw: DrawFn) -> list[Region]:
    start = draw(st.sampled_from((0, FRAME)))
    end = draw(st.sampled_from((0x9FC00, 0xA0000, 0x9F000, 0x9D800, 0x93C00, 0x58000)))
    bios = draw(st.sampled_from((0xF0000, 0xE0000, 0xE8000, 0xC0000)))
    base_memory, extended_data_area, has_bios = draw(_bits), draw(_bits), draw(_bits)
    return [
        Region(start, (end - start) * base_memory),
        Region(end, (0xA0000 - end) * extended_data_area, RegionType.RESERVED),
        Region(bios, (MIB - bios) * has_bios, RegionType.RESERVED),
    ]


def _main_memory(draw: DrawFn) -> list[Region]:
    has_memory, isa_hole = draw(_bits), draw(_bits)
    top = draw(_ram_mib) * MIB - draw(FEW_FRAMES) * FRAME - draw(ODD_BYTES)
    if isa_hole and top > 17 * MIB:
        found = [Region(MIB, 14 * MIB), Region(16 * MIB, top - 16 * MIB)]
    else:
        found = [Region(MIB, top - MIB)]
    # What the firmware keeps for itself at the top, cut into pieces of all types.
    found = _append(draw, found, 0, 6)
    return found if has_memory else []


def _below_4_gib(draw: DrawFn) -> list[Region]:
    devices = (
        (0xF000_0000, 0x0400_0000),  # PCI configuration space
        (0xFEC0_0000, 0x1000),  # I/O APIC
        (0xFED1_C000, 0x4000),  # chip set
        (0xFEE0_0000, 0x1000),  # local APIC
        (0xFFC0_0000, 0x40_0000),  # firmware
    )
    return [Region(base, length * draw(_bits), RegionType.RESERVED) for base, length in devices]


def _above_4_gib(draw: DrawFn) -> list[Region]:
    start = 4 * GIB + draw(st.sampled_from((0, FRAME, 0x1_0000)))
    length = draw(_high_mib) * MIB
    tail = draw(st.integers(1, 1024)) * FRAME
    has_memory, has_tail = draw(_bits), draw(_bits)
    return [
        Region(start, length * has_memory),
        Region(start + length, tail * has_tail, RegionType.RESERVED),
    ]


@dataclass(frozen=True, slots=True)
class _Mutation:
    """What to do, to which region and where to (both modulo what there is), and with what."""

    kind: str
    at: int
    to: int
    odd: int
    region: Region
    entry_size: int


_mutations = st.builds(
    _Mutation,
    st.sampled_from(
        (
            "insert",
            "insert",
            "claim size",
            "duplicate",
            "move",
            "overlap",
            "overlap",
            "overlap",
            "halve",
            "high twin",
            "shift",
            "retype",
            "go round",
            "go round",
            "claim size",
        )
    ),
    st.integers(0, 63),
    st.integers(0, 63),
    ODD_BYTES,
    hostile_regions(),
    _entry_sizes,
)


def _mutate(found: list[Region], mutation: _Mutation) -> None:
    at, to = mutation.at % max(1, len(found)), mutation.to % (len(found) + 1)
    if mutation.kind == "insert" or not found:
        found.insert(to, mutation.region)
        return
    old = found[at]
    if mutation.kind == "duplicate":
        found.insert(to, old)
    elif mutation.kind == "move":
        found.insert(to, found.pop(at))
    elif mutation.kind == "overlap":
        base = old.base + min(old.length // 2, 4 * FRAME) + mutation.odd
        found.insert(to, replace(mutation.region, base=base % ADDRESS_LIMIT))
    elif mutation.kind == "halve":  # in the middle of a frame: neither half has that frame
        middle = min(mutation.to % 4 * FRAME + (mutation.odd or FRAME // 2), old.length)
        rest = (old.base + middle) % ADDRESS_LIMIT
        found[at : at + 1] = [
            replace(old, length=middle),
            replace(old, base=rest, length=old.length - middle),
        ]
    elif mutation.kind == "high twin":
        base = (old.base + (1 + mutation.to) * 4 * GIB) % ADDRESS_LIMIT
        found.append(replace(old, base=base, type=mutation.region.type))
    elif mutation.kind == "shift":
        found[at] = replace(old, base=min(old.base + (mutation.odd or 1), ADDRESS_LIMIT - 1))
    elif mutation.kind == "go round":  # past the last address, to end just below where it began
        found[at] = replace(old, length=ADDRESS_LIMIT - 1 - mutation.odd)
    elif mutation.kind == "retype":
        found[at] = replace(old, type=mutation.region.type)
    else:
        assert mutation.kind == "claim size", mutation.kind
        found[at] = replace(old, entry_size=mutation.entry_size)


@st.composite
def _mutated_maps(
    draw: DrawFn, maps: SearchStrategy[MemoryMap], least: int, most: int
) -> MemoryMap:
    found = list(draw(maps).regions)
    for mutation in draw_several(draw, _mutations, 0, 4):
        _mutate(found, mutation)
    found = found[:most]
    if sum(len(region.encode()) for region in found) > _MAP_BYTES:
        found = [replace(region, entry_size=ENTRY_SIZE) for region in found]
    size = sum(len(region.encode()) for region in found)
    assert len(found) >= least, "no mutation takes a region away"
    return MemoryMap(tuple(found), min(draw(_cuts), size))
