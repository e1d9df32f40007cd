"""The scheduler's events, worked out by hand from kernel/TASKS.md."""

from __future__ import annotations

import pytest

from conformance.case.program import (
    Allocate,
    Block,
    Body,
    Compute,
    Control,
    Count,
    Exit,
    Free,
    Join,
    Lock,
    Overflow,
    OverflowOwn,
    Probe,
    Sleep,
    Spawn,
    Spin,
    StackAllocate,
    StackFree,
    StackFreeAddress,
    Tick,
    TripleFault,
    Unlock,
    Wake,
    Yield,
)
from conformance.observe.observation import Outcome
from conformance.oracle.computations import TRAP_FLAG, computed

AREA = 0xD0000000


@pytest.fixture
def story(perform):
    """The events of the operations, a short line each."""

    def tell(*operations, **options):
        expectation = perform(*operations, **options)
        kinds = [event.kind for event in expectation.events]
        end = kinds.index("control") if "control" in kinds else len(kinds)
        return [short(event) for event in expectation.events[kinds.index("stacks") + 1 : end]]

    return tell


def short(event):
    """The kind and the values; those of enumerations by their names, no task as `-`."""
    values = [event.show(name) for name in event.fields]
    return " ".join([event.kind, *("-" if value == "65535" else value for value in values)])


def test_one_task(story):
    assert story(Spawn(0), Yield(), Count(), Body(), Yield(), Count()) == [
        "spawned 0 1 0 0 0",
        "switched 0 1 yield",
        "started 1 0",
        "switched 1 0 yield",
        "resumed 0 - 0",
        "counted 2 16",
        "blocked 6 0 all 1",
        "switched 0 1 wait",
        "resumed 1 0 0",
        "counted 5 16",
        "exited 1 0",
        "woken 0 all 1",
        "switched 1 0 exit",
        "reclaimed 1 0",
        "resumed 0 - 0",
    ]


def test_nothing_is_said_without_tasks(story):
    assert story(Yield(), Count(), Body(), Count()) == ["counted 1 16"]


def test_tasks_take_turns(story):
    switches = [
        line
        for line in story(Spawn(0), Spawn(0), Yield(), Yield(), Body(), Yield(), Yield())
        if line.startswith("switched")
    ]
    assert switches == [
        "switched 0 1 yield",
        "switched 1 2 yield",
        "switched 2 0 yield",
        "switched 0 1 yield",
        "switched 1 2 yield",
        "switched 2 0 yield",
        "switched 0 1 wait",
        "switched 1 2 exit",
        "switched 2 0 exit",
    ]


def test_who_blocks_is_woken_once_for_each_wake(story):
    assert story(Spawn(0), Wake(0), Wake(0), Yield(), Wake(0), Body(), Block(), Block()) == [
        "spawned 0 1 0 0 0",
        "wake_kept 1 1",
        "wake_kept 2 1",
        "switched 0 1 yield",
        "started 1 0",
        "proceeded 6 1",
        "blocked 7 1 block 0",
        "switched 1 0 wait",
        "resumed 0 - 0",
        "woken 1 wake 0",
        "blocked 8 0 all 1",
        "switched 0 1 wait",
        "resumed 1 0 0",
        "proceeded 7 1",
        "exited 1 0",
        "woken 0 all 1",
        "switched 1 0 exit",
        "reclaimed 1 0",
        "resumed 0 - 0",
    ]


def test_a_sleeper_and_the_idle_task(story):
    assert story(Sleep(2)) == [
        "blocked 0 0 sleep 2",
        "switched 0 - wait",
        "started - -",
        "idle 0",
        "ticked 1",
        "idle 1",
        "ticked 2",
        "woken 0 tick -",
        "switched - 0 idle",
        "resumed 0 - 0",
        "proceeded 0 0",
    ]


def test_sleepers_of_one_tick_wake_in_the_order_in_which_they_fell_asleep(story):
    told = story(Spawn(0), Spawn(1), Sleep(1), Tick(), Body(), Sleep(2), Body(), Tick(), Sleep(1))
    assert [line for line in told if line.startswith("woken")][:3] == [
        "woken 0 tick -",
        "woken 1 tick -",
        "woken 2 tick -",
    ]
    # The main one slept from 0 to 1, both others until 2.
    assert [line for line in told if line.startswith("blocked")] == [
        "blocked 2 0 sleep 1",
        "blocked 5 1 sleep 2",
        "blocked 8 2 sleep 2",
        "blocked 9 0 all 2",
    ]


