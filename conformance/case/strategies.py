"""Hypothesis strategies of cases and their parts.

Usage:

    @given(cases(memory_maps=memory_maps(hostile=False)))
    def test_kernel_agrees(case): ...
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from conformance.case.case import Case
from conformance.case.image import ImageId, default_image
from conformance.case.machine import Machine
from conformance.case.memory_map import MemoryMap
from conformance.case.program import Program
from conformance.case.strategies_maps import memory_maps
from conformance.case.strategies_programs import places, programs, programs_at
from conformance.case.strategies_regions import regions
from conformance.errors import InvalidArgument

__all__ = ["cases", "memory_maps", "programs", "regions"]

# Most cases have a map. Branches at the ends are drawn more often than those in between.
_reported_maps: SearchStrategy[MemoryMap | None] = st.one_of(
    *[memory_maps()] * 4, st.none(), memory_maps()
)
_OPERATIONS = 12


def cases(
    *,
    memory_maps: SearchStrategy[MemoryMap] | SearchStrategy[MemoryMap | None] | None = None,
    programs: SearchStrategy[Program] | None = None,
    machine: Machine | None = None,
    image: ImageId | None = None,
) -> SearchStrategy[Case]:
    """Cases.

    Args:
        memory_maps: where the map comes from; by default any, and now and then none at all.
        programs: where the program comes from; by default any, with an eye to the map's edges.
        machine: the machine of every case; by default the smallest.
        image: the image of every case; by default the harness's own, which has to be built by the
            time a case is drawn.

    Raises:
        InvalidArgument: an argument is of another type.
    """
    checks: tuple[tuple[str, Any, type], ...] = (
        ("memory_maps", memory_maps, SearchStrategy),
        ("programs", programs, SearchStrategy),
        ("machine", machine, Machine),
        ("image", image, ImageId),
    )
    for name, value, kind in checks:
        if value is not None and not isinstance(value, kind):
            raise InvalidArgument(
                f"{name} must be a {kind.__name__} or None, got {value!r} ({type(value).__name__})"
            )
    maps = _reported_maps if memory_maps is None else memory_maps
    return _cases(maps, programs, machine or Machine(), image)


@st.composite
def _cases(
    draw: DrawFn,
    maps: SearchStrategy[Any],
    programs: SearchStrategy[Program] | None,
    machine: Machine,
    image: ImageId | None,
) -> Case:
    reported: MemoryMap | None = draw(maps)
    if programs is None:
        programs = programs_at(places(reported), max_operations=_OPERATIONS)
    return Case(
        image=default_image().id if image is None else image,
        machine=machine,
        memory_map=reported,
        program=draw(programs),
    )
