"""Hypothesis strategies of cases and their parts.

Usage:

    @given(cases(memory_maps=memory_maps(hostile=False)))
    def test_kernel_agrees(case): ...

    @given(fault_cases())
    def test_faults_agree(case): ...
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from conformance.case.case import Case
from conformance.case.image import IMAGES, ImageId, default_image
from conformance.case.machine import Machine, every_machine
from conformance.case.memory_map import PLAIN_MAP, MemoryMap
from conformance.case.operation import choose
from conformance.case.processor import CPU_PROFILES
from conformance.case.program import SCHEDULES, Program
from conformance.case.strategies_maps import memory_maps
from conformance.case.strategies_paging import paging_programs_on
from conformance.case.strategies_programs import check_operations, places, programs, programs_at
from conformance.case.strategies_regions import regions
from conformance.case.strategies_stacks import stack_programs_of
from conformance.case.strategies_tasks import task_programs_on
from conformance.errors import InvalidArgument
from conformance.protocol import PROTOCOL

__all__ = [
    "PROBED_REGIONS",
    "TASK_REGIONS",
    "cases",
    "fault_cases",
    "guard_page_cases",
    "machines",
    "memory_maps",
    "paging_programs",
    "programs",
    "regions",
    "stack_programs",
    "task_cases",
    "task_programs",
]

PROBED_REGIONS = ("page_tables", "probe_arena")
"""The state regions that accesses and the paging structures' operations can change."""

