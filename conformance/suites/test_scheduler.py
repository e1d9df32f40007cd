"""The scheduler: who runs, who waits for what, and what a switch leaves as it was.

Every test runs its cases on all backends and compares each event with the oracle's
(kernel/TASKS.md). With the schedule `timer`, when a tick comes is the engine's own affair: each is
held against what follows from its own ticks. Run it with `conformance run --suite scheduler`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from conformance import (
    Allocate,
    Compute,
    Control,
    Count,
    Dump,
    Free,
    Join,
    Lock,
    Machine,
    Map,
    Overflow,
    OverflowOwn,
    Probe,
    Raise,
    Result,
    Rights,
    Sleep,
    Spawn,
    Spin,
    StackAllocate,
    StackFree,
    StackFreeAddress,
    TripleFault,
    Unlock,
    Yield,
    task_cases,
)
from conformance.case.image import ImageId
from conformance.judge.known import KnownDivergence
from conformance.protocol import PROTOCOL
from conformance.pytest_plugin import DifferentialTest
from conformance.suites.directed import MACHINES, PAGE, machine_name, probe_of, values_of
from conformance.suites.task_lists import COOPERATION, DEADLOCKS, PRIORITIES, REJECTED, Lists
from conformance.suites.tasks import (
    KINDS,
    by_schedule,
    in_every_schedule,
    on_every_image,
    task_case,
)

OBJECT = PROTOCOL.constants["task_stack_size"]
MOST_TASKS = PROTOCOL.constants["maximum_tasks"]
MOST_ITERATIONS = PROTOCOL.constants["maximum_iterations"]

# Not the one that QEMU never comes back from: each would cost its whole deadline.
CAUSES = [one for one in PROTOCOL.enums["raise_cause"].values() if one != "reserved_control_bit"]

# Of interrupts, engines keep a record, and not all of them are fast where MOV to SS is.
LONG = dict.fromkeys(KINDS, 20_000) | {
    "arithmetic": MOST_ITERATIONS,
    "stack_segment": 5_000,
    "interrupt": 500,
}

on_every_machine = pytest.mark.parametrize("machine", MACHINES, ids=machine_name)


def lists_of(table: dict[str, Lists]) -> pytest.MarkDecorator:
    """A test of each row of a table."""
    return pytest.mark.parametrize("lists", table.values(), ids=table.keys())


@on_every_image
@lists_of(COOPERATION)
@in_every_schedule
def test_rule(
    differential_test: DifferentialTest,
    image_id: ImageId,
    schedule: str,
    lists: Lists,
) -> None:
    """Each rule by itself."""
    differential_test.check(task_case(image_id, *lists, **by_schedule(schedule)))


@on_every_image
@lists_of(DEADLOCKS)
@in_every_schedule
def test_deadlock(
    differential_test: DifferentialTest,
    image_id: ImageId,
    schedule: str,
    lists: Lists,
) -> None:
    """Nothing can ever run again, and the kernel says so."""
    differential_test.check(task_case(image_id, *lists, **by_schedule(schedule)))


@on_every_image
@lists_of(REJECTED)
@in_every_schedule
def test_rejected(
    differential_test: DifferentialTest,
    image_id: ImageId,
    schedule: str,
    lists: Lists,
) -> None:
    """What cannot be done is said, and changes nothing."""
    differential_test.check(task_case(image_id, *lists, **by_schedule(schedule)))


@on_every_image
@lists_of(PRIORITIES)
@pytest.mark.parametrize("priorities", [False, True], ids=["equal", "by-priority"])
@in_every_schedule
def test_priorities(
    differential_test: DifferentialTest,
    image_id: ImageId,
    schedule: str,
    priorities: bool,
    lists: Lists,
) -> None:
    """The same program with and without priorities."""
    scheduling = by_schedule(schedule) | {"priorities": priorities}
    differential_test.check(task_case(image_id, *lists, **scheduling))


@on_every_image
@pytest.mark.parametrize("stacks", [0, 1, 33, 1000])
def test_as_many_tasks_as_stacks(
    differential_test: DifferentialTest, image_id: ImageId, stacks: int
) -> None:
    """Each of many tasks on a stack of its own; and one more."""
    main = [Spawn(0)] * (stacks + 1)
    differential_test.check(task_case(image_id, main, [Yield(), Allocate()], stacks=stacks))


@on_every_image
@in_every_schedule
def test_no_more_tasks_in_a_run(
    differential_test: DifferentialTest, image_id: ImageId, schedule: str
) -> None:
    """Each task makes the next one, until no number is left."""
    case = task_case(image_id, [Spawn(0)], [Spawn(0)], stacks=2, **by_schedule(schedule))

    def check(result: Result) -> None:
        assert result.expectation is not None
        spawned = [event for event in result.expectation.events if event.kind == "spawned"]
        assert len(spawned) == MOST_TASKS

    differential_test.check(case, check)


@on_every_image
@pytest.mark.parametrize("iterations", [1, 2, 5])
@pytest.mark.parametrize("kind", KINDS)
@in_every_schedule
def test_computation(
    differential_test: DifferentialTest,
    image_id: ImageId,
    schedule: str,
    kind: str,
    iterations: int,
) -> None:
    """Three tasks compute the same way, the main one among them."""
    computing = [Compute(kind, iterations), Compute(kind, 1), Yield(), Compute(kind, 1)]
    main = [Spawn(0), Spawn(0), *computing]
    differential_test.check(task_case(image_id, main, computing, **by_schedule(schedule)))


@on_every_image
@pytest.mark.parametrize("quantum", [1, 2, 3, 7, 64, 65535])
@pytest.mark.parametrize("kind", KINDS)
def test_quantum_of_instructions(
    differential_test: DifferentialTest, image_id: ImageId, kind: str, quantum: int
) -> None:
    """A time slice ends at every instruction there is, in the middle of a computation or not."""
    computing = [Compute(kind, 3), Compute("arithmetic", 1), Compute(kind, 1)]
    case = task_case(
        image_id, [Spawn(0), *computing], computing, schedule="stepped", quantum=quantum
    )
    differential_test.check(case)


@on_every_image
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("schedule", ["cooperative", "timer"])
def test_long_computation(
    differential_test: DifferentialTest, image_id: ImageId, schedule: str, kind: str
) -> None:
    """So long that ticks come."""
    iterations = LONG[kind]
    computing = [Compute(kind, iterations), Yield(), Compute(kind, iterations)]
    case = task_case(image_id, [Spawn(0), *computing], computing, **by_schedule(schedule))
    differential_test.check(case)


@on_every_image
@pytest.mark.parametrize("quantum", [1, 2, 3, 65535])
@pytest.mark.parametrize("priorities", [False, True], ids=["equal", "by-priority"])
def test_quantum_of_ticks(
    differential_test: DifferentialTest, image_id: ImageId, quantum: int, priorities: bool
) -> None:
    """Tasks that run until so many ticks have come, and others that sleep meanwhile."""
    case = task_case(
        image_id,
        [Spawn(0, 1), Spawn(0, 1), Spawn(1, 2), Spin(2), Sleep(2), Spin(1)],
        [Spin(3), Compute("arithmetic", 2000), Yield(), Spin(2)],
        [Sleep(2), Spin(1), Sleep(3)],
        schedule="timer",
        quantum=quantum,
        priorities=priorities,
    )
    differential_test.check(case)


@on_every_image
def test_who_wakes_pre_empts(differential_test: DifferentialTest, image_id: ImageId) -> None:
    """At the end of a time slice a sleeper that is due may be the one that runs next."""
    for priorities in (False, True):
        case = task_case(
            image_id,
            [Spawn(0, 3), Spawn(1, 1), Spawn(1, 2), Compute("arithmetic", 4)],
            [Sleep(1), Sleep(2), Compute("flags", 2), Sleep(3)],
            [Compute("arithmetic", 3), Yield(), Compute("string", 2)],
            schedule="stepped",
            quantum=4,
            priorities=priorities,
        )
        differential_test.check(case)


@in_every_schedule
@on_every_machine
def test_stacks_of_tasks(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine, schedule: str
) -> None:
    """Nobody else frees, overflows or writes to a task's stack while it has one."""
    first = values_of(machine).area["stacks"] + OBJECT
    misuse = [
        StackFreeAddress(first),
        StackFreeAddress(first + PAGE),
        StackFree(1),
        StackFree(4),
        Overflow(1, "push"),
        Overflow(0, "array", PAGE + 4),
        Overflow(2, "array", 2 * PAGE + 4),
        Overflow(2, "array", 2 * PAGE - 4),
        Overflow(2, "straddle"),
        Probe(first, "write"),
        Probe(first + OBJECT - 4, "write"),
        Probe(first + OBJECT - 2, "write", ring=3),
        Probe(first - 3, "write"),
        Probe(first + PAGE),
        Probe(first + PAGE + 4, "read", ring=3),
    ]
    main = [
        *[StackAllocate()] * 3,
        StackFree(1),
        Spawn(0),
        *misuse,
        Yield(),
        *misuse,
        Join(4),
        *misuse,
        Spawn(0),
    ]
    case = task_case(
        image_id, main, [*misuse, Yield(), Count()], machine=machine, **by_schedule(schedule)
    )
    differential_test.check(case)


