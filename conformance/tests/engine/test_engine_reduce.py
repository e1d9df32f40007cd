"""Reduction without Hypothesis: what remains is needed, and means what it meant before."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.case.case import Case
from conformance.case.image import ImageId
from conformance.case.memory_map import MemoryMap, Region
from conformance.case.program import Allocate, Count, Dump, Exhaust, Free, Operation, Program
from conformance.engine.reduce import reduce_case, without_operations

IMAGE = ImageId("i686", "0" * 64)


def case(*operations: Operation, regions: int = 0, cut: int = 0) -> Case:
    memory_map = MemoryMap(tuple(Region(number << 12, 4096) for number in range(regions)), cut)
    return Case(IMAGE, memory_map=memory_map, program=Program(operations))


def test_only_what_is_needed_remains() -> None:
    big = case(*[Allocate(), Count(), Dump()] * 8, regions=13, cut=3)

    def still_fails(smaller: Case) -> bool:
        assert smaller.memory_map is not None
        return (
            Dump() in smaller.program.operations
            and Region(7 << 12, 4096) in smaller.memory_map.regions
        )

    small = reduce_case(big, still_fails)
    assert small.program == Program((Dump(),))
    assert small.memory_map == MemoryMap((Region(7 << 12, 4096),))
    assert small.state_regions == ()


def test_a_cut_that_is_needed_stays() -> None:
    def still_fails(smaller: Case) -> bool:
        return smaller.memory_map is not None and smaller.memory_map.cut == 3

    small = reduce_case(case(Count(), regions=4, cut=3), still_fails)
    assert small.memory_map is not None
    assert small.memory_map.cut == 3
    assert small.program == Program()


def test_a_case_that_cannot_be_smaller_is_the_case_itself() -> None:
    one = case(Count(), regions=1)
    assert reduce_case(one, lambda smaller: False) == one


def test_a_case_without_a_map_keeps_having_none() -> None:
    small = reduce_case(replace(case(Count(), Dump()), memory_map=None), lambda smaller: True)
    assert small == Case(IMAGE, state_regions=())


def test_a_free_goes_with_what_it_frees() -> None:
    program = Program((Allocate(), Count(), Allocate(), Free(0), Free(2), Exhaust()))
    assert without_operations(program, 0, 1) == Program((Count(), Allocate(), Free(1), Exhaust()))
    assert without_operations(program, 1, 2) == Program(
        (Allocate(), Allocate(), Free(0), Free(1), Exhaust())
    )


def test_a_free_of_a_free_that_went_goes_as_well() -> None:
    assert without_operations(Program((Allocate(), Free(0), Free(1))), 0, 1) == Program()


PROGRAMS = st.lists(
    st.one_of(st.just(Allocate()), st.just(Count()), st.integers(0, 12).map(Free)), max_size=10
).map(lambda operations: Program(tuple(operations)))


@given(PROGRAMS, st.integers(0, 10), st.integers(0, 10))
@settings(max_examples=300, deadline=None)
def test_references_still_mean_the_same_operation(program: Program, one: int, other: int) -> None:
    start, end = sorted((one, other))
    tagged = list(enumerate(program.operations))
    smaller = without_operations(program, start, end)
    # Which of the old operations each new one is: dropped are the range, and each backward `free`
    # of something that was dropped.
    origin: list[int] = []
    for number, operation in tagged:
        dropped = start <= number < end
        if isinstance(operation, Free) and operation.operation < number:
            dropped = dropped or operation.operation not in origin
        if not dropped:
            origin.append(number)
    assert len(smaller.operations) == len(origin)
    for new, (number, operation) in enumerate(zip(origin, smaller.operations, strict=True)):
        before = program.operations[number]
        if isinstance(before, Free) and before.operation < number:
            assert isinstance(operation, Free)
            assert operation.operation < new
            assert origin[operation.operation] == before.operation
        else:
            assert operation == before
            if isinstance(operation, Free):
                # It names itself, or something later: there was nothing to free, and still is not.
                assert operation.operation >= new


@given(PROGRAMS)
@settings(max_examples=50, deadline=None)
def test_each_single_operation_can_be_reached(program: Program) -> None:
    for wanted in (Allocate(), Count()):
        if wanted in program.operations:
            small = reduce_case(
                Case(IMAGE, program=program),
                lambda smaller, wanted=wanted: wanted in smaller.program.operations,
            )
            assert small.program == Program((wanted,))