TASK_REGIONS = ("frame_bitmap", "page_tables", "probe_arena")
"""The state regions that tasks can change."""

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
        machine: the machine of every case; by default the smallest for the image.
        image: the image of every case; by default any of the harness's own, which have to be built
            by the time a case is drawn.

    Raises:
        InvalidArgument: an argument is of another type, or the image is not for the machine.
    """
    _check("memory_maps", memory_maps, SearchStrategy)
    _check("programs", programs, SearchStrategy)
    _check("machine", machine, Machine)
    _check("image", image, ImageId)
    maps = _reported_maps if memory_maps is None else memory_maps
    _check_pair(machine, image)
    return _cases(maps, programs, machine, image)


@st.composite
def _cases(
    draw: DrawFn,
    maps: SearchStrategy[Any],
    programs: SearchStrategy[Program] | None,
    machine: Machine | None,
    image: ImageId | None,
) -> Case:
    if image is None:
        known = IMAGES if machine is None else (machine.architecture,)
        image = default_image(draw(st.sampled_from(known))).id
    reported: MemoryMap | None = draw(maps)
    if programs is None:
        programs = programs_at(places(reported), max_operations=_OPERATIONS)
    return Case(
        image=image,
        machine=Machine.smallest(image.architecture) if machine is None else machine,
        memory_map=reported,
        program=draw(programs),
    )


def machines(*, architecture: str | None = None) -> SearchStrategy[Machine]:
    """Machines with the least RAM: every processor, all of its paging modes.

    Args:
        architecture: of the images that run on them; by default any.

    Raises:
        InvalidArgument: there is no such architecture.
    """
    if architecture is not None and architecture not in IMAGES:
        raise InvalidArgument(f"no architecture {architecture!r}; known: {', '.join(IMAGES)}")
    of_i686 = st.builds(
        Machine,
        cpu_profile=st.sampled_from(CPU_PROFILES),
        paging=st.sampled_from(("legacy", "pae")),
    )
    of_x86_64 = st.sampled_from(every_machine("x86_64"))
    known = {"i686": of_i686, "x86_64": of_x86_64, None: st.one_of(of_i686, of_x86_64)}
    return known[architecture]


def paging_programs(
    *, machine: Machine | None = None, max_operations: int = _OPERATIONS
) -> SearchStrategy[Program]:
    """Programs that map pages, change them and what governs them, and provoke faults.

    Args:
        machine: what they are for; by default the simplest. On another one they run as well, but
            more operations are rejected, or less of the machine is used.
        max_operations: how many operations there are at most.

    Raises:
        InvalidArgument: an argument is of another type, or the kernel has no room for so many.
    """
    _check("machine", machine, Machine)
    check_operations(max_operations)
    return paging_programs_on(machine or Machine(), max_operations=max_operations)


def stack_programs(
    *, machine: Machine | None = None, max_operations: int = _OPERATIONS
) -> SearchStrategy[Program]:
    """Programs that take task stacks, give them back, overflow them and touch their guard pages.

    Args:
        machine: what they are for; by default the simplest. It decides where the stacks are.
        max_operations: how many operations there are at most.

    Raises:
        InvalidArgument: an argument is of another type, or the kernel has no room for so many.
    """
    _check("machine", machine, Machine)
    check_operations(max_operations)
    values = PROTOCOL.images[(machine or Machine()).architecture]
    return stack_programs_of(max_operations, values.area["stacks"])


def fault_cases(
    *, machine: Machine | None = None, image: ImageId | None = None
) -> SearchStrategy[Case]:
    """Cases of `paging_programs`, on a plain memory map.

    Args:
        machine: the machine of every case; by default any of `machines`.
        image: as in `cases`.

    Raises:
        InvalidArgument: an argument is of another type, or the image is not for the machine.
    """
    _check("machine", machine, Machine)
    _check("image", image, ImageId)
    _check_pair(machine, image)
    return _probing_cases(machine, image, stacks=False)


def guard_page_cases(
    *, machine: Machine | None = None, image: ImageId | None = None
) -> SearchStrategy[Case]:
    """Cases of `stack_programs`, on a plain memory map.

    Args:
        machine: the machine of every case; by default any of `machines`.
        image: as in `cases`.

    Raises:
        InvalidArgument: an argument is of another type, or the image is not for the machine.
    """
    _check("machine", machine, Machine)
    _check("image", image, ImageId)
    _check_pair(machine, image)
    return _probing_cases(machine, image, stacks=True)


def task_programs(
    *,
    machine: Machine | None = None,
    schedule: str | None = None,
    max_operations: int = _OPERATIONS,
) -> SearchStrategy[Program]:
    """Programs whose tasks wait for each other, and meanwhile do everything else.

    Args:
        machine: as for `paging_programs`.
        schedule: `cooperative`, `stepped` or `timer`; by default any of them.
        max_operations: about how many operations the lists of the main task and of each body have
            at most.

    Raises:
        InvalidArgument: an argument is none of these, or the kernel has no room for so many.
    """
    _check("machine", machine, Machine)
    check_operations(max_operations)
    if schedule is None:
        schedules = st.sampled_from(SCHEDULES)
        return schedules.flatmap(
            lambda each: task_programs_on(machine or Machine(), each, max_operations)
        )
    try:
        choose(schedule, SCHEDULES)
    except InvalidArgument as error:
        raise InvalidArgument(f"no schedule {schedule!r}; {error}") from None
    return task_programs_on(machine or Machine(), schedule, max_operations)


def task_cases(
    *,
    machine: Machine | None = None,
    image: ImageId | None = None,
    schedule: str | None = None,
) -> SearchStrategy[Case]:
    """Cases of `task_programs`, on a plain memory map.

    Args:
        machine: the machine of every case; by default any of `machines`.
        image: as in `cases`.
        schedule: as for `task_programs`.

    Raises:
        InvalidArgument: an argument is of another type, or no schedule, or the image is not for the
            machine.
    """
    _check("machine", machine, Machine)
    _check("image", image, ImageId)
    _check_pair(machine, image)
    task_programs(schedule=schedule)
    return _task_cases(machine, image, schedule)


@st.composite
def _task_cases(
    draw: DrawFn, machine: Machine | None, image: ImageId | None, schedule: str | None
) -> Case:
    if machine is None:
        machine = draw(machines(architecture=None if image is None else image.architecture))
    return Case(
        image=default_image(machine.architecture).id if image is None else image,
        machine=machine,
        memory_map=PLAIN_MAP,
        program=draw(task_programs(machine=machine, schedule=schedule)),
        state_regions=TASK_REGIONS,
    )


@st.composite
def _probing_cases(
    draw: DrawFn, machine: Machine | None, image: ImageId | None, *, stacks: bool
) -> Case:
    if machine is None:
        machine = draw(machines(architecture=None if image is None else image.architecture))
    program = stack_programs(machine=machine) if stacks else paging_programs(machine=machine)
    return Case(
        image=default_image(machine.architecture).id if image is None else image,
        machine=machine,
        memory_map=PLAIN_MAP,
        program=draw(program),
        state_regions=PROBED_REGIONS,
    )


def _check_pair(machine: Machine | None, image: ImageId | None) -> None:
    if machine is not None and image is not None:
        Case(image, machine)


def _check(name: str, value: Any, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        raise InvalidArgument(
            f"{name} must be a {kind.__name__} or None, got {value!r} ({type(value).__name__})"
        )