@in_every_schedule
@on_every_machine
def test_own_stack_overflows(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine, schedule: str
) -> None:
    """A task overflows its own stack and goes on; its neighbours have not noticed."""
    body = [Compute("flags", 2), OverflowOwn(), Yield(), OverflowOwn(), Compute("string", 1)]
    main = [
        *[Spawn(0)] * 3,
        Yield(),
        Probe(values_of(machine).area["stacks"], "write"),
        Join(1),
        OverflowOwn(),
    ]
    case = task_case(image_id, main, body, machine=machine, **by_schedule(schedule))
    differential_test.check(case)


@in_every_schedule
@on_every_machine
def test_stacks_need_execute_disable(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine, schedule: str
) -> None:
    """The entries of stacks have XD: it stays enabled as long as a task has one."""
    main = [
        Control("no_execute", value=False),
        Spawn(0),
        Control("no_execute", value=True),
        Spawn(0),
        Control("no_execute", value=False),
        Spawn(0),
        Yield(),
        Control("no_execute", value=False),
        Join(3),
        Join(5),
        Control("no_execute", value=False),
        Spawn(0),
    ]
    body = [Control("no_execute", value=False), Yield(), Count()]
    case = task_case(image_id, main, body, machine=machine, **by_schedule(schedule))
    differential_test.check(case)


