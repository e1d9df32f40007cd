"""Reduction without Hypothesis: what remains is needed, and means what it meant before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.case.case import Case
from conformance.case.image import ImageId
from conformance.case.machine import Machine
from conformance.case.memory_map import MemoryMap, Region
from conformance.case.program import (
    SCHEDULES,
    Allocate,
    Block,
    Body,
    Count,
    Dump,
    Exhaust,
    Free,
    Join,
    Map,
    Operation,
    Overflow,
    Probe,
    Program,
    Protect,
    Rights,
    Segment,
    Spawn,
    StackAllocate,
    StackFree,
    Wake,
    WriteEntry,
)
from conformance.case.strategies import fault_cases, guard_page_cases
from conformance.engine.reduce import reduce_case, without_operations
from conformance.engine.simplify import case_rank, lower, simpler_operations
from conformance.protocol import PROTOCOL

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


def test_what_refers_to_a_stack_goes_with_it_and_is_renumbered() -> None:
    program = Program(
        (
            StackAllocate(),
            StackAllocate(),
            Overflow(0, "push"),
            Overflow(1, "array", 8),
            StackFree(1),
        ),
        stacks=9,
    )
    assert without_operations(program, 0, 1) == Program(
        (StackAllocate(), Overflow(0, "array", 8), StackFree(0)), stacks=9
    )


TASKS = Program(
    (Spawn(0), Spawn(1), Spawn(2), Wake(1), Body(), Count(), Body(), Block(), Join(0)), 3
)


def test_a_body_goes_with_who_spawned_it_and_the_others_are_renumbered() -> None:
    assert without_operations(TASKS, 4, 6) == Program(
        (Spawn(0), Spawn(2), Wake(0), Body(), Block()), 3
    )
    assert without_operations(TASKS, 6, 9) == Program((Spawn(0), Spawn(2), Body(), Count()), 3)


def test_a_marker_that_goes_leaves_its_operations_to_the_body_before() -> None:
    assert without_operations(TASKS, 6, 7) == Program(
        (Spawn(0), Spawn(2), Body(), Count(), Block(), Join(0)), 3
    )
    assert without_operations(TASKS, 4, 5) == Program(
        (Spawn(0), Spawn(2), Wake(0), Count(), Body(), Block()), 3
    )


def test_a_body_that_there_is_not_stays_one_that_there_is_not() -> None:
    kept = without_operations(TASKS, 4, 7).operations
    assert [one for one in kept if isinstance(one, Spawn)] == [Spawn(2)]
    assert Body() not in kept


@given(st.sampled_from(SCHEDULES), st.integers(1, 300), st.integers(1, 300), st.booleans())
@settings(max_examples=50)
def test_the_schedule_becomes_as_simple_as_the_cause_allows(
    schedule: str, some: int, other: int, priorities: bool
) -> None:
    needed, quantum = sorted((some, other))

    def still_fails(smaller: Case) -> bool:
        program = smaller.program
        return (
            SCHEDULES.index(program.schedule) >= SCHEDULES.index(schedule)
            and (program.quantum == 100 or program.quantum >= needed)
            and (program.priorities or not priorities)
        )

    big = Case(IMAGE, program=Program((), 0, "timer", quantum, priorities=True))
    small = reduce_case(big, still_fails).program
    assert (small.schedule, small.quantum, small.priorities) == (schedule, 100, priorities)


def test_a_quantum_that_must_not_be_the_default_becomes_small() -> None:
    big = Case(IMAGE, program=Program((), 0, "stepped", 977))
    assert reduce_case(big, lambda one: one.program.quantum > 128).program.quantum == 129


PROBE = PROTOCOL.area["probe"]
SLOT = PROTOCOL.constants["probe_slot_size"]
BIG_MACHINE = Machine(ram_mib=64, cpu_profile="broadwell", paging="pae")


def reduced(still_fails: Callable[[Case], bool], *operations: Operation, stacks: int = 0) -> Case:
    program = Program(operations, stacks)
    return reduce_case(Case(IMAGE, BIG_MACHINE, program=program), still_fails)


def test_a_machine_becomes_as_simple_as_the_cause_allows() -> None:
    assert reduced(lambda smaller: True, Count()).machine == Machine()
    for needed in (
        Machine(paging="pae"),
        Machine(cpu_profile="core2duo"),
        Machine(cpu_profile="broadwell"),
        Machine(ram_mib=64),
    ):

        def still_fails(smaller: Case, needed: Machine = needed) -> bool:
            machine = smaller.machine
            return (
                machine.paging >= needed.paging
                and machine.features & needed.features == needed.features
                and machine.ram_mib >= needed.ram_mib
            )

        assert reduced(still_fails, Count()).machine == needed


@given(st.integers(0, 1024), st.integers(0, 1024))
@settings(max_examples=50)
def test_stacks_become_as_few_as_the_cause_allows(some: int, other: int) -> None:
    needed, stacks = sorted((some, other))
    small = reduced(lambda smaller: smaller.program.stacks >= needed, stacks=stacks)
    assert small.program.stacks == needed


def test_operands_become_simple() -> None:
    busy = (
        Map(PROBE + SLOT + 0x3000, 5, Rights.WRITABLE | Rights.USER, invalidate=False),
        Protect(PROBE + SLOT + 0x3000, Rights.NO_EXECUTE | Rights.USER, invalidate=False),
        WriteEntry(PROBE + SLOT + 0x3004, "page_directory", 0x60, 1 << 63 | 1 << 9),
        Probe(PROBE + SLOT + 0x3FFE, "execute", 2, 3, alignment_check=True),
        Segment("ss", 77, PROBE + SLOT + 0x3000, 3000, "write", 1, expand_down=True),
    )

    def same_kinds(smaller: Case) -> bool:
        return list(map(type, smaller.program.operations)) == list(map(type, busy))

    assert reduced(same_kinds, *busy).program.operations == (
        Map(PROBE),
        Protect(PROBE, Rights(0)),
        WriteEntry(PROBE, "page_table"),
        Probe(PROBE),
        Segment("fs", 0),
    )


def test_what_is_on_one_page_moves_together() -> None:
    def still_fails(smaller: Case) -> bool:
        match smaller.program.operations:
            case (Map(one), Probe(other)):
                return one // 4096 == other // 4096 and other % 4096 == 0xFFE
        return False

    page = PROBE + SLOT + 0x5000
    small = reduced(still_fails, Map(page, 3), Probe(page + 0xFFE, "write"))
    assert small.program.operations == (Map(PROBE), Probe(PROBE + 0xFFE))


def test_needed_values_stay() -> None:
    needed = WriteEntry(PROBE, "page_table", set=1 << 51, invalidate=False)

    def still_fails(smaller: Case) -> bool:
        return any(
            isinstance(one, WriteEntry) and one.set >> 51 & 1 and not one.invalidate
            for one in smaller.program.operations
        )

    wide = WriteEntry(PROBE, "page_directory", 0xFF, 1 << 51 | 7, invalidate=False)
    assert reduced(still_fails, wide).program.operations == (needed,)


_operations = st.one_of(fault_cases(image=IMAGE), guard_page_cases(image=IMAGE)).flatmap(
    lambda drawn: st.sampled_from((*drawn.program.operations, Count()))
)


def test_each_image_has_its_own_probe_area() -> None:
    values = PROTOCOL.images["x86_64"]
    first, slot = values.area["probe"], values.constants["probe_slot_size"]
    machine = Machine.smallest("x86_64")
    case = Case(
        ImageId("x86_64", "0" * 64, "x86_64"),
        machine,
        program=Program((Map(first + slot + 0x5000, 3),)),
    )
    small = reduce_case(case, lambda one: len(one.program.operations) == 1)
    assert small.program.operations == (Map(first),)


@given(_operations)
@settings(max_examples=200)
def test_simplifying_comes_to_an_end(operation: Operation) -> None:
    steps = 0
    while simpler := list(simpler_operations(operation, "i686")):
        # A lower rank at each step: whichever is taken, there is an end.
        rank = case_rank(_alone(operation))
        assert all(case_rank(_alone(one)) < rank for one in simpler)
        operation = simpler[0]
        steps += 1
        assert steps < 1000


def _alone(operation: Operation) -> Case:
    return Case(IMAGE, program=Program((operation,)))


def test_lower_numbers_begin_with_the_lowest() -> None:
    assert list(lower(0)) == []
    assert list(lower(1)) == [0]
    assert list(lower(10)) == [0, 5, 8, 9]


PROGRAMS = st.lists(
    st.one_of(st.just(Allocate()), st.just(Count()), st.integers(0, 12).map(Free)), max_size=10
).map(lambda operations: Program(tuple(operations)))


@given(PROGRAMS, st.integers(0, 10), st.integers(0, 10))
@settings(max_examples=300)
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
@settings(max_examples=50)
def test_each_single_operation_can_be_reached(program: Program) -> None:
    for wanted in (Allocate(), Count()):
        if wanted in program.operations:
            small = reduce_case(
                Case(IMAGE, program=program),
                lambda smaller, wanted=wanted: wanted in smaller.program.operations,
            )
            assert small.program == Program((wanted,))


def test_a_machine_stays_one_for_the_image() -> None:
    start = Case(
        ImageId("x86_64", "0" * 64, "x86_64"),
        Machine(64, "broadwell", "4-level"),
        program=Program((Count(),)),
    )
    smallest = reduce_case(start, lambda _: True)
    assert smallest.machine == Machine.smallest("x86_64")
    needs_broadwell = reduce_case(start, lambda case: case.machine.cpu_profile == "broadwell")
    assert needs_broadwell.machine == Machine(16, "broadwell", "4-level")
