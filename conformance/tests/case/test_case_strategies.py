"""Strategies: what they draw is valid, reaches the odd corners, and shrinks to little."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategy_values import reach, reached

from conformance.case.case import Case
from conformance.case.image import Image, ImageId
from conformance.case.machine import Machine
from conformance.case.memory_map import ADDRESS_LIMIT, MemoryMap, Region, RegionType
from conformance.case.payload import encode_payload
from conformance.case.program import (
    Allocate,
    AllocateRun,
    Count,
    Exhaust,
    Free,
    FreeAddress,
    Operation,
    Program,
)
from conformance.case.strategies import cases, memory_maps, programs, regions
from conformance.errors import InvalidArgument
from conformance.protocol import PROTOCOL

IMAGE = ImageId("i686", "0" * 64)
GIB = 1 << 30
ONE_FRAME = Region(16 << 20, 0x1000)


def available(region: Region) -> bool:
    return region.type == RegionType.AVAILABLE


def whole_frames(region: Region) -> int:
    return max(0, region.end // 4096 - -(-region.base // 4096))


def usable(memory_map: MemoryMap | None) -> bool:
    found = () if memory_map is None else memory_map.regions
    return any(available(region) and whole_frames(region) for region in found)


def tidy(memory_map: MemoryMap) -> bool:
    """Sorted, disjoint, plain entries, inside of the address space."""
    found = memory_map.regions
    return (
        all(one.end <= other.base for one, other in pairwise(found))
        and all(one.length and not one.wraps and one.entry_size == 20 for one in found)
        and not memory_map.cut
    )


def pairs(memory_map: MemoryMap) -> list[tuple[Region, Region]]:
    found = memory_map.regions
    return [(one, other) for i, one in enumerate(found) for other in found[i + 1 :]]


# Without any health check left out, so that slow or wasteful strategies fail here.
@settings(max_examples=200, suppress_health_check=[])
@given(cases(image=IMAGE))
def test_every_case_is_valid_and_fits_into_the_loaders_memory(case: Case) -> None:
    assert case.machine == Machine()
    assert len(case.program.operations) <= 12
    assert sum(isinstance(one, Exhaust) for one in case.program.operations) <= 1
    assert len(encode_payload(case)) <= PROTOCOL.boot["payload_limit"]


@given(st.data(), st.integers(0, 30), st.integers(0, 30), st.sampled_from((None, True, False)))
def test_the_number_of_regions_is_as_asked(
    data: st.DataObject, one: int, other: int, hostile: bool | None
) -> None:
    low, high = sorted((one, other))
    drawn = data.draw(memory_maps(min_regions=low, max_regions=high, hostile=hostile))
    assert low <= len(drawn.regions) <= high


@settings(max_examples=20)
@given(st.data(), st.sampled_from((True, False)))
def test_the_largest_maps_fit_as_well(data: st.DataObject, hostile: bool) -> None:
    limit = PROTOCOL.boot["memory_map_limit"]
    largest = limit // 24
    strategy = memory_maps(min_regions=largest, max_regions=largest, hostile=hostile)
    drawn = data.draw(strategy)
    assert len(drawn.regions) == largest
    assert len(drawn.encode()) <= limit
    assert hostile or tidy(drawn)


@given(memory_maps(hostile=False))
def test_a_map_that_is_not_hostile_is_tidy(memory_map: MemoryMap) -> None:
    assert tidy(memory_map)


@given(regions(hostile=False))
def test_a_region_that_is_not_hostile_is_ordinary(region: Region) -> None:
    assert tidy(MemoryMap((region,)))


@given(
    st.integers(0, 20).flatmap(lambda most: st.tuples(st.just(most), programs(max_operations=most)))
)
def test_a_program_is_no_longer_than_asked(drawn: tuple[int, Program]) -> None:
    most, program = drawn
    assert len(program.operations) <= most


MAP_FEATURES: dict[str, Callable[[MemoryMap], Any]] = {
    "empty map": lambda m: not m.regions,
    "tidy, many": lambda m: tidy(m) and len(m.regions) > 12,
    "base memory to 0x9fc00": lambda m: tidy(m) and Region(0, 0x9FC00) in m.regions,
    "base memory ends elsewhere": lambda m: tidy(m) and Region(0, 0x9D800) in m.regions,
    "RAM end off a frame": lambda m: (
        tidy(m) and any(r.base == 1 << 20 and available(r) and r.end % 4096 for r in m.regions)
    ),
    "few MiB": lambda m: tidy(m) and 0 < sum(r.length for r in m.regions if available(r)) < 8 << 20,
    "over 64 GiB": lambda m: tidy(m) and sum(map(whole_frames, m.regions)) > 64 << 18,
    "firmware's own": lambda m: (
        tidy(m)
        and {RegionType.ACPI_NVS, RegionType.ACPI_RECLAIMABLE} <= {r.type for r in m.regions}
    ),
    "unsorted": lambda m: any(one.base > other.base for one, other in pairs(m)),
    "overlapping": lambda m: any(
        max(one.base, other.base) < min(one.end, other.end) and available(one) != available(other)
        for one, other in pairs(m)
    ),
    "adjacent": lambda m: any(
        one.end == other.base and available(one) and available(other) for one, other in pairs(m)
    ),
    "two halves of a frame": lambda m: any(
        one.end == other.base and one.end % 4096 and available(one) and available(other)
        for one, other in pairs(m)
        if one.length and other.length
    ),
    "duplicated": lambda m: any(one == other for one, other in pairs(m)),
    "empty region": lambda m: any(not r.length for r in m.regions),
    "wrapping": lambda m: any(r.wraps for r in m.regions),
    "up to 2^64": lambda m: any(r.end == ADDRESS_LIMIT for r in m.regions),
    "above 4 GiB": lambda m: any(r.base >= 4 * GIB and available(r) for r in m.regions),
    "low halves look low": lambda m: any(
        r.base > 4 * GIB and available(r) and 16 << 20 <= r.base % (4 * GIB) < 32 << 20
        for r in m.regions
    ),
    "long, with a short low half": lambda m: any(
        r.length > 4 * GIB and r.length % (4 * GIB) < 4 << 20 for r in m.regions
    ),
    "straddling 4 GiB": lambda m: any(
        r.base < 4 * GIB < r.end <= 5 * GIB and available(r) for r in m.regions
    ),
    "unknown type": lambda m: any(r.type > 7 for r in m.regions),
    "type whose low byte is 1": lambda m: any(r.type > 7 and r.type % 256 == 1 for r in m.regions),
    **{
        f"entry size {size:#x}": lambda m, size=size: any(r.entry_size == size for r in m.regions)
        for size in (24, 19, 0, 0xFFFFFFFF)
    },
    "cut": lambda m: m.cut,
    "ends in the middle of a frame": lambda m: any(
        available(r) and not r.base % 4096 and r.end % 4096 for r in m.regions
    ),
    "naive rounding is off by one": lambda m: any(
        available(r) and 0 < whole_frames(r) < r.length // 4096 for r in m.regions
    ),
    "below a frame": lambda m: any(0 < r.length < 4096 for r in m.regions),
    "on the kernel": lambda m: any(
        not available(r) and 1 << 20 <= r.base < 3 << 20 for r in m.regions
    ),
}

PROGRAM_FEATURES: dict[str, Callable[[tuple[Operation, ...]], Any]] = {
    "frees what it got": lambda ops: any(
        isinstance(one, Free)
        and one.operation < number
        and isinstance(ops[one.operation], AllocateRun)
        for number, one in enumerate(ops)
    ),
    "frees twice": lambda ops: any(
        isinstance(one, Free) and ops.count(one) > 1 and one.operation < ops.index(one)
        for one in ops
    ),
    "frees what comes later": lambda ops: any(
        isinstance(one, Free) and one.operation >= number for number, one in enumerate(ops)
    ),
    "wrong alignment": lambda ops: any(
        isinstance(one, AllocateRun) and one.alignment & (one.alignment - 1) for one in ops
    ),
    "alignment 0": lambda ops: any(
        isinstance(one, AllocateRun) and not one.alignment for one in ops
    ),
    "large alignment": lambda ops: any(
        isinstance(one, AllocateRun) and one.alignment == 1024 for one in ops
    ),
    "no frames": lambda ops: any(isinstance(one, AllocateRun) and not one.count for one in ops),
    "exhausts, then goes on": lambda ops: any(isinstance(one, Exhaust) for one in ops[:-2]),
    **{
        name: lambda ops, test=test: any(
            isinstance(one, FreeAddress) and test(one.address) for one in ops
        )
        for name, test in {
            "frees a kernel frame": lambda address: 1 << 20 <= address < 3 << 20,
            "frees the plain region": lambda address: address == ONE_FRAME.base,
            "frees off a frame": lambda address: address % 4096,
            "frees at 4 GiB or above": lambda address: address >= 4 * GIB and not address % 4096,
            "frees at the very end": lambda address: address == ADDRESS_LIMIT - 4096,
            "frees frame 0": lambda address: address == 0,
        }.items()
    },
}


@pytest.fixture(scope="module")
def features_of_maps() -> set[str]:
    return reached(memory_maps(), MAP_FEATURES)


@pytest.fixture(scope="module")
def features_of_programs() -> set[str]:
    return reached(programs().map(lambda program: program.operations), PROGRAM_FEATURES)


@pytest.mark.parametrize("feature", MAP_FEATURES)
def test_memory_maps_reach(feature: str, features_of_maps: set[str]) -> None:
    assert feature in features_of_maps


@pytest.mark.parametrize("feature", PROGRAM_FEATURES)
def test_programs_reach(feature: str, features_of_programs: set[str]) -> None:
    assert feature in features_of_programs


def test_cases_reach_no_map_at_all_and_addresses_of_their_map() -> None:
    assert reach(cases(image=IMAGE), lambda case: case.memory_map is None, shrink=False)

    def frees_an_edge(case: Case) -> bool:
        found = () if case.memory_map is None else case.memory_map.regions
        edges = {(r.end - 1) // 4096 * 4096 for r in found if 32 << 20 < r.end < 4 * GIB}
        return any(FreeAddress(edge) in case.program.operations for edge in edges)

    assert reach(cases(image=IMAGE), frees_an_edge, shrink=False)


@pytest.mark.parametrize("hostile", [None, True, False])
def test_a_map_shrinks_to_one_frame_in_a_plain_place(hostile: bool | None) -> None:
    found = reach(
        memory_maps(hostile=hostile), lambda m: any(map(available, m.regions)), shrink=True
    )
    assert found == MemoryMap((ONE_FRAME,))


@pytest.mark.parametrize(
    ("feature", "most"),
    [
        ("naive rounding is off by one", 2),
        ("wrapping", 1),
        ("above 4 GiB", 1),
        ("overlapping", 2),
        ("duplicated", 2),
        ("two halves of a frame", 2),
        ("entry size 0x18", 1),
        ("cut", 1),
    ],
)
def test_a_map_with_one_oddity_shrinks_to_little_else(feature: str, most: int) -> None:
    assert len(reach(memory_maps(), MAP_FEATURES[feature], shrink=True).regions) <= most


def test_programs_shrink_to_the_operations_that_matter() -> None:
    def find_program(feature: str) -> Program:
        condition = PROGRAM_FEATURES[feature]
        found: Program = reach(programs(), lambda p: condition(p.operations), shrink=True)
        return found

    assert find_program("frees what it got") == Program((AllocateRun(1, 1), Free(0)))
    assert find_program("frees twice") == Program((Allocate(), Free(0), Free(0)))
    assert find_program("alignment 0") == Program((AllocateRun(1, 0),))
    assert find_program("frees at the very end") == Program((FreeAddress(ADDRESS_LIMIT - 4096),))


def test_a_case_shrinks_to_a_small_map_and_a_short_program() -> None:
    def fails(case: Case) -> bool:
        return usable(case.memory_map) and Allocate() in case.program.operations

    found = reach(cases(image=IMAGE), fails, shrink=True)
    assert found == Case(IMAGE, memory_map=MemoryMap((ONE_FRAME,)), program=Program((Allocate(),)))


def test_parts_of_a_case_can_be_given() -> None:
    machine = Machine(ram_mib=64)
    strategy = cases(
        memory_maps=st.none(), programs=st.just(Program((Count(),))), machine=machine, image=IMAGE
    )
    assert reach(strategy, lambda _: True, shrink=False) == Case(
        IMAGE, machine, None, Program((Count(),))
    )


def test_the_default_image_is_looked_up_only_when_a_case_is_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    class Built:
        id = IMAGE

    def default_image(name: str) -> Image:
        asked.append(name)
        return Built()  # type: ignore[return-value]

    monkeypatch.setattr("conformance.case.strategies.default_image", default_image)
    strategy = cases()
    assert not asked
    assert reach(strategy, lambda case: case.image == IMAGE, shrink=False)
    assert asked


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: memory_maps(min_regions=3, max_regions=2), "min_regions=3 is above max_regions=2"),
        (lambda: memory_maps(min_regions=-1), "min_regions=-1 is outside"),
        (lambda: memory_maps(max_regions=2561), r"max_regions=2561 is outside \[0, 2560\]"),
        (lambda: memory_maps(max_regions=1.5), "max_regions must be an integer, got 1.5"),
        (lambda: memory_maps(hostile="yes"), "hostile must be True, False or None, got 'yes'"),
        (lambda: regions(hostile=1), "hostile must be True, False or None, got 1"),
        (lambda: programs(max_operations=-1), "max_operations=-1 is outside"),
        (lambda: programs(max_operations=1025), "max_operations=1025 is outside"),
        (lambda: programs(max_operations=None), "max_operations must be an integer, got None"),
        (lambda: cases(memory_maps=MemoryMap()), "memory_maps must be a SearchStrategy or None"),
        (lambda: cases(programs=programs), "programs must be a SearchStrategy or None"),
        (lambda: cases(machine=16), r"machine must be a Machine or None, got 16 \(int\)"),
        (lambda: cases(image="i686"), r"image must be a ImageId or None, got 'i686' \(str\)"),
    ],
)
def test_an_impossible_argument_is_refused_at_once(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        call()
