"""The frame allocator: which frames it owns, hands out and takes back, under any memory map.

Every test runs its cases on all backends and compares each event with the oracle's
(kernel/TRACE.md). Run it with `conformance run --suite frames`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import strategies as st

from conformance import (
    Allocate,
    AllocateRun,
    Case,
    Count,
    Dump,
    Exhaust,
    Free,
    FreeAddress,
    Machine,
    MemoryMap,
    Program,
    Region,
    cases,
)
from conformance.case.image import ImageId
from conformance.pytest_plugin import DifferentialTest

# One of everything, and then the whole free set. (Generated programs also exhaust it.)
TOUR = Program(
    (
        Dump(),
        Allocate(),
        Allocate(),
        AllocateRun(count=8, alignment=4),
        AllocateRun(count=1, alignment=256),
        AllocateRun(count=1 << 16),
        Count(),
        Free(1),
        Free(1),
        Free(3),
        Allocate(),
        FreeAddress(0),
        FreeAddress(0x100001),
        FreeAddress(0x100000),
        FreeAddress(1 << 32),
        FreeAddress(1 << 36),
        Dump(),
    )
)

on_every_image = pytest.mark.usefixtures("architecture")


@on_every_image
def test_regression(
    differential_test: DifferentialTest, image_id: ImageId, regression: Case
) -> None:
    """Cases that once diverged."""
    machine = Machine.smallest(image_id.architecture)
    differential_test.check(replace(regression, image=image_id, machine=machine))


@on_every_image
def test_memory_map(
    differential_test: DifferentialTest, image_id: ImageId, named_map: MemoryMap
) -> None:
    """Memory maps of real machines, and maps that no machine should have."""
    machine = Machine.smallest(image_id.architecture)
    differential_test.check(Case(image_id, machine, named_map, TOUR))


@on_every_image
def test_exhausted(differential_test: DifferentialTest, image_id: ImageId) -> None:
    """Everything that the allocator can have, with holes, is handed out; and one frame again."""
    machine = Machine.smallest(image_id.architecture)
    sizes = (1 << 20, 5 << 30, 4096, 80 << 30)
    starts = (0x80_0000, 0x200_0000, 6 << 30, (6 << 30) + 0x2000)
    regions = tuple(map(Region, starts, sizes))
    program = Program((Exhaust(), Dump(), FreeAddress(0x200_0000), Exhaust(), Allocate()))
    differential_test.check(Case(image_id, machine, MemoryMap(regions), program))


@on_every_image
def test_generated(
    differential_test: DifferentialTest, image_id: ImageId, given_maps: tuple[MemoryMap, ...]
) -> None:
    """Generated maps and programs; programs only, where maps are given."""
    maps = st.sampled_from(given_maps) if given_maps else None
    differential_test.explore(cases(image=image_id, memory_maps=maps))
