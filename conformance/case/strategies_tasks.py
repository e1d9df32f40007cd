"""Hypothesis strategies of programs whose tasks do everything that programs can do.

Like in `strategies_programs`, which operation is meant is drawn as a small number and looked up
when all operations are there. Bodies spawn only those after them, so that a program ends; most
programs do not end in a deadlock, because the main task wakes all others at its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from conformance.case.attempt_operations import Probe, Raise, TripleFault
from conformance.case.frame_operations import Allocate, AllocateRun, Count, Free
from conformance.case.machine import Machine
from conformance.case.operation import Operation
from conformance.case.program import Program
from conformance.case.stack_operations import (
    Overflow,
    StackAllocate,
    StackFree,
    StackFreeAddress,
)
from conformance.case.strategies_paging import paging_programs_on
from conformance.case.strategies_regions import draw_several
from conformance.case.task_operations import (
    Block,
    Body,
    Compute,
    Exit,
    Join,
    Lock,
    OverflowOwn,
    Sleep,
    Spawn,
    Spin,
    Tick,
    Unlock,
    Wake,
    Yield,
)
from conformance.protocol import PROTOCOL

__all__ = ["STEPS_OF_ITERATION", "executions", "task_programs_on"]

_PAGE: Final = PROTOCOL.constants["frame_size"]
_OBJECT: Final = PROTOCOL.constants["task_stack_size"]
_KINDS: Final = tuple(PROTOCOL.enums["compute_kind"].values())

STEPS_OF_ITERATION: Final = {
    "arithmetic": 8,
    "string": 8,
    "stack_segment": 4,
    "flags": 7,
    "interrupt": 3,
}
"""How many instructions are counted in an iteration of a computation."""

# How much a program does at most, all its tasks together: instructions that are counted one by one;
# iterations that a timer may interrupt; ticks that tasks wait for.
_STEPS: Final = 300
_ITERATIONS: Final = 40_000
_TICKS: Final = 24
# Of software interrupts, engines keep a record, and not all of them are fast where MOV to SS is.
_WEIGHTS: Final = {"interrupt": 20, "stack_segment": 5}


@dataclass(frozen=True, slots=True)
class _Earlier:
    """An operation on what an earlier one was given: number `which` of those of a kind.

    Attributes:
        operation: says everything but the number.
        of: the kind of the earlier one.
    """

    operation: Operation
    of: type[Operation]
    which: int


_Seed = Operation | _Earlier
_Fragment = tuple[_Seed, ...]
"""Operations that belong together."""

_WHICH: Final = st.integers(0, 5)
_STACK: Final = st.integers(0, 3)
_MUTEX: Final = st.sampled_from((0, 0, 0, 1, 1, 2, 7, 8))
_EDGES: Final = st.sampled_from((_PAGE, _OBJECT - 4, 0, _PAGE - 4, _PAGE - 2, _OBJECT - 2))
_TICK_COUNTS: Final = st.sampled_from((1, 1, 2, 3, 5, 0))
# Not the one that QEMU never comes back from: each would cost its whole deadline.
_CAUSES: Final = st.sampled_from(
    [one for one in PROTOCOL.enums["raise_cause"].values() if one != "reserved_control_bit"]
)
_OVERFLOWS: Final = st.sampled_from(tuple(PROTOCOL.enums["overflow_kind"].values()))
_ARRAYS: Final = st.sampled_from((64, _PAGE + 4, 2 * _PAGE + 4, 3 * _PAGE, 2))


def _earlier(
    operation: SearchStrategy[Any] | Operation, of: type[Operation]
) -> SearchStrategy[_Seed]:
    made = st.just(operation) if isinstance(operation, Operation) else operation
    return st.builds(_Earlier, made, st.just(of), _WHICH)


_wait: SearchStrategy[_Seed] = st.one_of(
    st.just(Yield()),
    st.just(Yield()),
    st.builds(Sleep, _TICK_COUNTS),
    st.just(Block()),
    _earlier(Wake(0), Spawn),
    _earlier(Wake(0), Spawn),
    _earlier(Join(0), Spawn),
)
_own: SearchStrategy[_Seed] = st.one_of(
    st.just(Allocate()),
    st.just(OverflowOwn()),
    _earlier(Free(0), Allocate),
    st.just(Count()),
    st.builds(AllocateRun, st.integers(1, 5), st.sampled_from((1, 2, 4))),
    _earlier(Free(0), AllocateRun),
    st.builds(Raise, _CAUSES),
    st.builds(Lock, _MUTEX),
    st.builds(Unlock, _MUTEX),
    st.just(Exit()),
    st.just(Tick()),
)


def _stack(area: int) -> SearchStrategy[_Seed]:
    return st.one_of(
        st.just(StackAllocate()),
        st.builds(
            lambda stack, edge, access, ring: Probe(area + stack * _OBJECT + edge, access, 4, ring),
            _STACK,
            _EDGES,
            st.sampled_from(("write", "read")),
            st.sampled_from((0, 3)),
        ),
        _earlier(StackFree(0), StackAllocate),
        _earlier(st.builds(Overflow, st.just(0), _OVERFLOWS, _ARRAYS), StackAllocate),
        st.builds(lambda stack: StackFreeAddress(area + stack * _OBJECT), _STACK),
    )


def _computation(schedule: str) -> SearchStrategy[_Seed]:
    iterations = {
        "cooperative": st.sampled_from((1, 2, 3, 100, 0)),
        "stepped": st.integers(1, 3),
        "timer": st.sampled_from((1, 200, 2_000, 10_000)),
    }[schedule]
    computing: SearchStrategy[_Seed] = st.builds(Compute, st.sampled_from(_KINDS), iterations)
    if schedule != "timer":
        return computing
    return st.one_of(computing, st.builds(Spin, st.sampled_from((1, 1, 2, 3))))


@st.composite
def task_programs_on(draw: DrawFn, machine: Machine, schedule: str, most: int) -> Program:
    """Programs of at most about so many operations, each list counted by itself."""
    computation, paging = _computation(schedule), paging_programs_on(machine, max_operations=4)
    bodies = draw(st.integers(1, 4))
    stack = _stack(PROTOCOL.images[machine.architecture].area["stacks"])
    fragments = _fragments(computation, paging, stack)
    lists = [_main(draw, fragments, bodies, most)]
    for body in range(bodies):
        drawn = [each for part in draw_several(draw, fragments, 0, most // 2) for each in part]
        # What is worth to be interrupted, and who may be spawned by whom: those that come after.
        drawn += draw_several(draw, computation, 0, 2)
        for spawned in draw_several(draw, st.integers(body + 1, bodies), 0, 1):
            # Past the last one there is none: that fails, as it should now and then.
            drawn.insert(draw(st.integers(0, len(drawn))), Spawn(spawned, draw(_PRIORITIES)))
        lists.append(drawn)
    quantum = {"stepped": st.integers(1, 30), "timer": st.integers(1, 3)}.get(schedule)
    program = Program(
        tuple(_resolved(lists)),
        stacks=draw(st.sampled_from((1, 5, 8, 4, 6, 3))),
        schedule=schedule,
        quantum=Program().quantum if quantum is None else draw(quantum),
        priorities=draw(st.booleans()),
    )
    return _bounded(program)


_PRIORITIES: Final = st.sampled_from((0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 4))


def _fragments(
    computation: SearchStrategy[_Seed],
    paging: SearchStrategy[Program],
    stack: SearchStrategy[_Seed],
) -> SearchStrategy[_Fragment]:
    def alone(seeds: SearchStrategy[_Seed]) -> SearchStrategy[_Fragment]:
        return seeds.map(lambda seed: (seed,))

    inside = st.lists(st.one_of(_wait, _own, computation), max_size=2)
    return st.one_of(
        # A branch that is listed more than once is drawn more often.
        alone(computation),
        alone(_wait),
        alone(computation),
        alone(_own),
        alone(computation),
        alone(stack),
        alone(st.just(OverflowOwn())),
        alone(_wait),
        alone(computation),
        st.builds(
            lambda mutex, between: (Lock(mutex), *between, Unlock(mutex)),
            st.integers(0, 1),
            inside,
        ),
        # Another program's operations mean no others by their numbers, and none may end the run.
        paging.map(
            lambda program: tuple(
                one for one in program.operations if not isinstance(one, TripleFault)
            )
        ),
    )


def _main(
    draw: DrawFn, fragments: SearchStrategy[_Fragment], bodies: int, most: int
) -> list[_Seed]:
    """The main task spawns, does something, and wakes everybody, as often as may be needed."""
    spawn = st.builds(Spawn, st.integers(0, bodies - 1), _PRIORITIES)
    spawned = draw_several(draw, spawn, 1, 4)
    seeds: list[_Seed] = list(spawned)
    seeds += [each for part in draw_several(draw, fragments, 0, most // 2) for each in part]
    for _ in range(draw(st.sampled_from((0, 3, 2, 3, 2, 1)))):
        seeds += [_Earlier(Wake(0), Spawn, which) for which in range(len(spawned))]
        seeds.append(Sleep(1))
    return seeds


def _resolved(lists: Iterable[Iterable[_Seed]]) -> Iterator[Operation]:
    """One list, with a marker before each body, and numbers where one is meant."""
    given: dict[type[Operation], list[int]] = {}
    number = 0
    for index, seeds in enumerate(lists):
        for seed in (*([Body()] if index else []), *seeds):
            operation = seed
            if isinstance(seed, _Earlier):
                earlier = given.get(seed.of, [])
                meant = earlier[seed.which % len(earlier)] if earlier else seed.which
                changes: dict[str, Any] = {"operation": meant}
                operation = replace(seed.operation, **changes)
            assert isinstance(operation, Operation)
            given.setdefault(type(operation), []).append(number)
            yield operation
            number += 1


def executions(program: Program) -> list[int]:
    """How often each operation is performed at most, where no body spawns itself or one before."""
    markers = [at for at, one in enumerate(program.operations) if isinstance(one, Body)]
    times, counts = [1] + [0] * len(markers), []
    current = 0
    for operation in program.operations:
        current += isinstance(operation, Body)
        counts.append(times[current])
        if isinstance(operation, Spawn) and operation.body < len(markers):
            times[1 + operation.body] += times[current]
    return counts


def _bounded(program: Program) -> Program:
    """The program with as little left of what takes long as there is time for."""
    left = {"steps": _STEPS, "iterations": _ITERATIONS, "ticks": _TICKS}
    operations: list[Operation] = []
    for operation, times in zip(program.operations, executions(program), strict=True):
        costs: dict[str, int] = {}
        if isinstance(operation, Compute) and program.schedule == "stepped":
            steps = STEPS_OF_ITERATION[operation.kind] * operation.iterations + 2
            costs["steps"] = steps * times
        elif isinstance(operation, Compute):
            costs["iterations"] = operation.iterations * _WEIGHTS.get(operation.kind, 1) * times
        elif isinstance(operation, Sleep | Spin):
            costs["ticks"] = operation.ticks * times
        if any(cost > left[what] for what, cost in costs.items()):
            operation = Yield()
        else:
            for what, cost in costs.items():
                left[what] -= cost
        operations.append(operation)
    return replace(program, operations=tuple(operations))
