"""What must hold of every run of tasks, whatever they do and at whatever pace the timer ticks."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance.case.case import Case
from conformance.case.image import ImageId
from conformance.case.memory_map import PLAIN_MAP
from conformance.case.program import Body, Compute, Program, Sleep, Spawn, Spin
from conformance.case.strategies import task_cases
from conformance.case.strategies_tasks import STEPS_OF_ITERATION, executions
from conformance.observe.observation import Outcome
from conformance.observe.trace import Event
from conformance.oracle import expect as oracle
from conformance.oracle import task_rules
from conformance.oracle.expect import expect
from conformance.protocol import PROTOCOL

IMAGE = ImageId("i686", "0" * 64)
MAIN, IDLE = PROTOCOL.constants["main_task"], PROTOCOL.constants["idle_task"]
NO_STACK = PROTOCOL.constants["no_stack"]

many = settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class AtItsOwnPace(oracle._Run):
    """A run in which ticks come when they like, where nothing says that they must not."""

    def __init__(self, case, layout, random):
        super().__init__(case, layout, ())
        self._random = random
        self._ticks_left = 60

    def shown(self):
        if self._ticks_left and self._random.random() < 0.4:
            self._ticks_left -= 1
            return Event("ticked", {"now": 0})
        return None


def witnessed(case, layout, seed):
    """What a machine may show of a case."""
    if case.program.schedule == "timer":
        return AtItsOwnPace(case, layout, Random(seed)).expectation()
    return expect(case, layout)


runs = given(task_cases(image=IMAGE), st.integers(0, 1000))


@many
@runs
def test_one_task_runs_at_a_time(layout, case, seed):
    """Who is switched to runs next; nobody else says anything before the next switch."""
    running, living = MAIN, {MAIN, IDLE}
    events = witnessed(case, layout, seed).events
    for event, following in zip(events, (*events[1:], None), strict=True):
        fields = event.fields
        if event.kind == "spawned":
            assert fields["task"] not in living
            living.add(fields["task"])
        elif event.kind == "switched":
            assert fields["from"] == running
            running = fields["to"]
            assert running in living
            assert following is None or following.kind in ("started", "resumed", "reclaimed")
        elif event.kind == "exited":
            assert fields["task"] == running != MAIN
            living.remove(running)
        elif event.kind in ("started", "resumed", "blocked", "proceeded", "computed", "stepped"):
            assert fields["task"] == running
        elif event.kind in ("idle", "panic"):
            assert running == IDLE or event.kind == "panic"


@many
@runs
def test_a_stack_belongs_to_one_task(layout, case, seed):
    owner, of = {}, {MAIN: NO_STACK, IDLE: NO_STACK}
    used = set()
    for event in witnessed(case, layout, seed).events:
        fields = event.fields
        if event.kind == "spawned":
            assert fields["stack"] not in used
            owner[fields["stack"]], of[fields["task"]] = fields["task"], fields["stack"]
            used.add(fields["stack"])
        elif event.kind in ("started", "resumed"):
            assert fields["stack"] == of[fields["task"]]
        elif event.kind == "reclaimed":
            assert owner.pop(fields["stack"]) == fields["task"]
            used.remove(fields["stack"])
        elif event.kind == "stack_allocated":
            assert fields["stack"] not in used
            used.add(fields["stack"])
        elif event.kind == "stack_freed":
            assert fields["stack"] not in owner
            used.remove(fields["stack"])


@many
@runs
def test_who_is_woken_was_waiting_for_that(layout, case, seed):
    waiting, due, now = {}, {}, 0
    by_wait = {
        PROTOCOL.code("wake_reason", wake): PROTOCOL.code("wait_reason", wait)
        for wake, wait in (
            *(("wake", "block"), ("exit", "join"), ("tick", "sleep")),
            *(("mutex", "mutex"), ("all", "all")),
        )
    }
    for event in witnessed(case, layout, seed).events:
        fields = event.fields
        if event.kind == "ticked":
            assert fields["now"] == now + 1
            # Everybody who was due before has been woken.
            assert all(tick > now for tick in due.values())
            now += 1
        elif event.kind == "blocked":
            waiting[fields["task"]] = fields["reason"]
            if fields["reason"] == PROTOCOL.code("wait_reason", "sleep"):
                due[fields["task"]] = fields["on"]
        elif event.kind == "woken":
            assert waiting.pop(fields["task"]) == by_wait[fields["reason"]]
            assert due.pop(fields["task"], now) == now
        elif event.kind in ("started", "resumed"):
            assert fields["task"] not in waiting


@many
@runs
def test_a_mutex_has_one_owner(layout, case, seed):
    owner = {}
    for event in witnessed(case, layout, seed).events:
        fields = event.fields
        if event.kind == "locked":
            assert owner.setdefault(fields["mutex"], fields["task"]) == fields["task"]
        elif event.kind == "unlocked":
            assert owner.pop(fields["mutex"]) == fields["task"]
            if fields["next"] != IDLE:
                owner[fields["mutex"]] = fields["next"]


@many
@runs
def test_a_run_ends_when_all_tasks_have(layout, case, seed):
    """Each task exits, unless the run ends in a deadlock; and it is that if one is left."""
    expectation = witnessed(case, layout, seed)
    counts = Counter(event.kind for event in expectation.events)
    last = expectation.events[-1]
    if expectation.outcome is Outcome.COMPLETED:
        started = [event.fields["task"] for event in expectation.events if event.kind == "started"]
        assert counts["spawned"] == len(set(started) - {IDLE})
        assert len(set(started)) == len(started)
        assert counts["spawned"] == counts["exited"] == counts["reclaimed"]
    else:
        assert last.fields["reason"] == PROTOCOL.code("panic_reason", "deadlock")
        assert last.fields["detail"] == counts["spawned"] - counts["exited"] + 1


@many
@runs
def test_ready_tasks_run_in_turn(layout, case, seed):
    """A naive account of the queue: who is ready, since when, with which priority."""
    priorities, ready, running = {MAIN: 0, IDLE: -1}, [], MAIN
    waits = {PROTOCOL.code("switch_reason", each) for each in ("wait", "exit", "idle")}
    for event in witnessed(case, layout, seed).events:
        fields = event.fields
        if event.kind == "spawned":
            wanted = fields["priority"] if case.program.priorities else 0
            priorities[fields["task"]] = wanted
            ready.append(fields["task"])
        elif event.kind == "woken":
            ready.append(fields["task"])
        elif event.kind == "switched":
            best = max((priorities[task] for task in ready), default=-1)
            first = next((task for task in ready if priorities[task] == best), IDLE)
            assert fields["to"] == first
            if first != IDLE:
                ready.remove(first)
            if fields["reason"] not in waits:
                assert best >= priorities[running]
                ready.append(running)
            running = first


@many
@given(task_cases(image=IMAGE, schedule="timer"), st.integers(0, 1000))
def test_ticks_are_followed_wherever_they_may_come(layout, case, seed):
    shown = witnessed(case, layout, seed)
    followed = expect(case, layout, shown.events)
    assert followed.events == shown.events
    assert (followed.outcome, followed.state) == (shown.outcome, shown.state)
    if any(event.kind == "ticked" for event in shown.events):
        assert task_rules.TICKS in {choice.rule for choice in followed.choices}


@many
@given(task_cases(image=IMAGE, schedule="timer"), st.integers(0, 1000), st.data())
def test_a_tick_that_must_not_come_is_told(layout, case, seed, data):
    """Anywhere else, a tick more is a difference, at that place, and the rule says why."""
    events = witnessed(case, layout, seed).events
    at = data.draw(st.integers(0, len(events) - 1))
    now = max((event.fields["now"] for event in events[:at] if event.kind == "ticked"), default=0)
    more = (*events[:at], Event("ticked", {"now": now + 1}), *events[at:])
    expectation = expect(case, layout, more)
    followed = expectation.events
    place = next(
        (
            index
            for index, (one, other) in enumerate(zip(followed, more, strict=False))
            if one != other
        ),
        min(len(followed), len(more)),
    )
    assert place >= at
    if place > at:
        # It was permitted: then tasks compute, spin, or idle there.
        kinds = {type(one) for one in case.program.operations}
        assert kinds & {Compute, Spin, Sleep}
    elif at < len(followed) and followed[at].kind != "ticked":
        assert expectation.rules[at] == task_rules.WINDOW


@pytest.mark.parametrize("schedule", ["cooperative", "stepped"])
def test_no_pace_is_left_open_without_a_timer(layout, schedule):
    program = Program(
        (Spawn(0), Sleep(2), Compute("flags", 3), Body(), Compute("string", 2)), 1, schedule, 3
    )
    expectation = expect(Case(IMAGE, memory_map=PLAIN_MAP, program=program), layout)
    assert not expectation.choices
    ticked = Event("ticked", {"now": 1})
    assert expect(
        Case(IMAGE, memory_map=PLAIN_MAP, program=program),
        layout,
        (*expectation.events[:30], ticked, *expectation.events[30:]),
    ).events == (expectation.events)


@many
@given(task_cases(image=IMAGE))
def test_a_generated_program_does_not_take_long(layout, case):
    steps = iterations = ticks = 0
    for operation, times in zip(case.program.operations, executions(case.program), strict=True):
        if isinstance(operation, Compute) and case.program.schedule == "stepped":
            steps += (STEPS_OF_ITERATION[operation.kind] * operation.iterations + 2) * times
        elif isinstance(operation, Compute):
            iterations += operation.iterations * times
        elif isinstance(operation, Sleep | Spin):
            ticks += operation.ticks * times
    assert steps <= 300
    assert iterations <= 40_000
    assert ticks <= 30
    counted = Counter(event.fields.get("operation") for event in expect(case, layout).events)
    assert len(counted) <= 1025
