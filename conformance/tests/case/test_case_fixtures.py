"""The maps that come with the harness: each loads, says where it is from, and is what it says."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from conformance.case.case import Case
from conformance.case.fixtures import load_fixture, map_names
from conformance.case.image import ImageId
from conformance.case.map_file import dump_map, load_map
from conformance.case.memory_map import ADDRESS_LIMIT, MemoryMap, RegionType
from conformance.errors import InvalidInput
from conformance.resources import resource

PATHOLOGICAL = "pathological"
REAL = [name for name in map_names() if not name.startswith(PATHOLOGICAL)]


def usable_frames(memory_map: MemoryMap) -> set[int]:
    """The frames from 16 MiB to 64 MiB that may be handed out, as sets of frames."""
    window = {*range(0x1000, 0x4000)}
    whole: set[int] = set()
    touched: set[int] = set()
    for region in memory_map.regions:
        base, end = min(region.base, 0x4000000), min(region.end, ADDRESS_LIMIT, 0x4000000)
        if region.type == RegionType.AVAILABLE:
            whole |= {*range((base + 0xFFF) // 0x1000, end // 0x1000)}
        elif region.length:
            touched |= {*range(base // 0x1000, (end + 0xFFF) // 0x1000)}
    return (whole - touched) & window


def test_there_are_both_real_and_pathological_maps() -> None:
    assert len(REAL) >= 25
    assert len(set(map_names()) - set(REAL)) >= 12
    assert list(map_names()) == sorted(map_names())


@pytest.mark.parametrize("name", map_names())
def test_every_map_is_sound(name: str) -> None:
    named = load_fixture(name)
    assert named.name == name
    assert named.source
    assert named.description
    assert (named.kind == PATHOLOGICAL) == name.startswith(PATHOLOGICAL)
    Case(ImageId("i686", ""), memory_map=named.memory_map)  # it fits into the loader's memory
    for form in ("toml", "json"):
        assert load_map(dump_map(named, form=form), form=form) == named


@pytest.mark.parametrize("name", map_names())
def test_every_file_is_the_canonical_text_of_its_map(name: str) -> None:
    text = (resource("fixtures/memory_maps") / f"{name}.toml").read_text(encoding="utf-8")
    assert dump_map(load_fixture(name)) == text


@pytest.mark.parametrize("name", REAL)
def test_a_real_map_is_one_that_linux_prints(name: str) -> None:
    named = load_fixture(name)
    assert re.match(r"https://|github:|[A-Z]", named.source)
    regions = named.memory_map.regions
    assert RegionType.AVAILABLE in {region.type for region in regions}
    assert all(region.length and not region.wraps for region in regions)
    assert all(one.end <= next_.base for one, next_ in pairwise(regions))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("partial-first-frame", {*range(0x1001, 0x1010)}),
        ("partial-last-frame", {*range(0x1000, 0x1010)}),
        ("high-halves", {*range(0x1000, 0x1100)}),
        ("straddles-4-gib", {*range(0x1000, 0x1100)}),
        ("wraps-2-64", {*range(0x1000, 0x1100)}),
        ("available-wraps-2-64", {*range(0x1000, 0x4000)}),
        (
            "overlapping-available-reserved",
            {*range(0x1000, 0x1100)} - {0x1004, 0x1005, 0x1006, 0x1010, 0x10FF},
        ),
        ("duplicates", {*range(0x1000, 0x1100)}),
        ("unsorted", {*range(0x1000, 0x1100), *range(0x3000, 0x3100)}),
        ("empty-map", set()),
        ("only-reserved", set()),
        ("empty-regions", {*range(0x1000, 0x1010)}),
        (
            "hundreds-of-entries",
            {
                0x1000 + 8 * island + frame
                for island in range(200)
                for frame in range(1 + island % 4)
            },
        ),
        ("entry-size-24", {*range(0x1000, 0x1100)}),
        (
            "entry-size-mixed",
            {*range(0x1000, 0x1100), *range(0x2000, 0x2100), *range(0x3000, 0x3100)},
        ),
        (
            "unknown-types",
            {frame for frame in range(0x1000, 0x1100) if frame % 16 >= 4 or frame >= 0x1090},
        ),
        ("split-frame", {*range(0x1000, 0x1010)} - {0x1004}),
    ],
)
def test_a_pathological_map_has_the_usable_frames_that_it_says(
    name: str, expected: set[int]
) -> None:
    assert usable_frames(load_fixture(f"{PATHOLOGICAL}-{name}").memory_map) == expected


def test_the_pathological_maps_show_what_they_are_named_after() -> None:
    maps = {
        name.removeprefix(f"{PATHOLOGICAL}-"): load_fixture(name).memory_map
        for name in map_names()
        if name not in REAL
    }
    assert any(region.wraps for region in maps["wraps-2-64"].regions)
    (all_of_memory,) = maps["available-wraps-2-64"].regions
    assert all_of_memory.end % ADDRESS_LIMIT < all_of_memory.base
    assert any(
        region.base < 1 << 32 < region.end < ADDRESS_LIMIT
        for region in maps["straddles-4-gib"].regions
    )
    assert len(maps["hundreds-of-entries"].regions) == 400
    assert {region.entry_size for region in maps["entry-size-24"].regions} == {24}
    assert {region.entry_size for region in maps["entry-size-small"].regions} == {20, 16}
    assert maps["cut-short"].cut == 4
    assert maps["empty-map"] == MemoryMap()


def test_an_unknown_map_is_answered_with_close_ones() -> None:
    with pytest.raises(InvalidInput, match=r"no memory map 'pathological-splitframe' among \d+"):
        load_fixture("pathological-splitframe")
    with pytest.raises(InvalidInput, match=r"close: pathological-split-frame.*maps list"):
        load_fixture("pathological-splitframe")
    with pytest.raises(InvalidInput, match=r"'\.\./x' among"):
        load_fixture("../x")
