"""Who runs, who waits for what, and the clock (kernel/TASKS.md), as an exact simulation.

A task is a generator that yields whenever another one runs, and goes on where it was when it is
its turn again. Only where a tick of the timer comes is left open: there the witness is followed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from conformance.case.program import Program
from conformance.observe.trace import Event
from conformance.oracle import task_rules as rules
from conformance.oracle.expectation import Rule
from conformance.oracle.stacks import StackPool
from conformance.protocol import PROTOCOL

__all__ = ["Account", "RunOver", "Scheduler", "Task", "Turn"]

MAIN: Final = PROTOCOL.constants["main_task"]
IDLE: Final = PROTOCOL.constants["idle_task"]
NO_STACK: Final = PROTOCOL.constants["no_stack"]

Turn = Iterator[None]
"""What a task does: yields where another task runs."""

_RULE_OF_WAIT: Final = {
    "block": rules.WAKE,
    "join": rules.JOIN,
    "sleep": rules.SLEEP,
    "mutex": rules.MUTEX,
    "all": rules.ALL,
}
_RULE_OF_WAKE: Final = {
    "wake": rules.WAKE,
    "exit": rules.JOIN,
    "tick": rules.SLEEP,
    "mutex": rules.MUTEX,
    "all": rules.ALL,
}


class RunOver(Exception):
    """The run ends here.

    Args:
        triple_fault: by a reset of the machine.
    """

    def __init__(self, *, triple_fault: bool = False) -> None:
        super().__init__("triple fault" if triple_fault else "the run is over")
        self.triple_fault = triple_fault


class Account(Protocol):
    """Takes down what happens, and knows what the witness shows."""

    def write(self, event: Event, rule: Rule) -> None:
        """The next event, and what decides it."""

    def shown(self) -> Event | None:
        """What the witness shows in the place of the next event."""

    def leave_open(self, rule: Rule, *, taken: bool) -> None:
        """From the next event on, something may happen or not; the witness says whether it did."""

    def keep_stacks(self, stacks: frozenset[int]) -> None:
        """These stacks belong to tasks."""


@dataclass(slots=True, eq=False)
class Task:
    """What the scheduler knows about a task.

    Attributes:
        number: the task's.
        turn: what it does.
        stack: of the pool, or NO_STACK.
        priority: 0 unless the program has priorities.
        has_run, exited: its life.
        waits_for: the protocol's `wait_reason`; empty while it does not wait.
        wake_kept: its next `block` does not wait.
        wake_tick: while it sleeps.
        joining: who waits for its exit, in turn.
    """

    number: int
    turn: Turn
    stack: int = NO_STACK
    priority: int = 0
    has_run: bool = False
    exited: bool = False
    waits_for: str = ""
    wake_kept: bool = False
    wake_tick: int = 0
    joining: list[Task] = field(default_factory=list)


class Scheduler:
    """One run's tasks.

    Args:
        program: how they are scheduled.
        pool: gives stacks to tasks.
        account: of the run.
        main: what the main task does.

    Attributes:
        running: the task.
        now: the clock.
        slice: how many instructions or ticks the running task has had of its quantum.
        tasks: all there ever were, by number.
        stepped: the computations whose instructions were counted in this slice, by their kind.
    """

    def __init__(self, program: Program, pool: StackPool, account: Account, main: Turn) -> None:
        self._program = program
        self._pool = pool
        self._account = account
        self.tasks = [Task(MAIN, main, has_run=True)]
        self._idle = Task(IDLE, self._idling())
        self.running = self.tasks[MAIN]
        self.now = 0
        self.slice = 0
        self.stepped: list[str] = []
        self._ready: list[Task] = []
        self._sleeping: list[Task] = []
        self._left_for_good: Task | None = None

    def run(self) -> None:
        """Until the main task comes to its end.

        Raises:
            RunOver: the run came to its end before that.
        """
        while True:
            task = self.running
            next(task.turn, None)
            if self.running is task:
                # It has come to its end without another task to run: the main one's.
                return
            self._arrive()

    def write(self, kind: str, rule: Rule, **fields: int) -> None:
        """An event of the scheduler's."""
        self._account.write(Event(kind, fields), self._broken() or rule)

    @property
    def living(self) -> int:
        """How many tasks have not exited, the main task included."""
        return sum(not task.exited for task in self.tasks)

    def spawn(self, turn: Callable[[], Turn], priority: int) -> Task | None:
        """A task that is ready; None if there is no stack."""
        stack = self._pool.take_for_task()
        if stack is None:
            return None
        counted = priority if self._program.priorities else 0
        task = Task(len(self.tasks), turn(), stack, counted)
        self.tasks.append(task)
        self._ready.append(task)
        self._account.keep_stacks(self._pool.of_tasks)
        return task

    def give_way(self, reason: str) -> Turn:
        """Let another task run, if the one that is next has this one's priority at least."""
        following = self._first_ready()
        if following is not None and following.priority >= self.running.priority:
            self._ready.append(self.running)
            yield from self._switch(reason)

    def wait(self, operation: int, reason: str, on: int = 0) -> Turn:
        """The running task waits; somebody has to know for what."""
        task = self.running
        task.waits_for = reason
        code = PROTOCOL.code("wait_reason", reason)
        fields = {"operation": operation, "task": task.number, "reason": code, "on": on}
        self.write("blocked", _RULE_OF_WAIT[reason], **fields)
        yield from self._switch("wait")

    def sleep(self, operation: int, ticks: int) -> Turn:
        """The running task waits for a tick."""
        self.running.wake_tick = self.now + ticks
        self._sleeping.append(self.running)
        yield from self.wait(operation, "sleep", self.running.wake_tick)

    def wake(self, task: Task, reason: str, by: int | None = None) -> None:
        """A task that waits is ready."""
        task.waits_for = ""
        self._ready.append(task)
        waker = self.running.number if by is None else by
        code = PROTOCOL.code("wake_reason", reason)
        self.write("woken", _RULE_OF_WAKE[reason], task=task.number, reason=code, by=waker)

    def exit(self) -> Turn:
        """The running task comes to its end."""
        task, main = self.running, self.tasks[MAIN]
        self.write("exited", rules.BODY, task=task.number, stack=task.stack)
        task.exited = True
        for joining in task.joining:
            self.wake(joining, "exit")
        if self.living == 1 and main.waits_for == "all":
            self.wake(main, "all")
        self._left_for_good = task
        yield from self._switch("exit")

    def tick(self) -> None:
        """The clock goes on."""
        self.now += 1
        self.write("ticked", rules.CLOCK, now=self.now)
        due = [task for task in self._sleeping if task.wake_tick == self.now]
        self._sleeping = [task for task in self._sleeping if task.wake_tick != self.now]
        for task in due:
            self.wake(task, "tick", IDLE)

    def interruptible(self, until: int | None = None) -> Turn:
        """Ticks of the timer may come; they have to, until the clock has come to a tick."""
        account = self._account
        while True:
            shown = account.shown()
            comes = shown is not None and shown.kind == "ticked"
            account.leave_open(rules.TICKS, taken=comes)
            if not comes and (until is None or self.now >= until):
                return
            self.tick()
            self.slice += 1
            if self.slice == self._program.quantum:
                self.slice = 0
                yield from self.give_way("preempt")

    def _idling(self) -> Turn:
        while True:
            if self._first_ready() is not None:
                yield from self._switch("idle")
                continue
            if not self._sleeping:
                code = PROTOCOL.code("panic_reason", "deadlock")
                self.write("panic", rules.DEADLOCK, reason=code, detail=self.living)
                raise RunOver
            self.write("idle", rules.IDLE, now=self.now)
            self.tick()
            while self._program.schedule == "timer":
                shown = self._account.shown()
                comes = shown is not None and shown.kind == "ticked"
                self._account.leave_open(rules.TICKS, taken=comes)
                if not comes:
                    break
                self.tick()

    def _first_ready(self) -> Task | None:
        return max(self._ready, key=lambda task: task.priority, default=None)

    def _switch(self, reason: str) -> Turn:
        following = self._first_ready() or self._idle
        if following is not self._idle:
            self._ready.remove(following)
        self.write(
            "switched",
            rules.SLICE if reason == "preempt" else self._order,
            **{"from": self.running.number},
            to=following.number,
            reason=PROTOCOL.code("switch_reason", reason),
        )
        self.running = following
        yield

    @property
    def _order(self) -> Rule:
        return rules.PRIORITY if self._program.priorities else rules.TURN

    def _arrive(self) -> None:
        """The running task is another one than before."""
        task, left = self.running, self._left_for_good
        self.slice = 0
        self.stepped.clear()
        if left is not None:
            self._left_for_good = None
            self._pool.reclaim(left.stack)
            self._account.keep_stacks(self._pool.of_tasks)
            self.write("reclaimed", rules.RECLAIM, task=left.number, stack=left.stack)
        if task.has_run:
            fields = {"task": task.number, "stack": task.stack, "damaged": 0}
            self.write("resumed", rules.PRESERVED, **fields)
        else:
            task.has_run = True
            self.write("started", rules.OWN_STACK, task=task.number, stack=task.stack)

    def _broken(self) -> Rule | None:
        """The rule that a witness breaks, where what it shows instead says which that is."""
        shown = self._account.shown()
        if shown is None:
            return None
        runs = {"switched": "to", "started": "task", "resumed": "task"}.get(shown.kind)
        if runs is not None:
            number = shown.fields[runs]
            if number < len(self.tasks) and self.tasks[number].exited:
                return rules.EXITED
        return None