def test_a_mutex_is_handed_on_in_turn(story):
    told = story(Lock(1), Spawn(0), Spawn(0), Yield(), Unlock(1), Body(), Lock(1), Unlock(1))
    assert told == [
        "locked 0 0 1",
        "spawned 1 1 0 0 0",
        "spawned 2 2 0 0 1",
        "switched 0 1 yield",
        "started 1 0",
        "blocked 6 1 mutex 1",
        "switched 1 2 wait",
        "started 2 1",
        "blocked 6 2 mutex 1",
        "switched 2 0 wait",
        "resumed 0 - 0",
        "unlocked 4 0 1 1",
        "woken 1 mutex 0",
        "blocked 8 0 all 2",
        "switched 0 1 wait",
        "resumed 1 0 0",
        "locked 6 1 1",
        "unlocked 7 1 1 2",
        "woken 2 mutex 1",
        "exited 1 0",
        "switched 1 2 exit",
        "reclaimed 1 0",
        "resumed 2 1 0",
        "locked 6 2 1",
        "unlocked 7 2 1 -",
        "exited 2 1",
        "woken 0 all 2",
        "switched 2 0 exit",
        "reclaimed 2 1",
        "resumed 0 - 0",
    ]


def test_joins_end_with_the_exit_in_turn(story):
    told = story(Spawn(0), Spawn(1), Join(0), Join(0), Body(), Yield(), Body(), Join(0))
    assert [line for line in told if line.split()[0] in ("blocked", "woken", "proceeded")] == [
        "blocked 2 0 join 1",
        "blocked 7 2 join 1",
        "woken 0 exit 1",
        "woken 2 exit 1",
        "proceeded 2 0",
        "proceeded 3 0",
        "blocked 8 0 all 1",
        "proceeded 7 2",
        "woken 0 all 2",
    ]


def test_a_deadlock(perform):
    expectation = perform(Spawn(0), Spawn(0), Spawn(1), Body(), Block(), Body())
    assert expectation.outcome is Outcome.PANICKED
    assert short(expectation.events[-1]) == "panic deadlock 3"
    assert [short(event) for event in expectation.events[-3:-1]] == [
        "reclaimed 3 2",
        "started - -",
    ]


@pytest.mark.parametrize(
    ("operations", "said"),
    [
        ((Block(),), "task_rejected 0 0 main_task"),
        ((Exit(),), "task_rejected 0 0 main_task"),
        ((OverflowOwn(),), "task_rejected 0 0 main_task"),
        ((Wake(0),), "task_rejected 0 0 not_spawned"),
        ((Join(1), Spawn(9)), "task_rejected 0 0 not_spawned"),
        ((Sleep(0),), "task_rejected 0 0 bad_value"),
        ((Sleep(1001),), "task_rejected 0 0 bad_value"),
        ((Spin(1),), "task_rejected 0 0 wrong_schedule"),
        ((Compute("flags", 0),), "task_rejected 0 0 bad_value"),
        ((Compute("flags", 65537),), "task_rejected 0 0 bad_value"),
        ((Lock(8),), "task_rejected 0 0 bad_value"),
        ((Unlock(8),), "task_rejected 0 0 bad_value"),
        ((Unlock(0),), "task_rejected 0 0 not_owner"),
        ((Spawn(0),), "spawn_failed 0 no_body"),
        ((Spawn(1, 4), Body()), "spawn_failed 0 no_body"),
        ((Spawn(0, 4), Body()), "spawn_failed 0 bad_priority"),
    ],
)
def test_what_is_rejected(story, operations, said):
    assert story(*operations)[0] == said


@pytest.mark.parametrize(
    ("operation", "schedule", "said"),
    [
        (Tick(), "timer", "task_rejected 0 0 wrong_schedule"),
        (Tick(), "stepped", "ticked 1"),
        (Spin(1), "stepped", "task_rejected 0 0 wrong_schedule"),
        (Spin(0), "timer", "task_rejected 0 0 bad_value"),
        (Spin(1), "timer", "ticked 1"),
    ],
)
def test_what_depends_on_the_schedule(story, operation, schedule, said):
    assert story(operation, schedule=schedule)[0] == said