@on_every_image
@pytest.mark.parametrize("cause", CAUSES)
@in_every_schedule
def test_faults_of_tasks(
    differential_test: DifferentialTest, image_id: ImageId, schedule: str, cause: str
) -> None:
    """Each exception in a task, while others are in the middle of a computation."""
    body = [Compute("arithmetic", 1), Raise(cause), Yield(), Raise(cause), Compute("flags", 1)]
    main = [Spawn(0), Spawn(0), Compute("arithmetic", 2), Raise(cause)]
    machine = replace(Machine.smallest(image_id.architecture), cpu_profile="broadwell")
    case = task_case(image_id, main, body, machine=machine, **by_schedule(schedule))
    differential_test.check(case)


@in_every_schedule
@on_every_machine
def test_everything_at_once(
    differential_test: DifferentialTest, image_id: ImageId, machine: Machine, schedule: str
) -> None:
    """Tasks that share frames, pages, stacks and mutexes."""
    probe = probe_of(machine)
    main = [Spawn(0), Spawn(1), Spawn(0), Allocate(), Lock(0), Compute("arithmetic", 1), Unlock(0)]
    main += [Map(probe, 1, Rights.WRITABLE | Rights.USER), Sleep(1), Dump(), Join(1), Dump()]
    first = [Lock(0), Allocate(), Compute("string", 1), Yield(), Unlock(0), Free(14), Free(3)]
    first += [Probe(probe, "write", ring=3), StackAllocate(), Overflow(21, "push"), StackFree(21)]
    second = [Sleep(1), Probe(probe), Lock(0), Raise("divide_error"), Unlock(0), OverflowOwn()]
    second += [Compute("interrupt", 2), Spawn(0, 1), Compute("stack_segment", 2)]
    case = task_case(
        image_id, main, first, second, machine=machine, stacks=6, **by_schedule(schedule)
    )
    differential_test.check(case)


@on_every_image
@in_every_schedule
def test_triple_fault_of_a_task(
    differential_test: DifferentialTest, image_id: ImageId, schedule: str
) -> None:
    """A task ends the run."""
    body = [Compute("arithmetic", 1), TripleFault()]
    case = task_case(image_id, [Spawn(0), Yield()], body, **by_schedule(schedule))
    differential_test.check(case)


@on_every_image
@in_every_schedule
def test_generated(differential_test: DifferentialTest, image_id: ImageId, schedule: str) -> None:
    """Generated programs, on all machines for the image."""
    differential_test.explore(task_cases(image=image_id, schedule=schedule))


def test_known_divergence(
    differential_test: DifferentialTest, image_id: ImageId, known_divergence: KnownDivergence
) -> None:
    """What is on the list of known divergences still shows up."""
    differential_test.check_known(known_divergence, image_id)
