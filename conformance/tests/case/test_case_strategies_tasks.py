"""Strategies of programs with tasks: sound, varied, and small when shrunk."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategy_values import drawn, reach

from conformance.case.case import Case
from conformance.case.codec import dump_case, load_case
from conformance.case.image import ImageId
from conformance.case.machine import Machine
from conformance.case.memory_map import PLAIN_MAP
from conformance.case.payload import decode_payload, encode_payload, encode_program
from conformance.case.program import (
    SCHEDULES,
    Block,
    Body,
    Compute,
    Control,
    Free,
    Join,
    Lock,
    Map,
    Operation,
    Overflow,
    OverflowOwn,
    Probe,
    Program,
    Raise,
    Spawn,
    StackFree,
    TripleFault,
    Unlock,
    Wake,
    Yield,
)
from conformance.case.strategies import TASK_REGIONS, task_cases, task_programs
from conformance.case.strategies_tasks import _bounded, executions
from conformance.errors import InvalidArgument
from conformance.protocol import PROTOCOL

IMAGE = ImageId("i686", "0" * 64)

quick = settings(max_examples=50)


@quick
@given(task_cases(image=IMAGE))
def test_every_case_survives_files_and_payloads(case: Case) -> None:
    assert load_case(dump_case(case)) == case
    assert (case.memory_map, case.state_regions) == (PLAIN_MAP, TASK_REGIONS)
    _, program = decode_payload(encode_payload(case))
    assert program == encode_program(case.program, case.state_regions, paging=case.machine.paging)


@quick
@given(task_cases(image=IMAGE))
def test_a_program_comes_to_its_end(case: Case) -> None:
    """A body spawns only those after it, so that there are only so many tasks."""
    operations = case.program.operations
    markers = [number for number, one in enumerate(operations) if isinstance(one, Body)]
    assert 1 <= len(markers) <= 4
    for number, operation in enumerate(operations):
        if isinstance(operation, Spawn):
            assert operation.body >= sum(marker < number for marker in markers)
        assert not isinstance(operation, TripleFault)
    assert (
        sum(
            times
            for operation, times in zip(operations, executions(case.program), strict=True)
            if isinstance(operation, Spawn)
        )
        <= PROTOCOL.constants["maximum_tasks"]
    )


@quick
@given(
    st.sampled_from(SCHEDULES).flatmap(
        lambda one: st.tuples(st.just(one), task_programs(schedule=one))
    )
)
def test_the_schedule_is_the_one_that_was_asked_for(asked: tuple[str, Program]) -> None:
    schedule, program = asked
    assert program.schedule == schedule
    if schedule == "cooperative":
        assert program.quantum == Program().quantum
    assert program.quantum <= {"stepped": 30, "timer": 3}.get(schedule, 100)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: task_cases(schedule="steps"), "no schedule 'steps'; known: cooperative, stepped"),
        (lambda: task_programs(schedule=1), "no schedule 1; known"),  # type: ignore[arg-type]
        (lambda: task_cases(machine="pc"), "machine must be a Machine or None"),  # type: ignore[arg-type]
        (lambda: task_programs(max_operations=2000), "max_operations"),
    ],
)
def test_what_cannot_be_asked_for(make: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        make()


def test_programs_are_varied() -> None:
    cases = drawn(task_cases(image=IMAGE), 100)
    kinds = Counter(kind for case in cases for kind in {type(x) for x in case.program.operations})
    for kind in (Spawn, Compute, Wake, Join, Lock, Unlock, OverflowOwn, Yield):
        assert kinds[kind] > 10, kind
    assert {case.program.schedule for case in cases} == set(SCHEDULES)
    assert {case.program.priorities for case in cases} == {True, False}
    computed = {x.kind for case in cases for x in case.program.operations if isinstance(x, Compute)}
    assert computed == set(PROTOCOL.enums["compute_kind"].values())


@pytest.mark.parametrize("kind", [Map, Probe, Control, Raise, Overflow, StackFree, Free, Block])
def test_whatever_programs_do_tasks_do(kind: type[Operation]) -> None:
    def in_a_body(case: Case) -> bool:
        operations = case.program.operations
        return any(isinstance(one, kind) for one in operations[operations.index(Body()) :])

    assert reach(task_cases(image=IMAGE), in_a_body, shrink=False)


def shrunk(condition: Any) -> Program:
    case = reach(task_cases(image=IMAGE, machine=Machine()), condition, shrink=True)
    assert isinstance(case, Case)
    return case.program


def has(program: Program, *kinds: type[Operation]) -> bool:
    return all(any(isinstance(one, kind) for one in program.operations) for kind in kinds)


@pytest.mark.parametrize("kind", [OverflowOwn, Compute, Lock])
def test_what_is_looked_for_shrinks(kind: type[Operation]) -> None:
    program = shrunk(lambda case: has(case.program, kind))
    # One task, a body for it, and what was looked for.
    assert len(program.operations) <= 5
    assert program.schedule == "cooperative"
    assert not program.priorities


def test_what_takes_long_is_left_out() -> None:
    body = (Compute("arithmetic", 30), Compute("arithmetic", 3))
    program = Program((Spawn(0), Spawn(0), Body(), *body), 2, "stepped")
    assert executions(program) == [1, 1, 2, 2, 2]
    assert _bounded(program).operations == (*program.operations[:3], Yield(), body[1])
    nested = Program((Spawn(0), Spawn(0), Body(), Spawn(1), Spawn(1), Spawn(7), Body(), Yield()))
    assert executions(nested) == [1, 1, 2, 2, 2, 2, 4, 4]