def test_who_has_exited_is_not_woken_and_need_not_be_waited_for(story):
    told = story(Spawn(0), Yield(), Wake(0), Join(0), Body())
    assert told[-2:] == ["task_rejected 2 0 exited", "proceeded 3 0"]


def test_a_task_refers_to_itself(story):
    told = story(Spawn(0), Body(), Join(0), Wake(0), Lock(0), Lock(0), Block())
    assert "task_rejected 2 1 itself" in told
    assert "wake_kept 3 1" in told
    assert "task_rejected 5 1 already_owner" in told
    assert "proceeded 6 1" in told


def test_an_operation_means_what_it_was_given_last(story):
    told = story(Spawn(0), Spawn(0), Body(), Allocate(), Yield(), Free(3))
    assert [line for line in told if line.startswith(("allocated", "freed", "free_rej"))] == [
        "allocated 3 4096 1",
        "allocated 3 4097 1",
        "freed 5 4097 1",
        "free_rejected 5 0x1001000 already_free",
    ]


def test_an_operation_that_fails_the_second_time_means_nothing(story):
    told = story(Spawn(0), Spawn(0), Body(), StackAllocate(), Yield(), StackFree(3), stacks=3)
    assert [line.split()[0] for line in told if line.startswith("stack_")] == [
        "stack_allocated",
        "stack_rejected",
        "stack_rejected",
        "stack_rejected",
    ]
    assert told.count("stack_rejected 5 0 nothing_allocated") == 2


def test_no_stack_and_no_number(story, perform):
    assert story(Spawn(0), Spawn(0), Body(), stacks=1)[1] == "spawn_failed 1 no_stack"
    events = perform(Spawn(0), Body(), Spawn(0), stacks=2).events
    assert sum(event.kind == "spawned" for event in events) == 1024
    assert sum(event.kind == "exited" for event in events) == 1024
    failed = [short(event) for event in events if event.kind == "spawn_failed"]
    assert failed == ["spawn_failed 2 no_task"]


class TestPriorities:
    PROGRAM = (Spawn(0, 1), Spawn(0, 3), Spawn(0, 2), Yield(), Count(), Body(), Yield())

    def order(self, told):
        return [line.split()[2] for line in told if line.startswith("switched")]

    def test_highest_first(self, story):
        told = story(*self.PROGRAM, priorities=True)
        # Nobody of the same priority is there for the yields.
        assert self.order(told) == ["2", "3", "1", "0"]
        assert told.index("counted 4 16") == len(told) - 1

    def test_all_the_same_without_the_flag(self, story):
        told = story(*self.PROGRAM)
        assert self.order(told) == ["1", "2", "3", "0", "1", "2", "3", "0"]
        assert told[1] == "spawned 1 2 0 3 1", "what was asked for"

    def test_a_lower_one_does_not_get_its_turn_by_a_yield(self, story):
        told = story(Spawn(0, 3), Yield(), Body(), Spawn(1, 2), Yield(), Body(), priorities=True)
        assert self.order(told) == ["1", "2", "0"]


class TestStepped:
    def test_slices(self, story, layout):
        """`interrupt` has five steps: after ADD, DEC, JNZ, and at the end after PUSH and POPF."""
        told = story(
            Spawn(0),
            Compute("interrupt", 1),
            Compute("interrupt", 1),
            Body(),
            Compute("interrupt", 1),
            schedule="stepped",
            quantum=3,
        )
        places = {value: name for name, value in layout.symbols.items()}
        results = [f"{computed('interrupt', task, 1, TRAP_FLAG, 0):#x}" for task in (0, 1)]
        told = [
            " ".join(places.get(int(word, 16), word) if "0x" in word else word for word in words)
            for words in map(str.split, told)
        ]
        cut = [" ".join(line.split()[:3]) if line.startswith("stepped") else line for line in told]
        assert cut == [
            "spawned 0 1 0 0 0",
            "stepped 0 compute_interrupt_end_0",
            "ticked 1",
            "switched 0 1 preempt",
            "started 1 0",
            "stepped 1 compute_interrupt_end_0",
            "ticked 2",
            "switched 1 0 preempt",
            "resumed 0 - 0",
            f"computed 1 0 {results[0]}",
            # Two steps were left of the first computation, and one belongs to the second.
            "stepped 0 compute_interrupt_2",
            "ticked 3",
            "switched 0 1 preempt",
            "resumed 1 0 0",
            f"computed 4 1 {results[1]}",
            "exited 1 0",
            "switched 1 0 exit",
            "reclaimed 1 0",
            "resumed 0 - 0",
            # A new slice has begun, of which four steps are left in the computation.
            "stepped 0 compute_interrupt_end_1",
            "ticked 4",
            f"computed 2 0 {results[0]}",
        ]

    def test_nobody_else_is_there(self, story):
        told = story(Compute("arithmetic", 1), schedule="stepped", quantum=10)
        assert [line.split()[0] for line in told] == ["stepped", "ticked", "computed"]

    def test_a_sleeper_is_woken_before_who_is_interrupted(self, story):
        told = story(
            Spawn(0),
            Yield(),
            Compute("interrupt", 1),
            Body(),
            Sleep(1),
            schedule="stepped",
            quantum=5,
        )
        at = told.index("woken 1 tick -")
        assert told[at - 1] == "ticked 1"
        assert told[at + 1] == "switched 0 1 preempt"


