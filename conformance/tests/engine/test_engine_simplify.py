"""Which of two cases is the simpler one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.case.case import Case
from conformance.case.image import ImageId
from conformance.case.machine import Machine
from conformance.case.memory_map import MemoryMap, Region
from conformance.case.program import Count, Operation, Probe, Program, Segment, Unmap
from conformance.engine.simplify import case_rank

ADDRESS = 0x40000000


def case(*operations: Operation, regions: int = 1, stacks: int = 0) -> Case:
    reported = MemoryMap(tuple(Region(0x100000, 0x1000) for _ in range(regions)))
    return Case(
        ImageId("i686", "0" * 64),
        memory_map=reported,
        program=Program(operations, stacks=stacks),
    )


def scheduled(schedule: str, quantum: int) -> Case:
    plain = case(Count())
    return replace(plain, program=replace(plain.program, schedule=schedule, quantum=quantum))


@pytest.mark.parametrize(
    ("simpler", "other"),
    [
        (case(Count(), regions=1), case(regions=2)),
        (case(Probe(ADDRESS + 1, "write", 1, 3)), case(Count(), Count())),
        (case(Count()), replace(case(Count()), machine=Machine(paging="pae"))),
        (case(Count()), case(Count(), stacks=1)),
        (case(Probe(ADDRESS)), case(Probe(ADDRESS + 1))),
        (case(Count()), scheduled("stepped", 100)),
        (scheduled("stepped", 100), scheduled("timer", 100)),
        (scheduled("stepped", 100), scheduled("stepped", 1)),
        (scheduled("stepped", 1), scheduled("stepped", 2)),
        # An operand's default is the simplest, however large its number is.
        (case(Unmap(ADDRESS, invalidate=True)), case(Unmap(ADDRESS, invalidate=False))),
        (case(Segment("fs", 0)), case(Segment("fs", 0, limit=0))),
    ],
)
def test_the_simpler_case_has_the_lower_rank(simpler: Case, other: Case) -> None:
    assert case_rank(simpler) < case_rank(other)