class TestStacks:
    def test_a_stack_of_a_task_is_its_own(self, story):
        told = story(
            StackAllocate(),
            StackFree(0),
            Spawn(0),
            StackFree(0),
            StackFreeAddress(AREA),
            StackFreeAddress(AREA + 4),
            Overflow(0, "push"),
            Overflow(2, "push"),
            Probe(AREA + 4096, "write"),
            Probe(AREA + 8189, "write"),
            Probe(AREA + 4096, "write", size=3),
            Yield(),
            StackFree(0),
            Body(),
        )
        assert told[3:10] == [
            "stack_rejected 3 0 used_by_task",
            "stack_rejected 4 0xd0000000 used_by_task",
            "stack_rejected 5 0xd0000004 misaligned",
            "stack_rejected 6 0 used_by_task",
            "stack_rejected 7 0 nothing_allocated",
            "rejected 8 bad_address",
            "rejected 9 bad_address",
        ]
        assert told[10] == "rejected 10 bad_size"
        assert told[-1] == "stack_rejected 12 0xd0000000 not_in_use"

    def test_an_array_that_reaches_into_a_tasks_stack(self, story):
        operations = [Spawn(0), StackAllocate()]
        operations += [Overflow(1, "array", size) for size in (8196, 12288, 8192, 3)]
        told = story(*operations, Body())
        assert told[2:4] == ["stack_rejected 2 0 used_by_task", "stack_rejected 3 0 used_by_task"]
        assert told[4].startswith("fault 4 page_fault"), "its own guard page"
        assert "rejected 5 bad_size" in told

    def test_the_own_stack_overflows(self, perform, layout):
        events = perform(Spawn(0), Spawn(0), Body(), OverflowOwn()).events
        faults = [event for event in events if event.kind == "fault"]
        assert [short(event) for event in faults] == [
            f"fault 3 double_fault 0 {bottom - 4:#x} {own:#x} {bottom:#x} 0 task {number}"
            for own in [layout.symbols["fault_at_overflow_own"]]
            for number, bottom in ((0, AREA + 4096), (1, AREA + 8192 + 4096))
        ]

    def test_execute_disable_stays_enabled(self, story):
        off, on = Control("no_execute", value=False), Control("no_execute", value=True)
        told = story(off, Spawn(0), on, Spawn(0), off, Yield(), off, Body())
        assert told[1] == "spawn_failed 1 no_stack"
        assert told[3] == "spawned 3 1 0 0 0"
        assert told[4] == "rejected 4 used_by_task"
        assert told[-1] == "attempted 6 done 0"
        told = story(Spawn(0), Body(), cpu="pentium3")
        assert told[0] == "spawned 0 1 0 0 0", "no XD there"


def test_a_task_that_shuts_the_processor_down(perform):
    expectation = perform(Spawn(0), Body(), Count(), TripleFault())
    assert expectation.outcome is Outcome.TRIPLE_FAULT
    assert short(expectation.events[-1]) == "counted 2 16"


def test_a_trace_that_is_full(make_case, layout_with_trace):
    from conformance.case.memory_map import MemoryMap, Region
    from conformance.oracle.expect import expect

    case = make_case(MemoryMap((Region(0x1000000, 0x10000),)), Sleep(1000))
    expectation = expect(case, layout_with_trace(2000))
    assert expectation.outcome is Outcome.PANICKED
    assert short(expectation.events[-1]) == "panic trace_full 0"
    assert expectation.events[-2].kind in ("idle", "ticked")
