"""The operations on tasks (kernel/TASKS.md, "Operations")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from conformance.case.program import Operation, Program
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
from conformance.oracle import computations
from conformance.oracle import task_rules as rules
from conformance.oracle.expectation import Rule
from conformance.oracle.scheduler import IDLE, MAIN, Account, Scheduler, Task, Turn
from conformance.oracle.setting import Setting
from conformance.oracle.stacks import StackPool
from conformance.protocol import PROTOCOL

__all__ = ["Tasks"]

_CONSTANTS: Final = PROTOCOL.constants


class Tasks:
    """Performs a program: all its operations, by all its tasks.

    Args:
        program: what is performed.
        setting: for where the computations' instructions are.
        pool: of stacks.
        account: of the run.
        perform: does what is not the scheduler's, and raises RunOver where the run ends there.
        stacks_are_usable: whether a task could run on a stack.
    """

    def __init__(
        self,
        program: Program,
        setting: Setting,
        pool: StackPool,
        account: Account,
        perform: Callable[[int, Operation], None],
        stacks_are_usable: Callable[[], bool],
    ) -> None:
        self._program = program
        self._setting = setting
        self._perform = perform
        self._stacks_are_usable = stacks_are_usable
        self._lists = _lists(program.operations)
        self._spawned: dict[int, Task] = {}
        self._owners: dict[int, Task] = {}
        self._waiting: dict[int, list[Task]] = {}
        self._scheduler = Scheduler(program, pool, account, self._main())

    @property
    def running(self) -> Task:
        """The task that runs."""
        return self._scheduler.running

    def run(self) -> None:
        """Until the main task is through, and all others are.

        Raises:
            RunOver: the run came to its end before that.
        """
        self._scheduler.run()

    def _main(self) -> Turn:
        yield from self._list(self._lists[0])
        others = self._scheduler.living - 1
        if others:
            yield from self._scheduler.wait(len(self._program.operations), "all", others)

    def _task(self, body: int) -> Turn:
        yield from self._list(self._lists[1 + body])
        yield from self._scheduler.exit()

    def _list(self, numbers: range) -> Turn:
        for number in numbers:
            operation = self._program.operations[number]
            act = _ACTS.get(type(operation))
            if act is None:
                self._perform(number, operation)
            else:
                yield from act(self, number, operation)

    def _spawn(self, number: int, operation: Spawn) -> Turn:
        self._spawned.pop(number, None)
        scheduler, body = self._scheduler, operation.body
        failure = ""
        if body >= len(self._lists) - 1:
            failure = "no_body"
        elif operation.priority >= _CONSTANTS["task_priorities"]:
            failure = "bad_priority"
        elif len(scheduler.tasks) - 1 == _CONSTANTS["maximum_tasks"]:
            failure = "no_task"
        elif self._stacks_are_usable():
            task = scheduler.spawn(lambda: self._task(body), operation.priority)
            if task is not None:
                self._spawned[number] = task
                scheduler.write(
                    "spawned",
                    rules.SPAWN,
                    operation=number,
                    task=task.number,
                    body=body,
                    priority=operation.priority,
                    stack=task.stack,
                )
                return
        code = PROTOCOL.code("spawn_failure", failure or "no_stack")
        scheduler.write("spawn_failed", rules.SPAWN, operation=number, reason=code)
        yield from ()

    def _yield(self, _: int, __: Yield) -> Turn:
        yield from self._scheduler.give_way("yield")

    def _block(self, number: int, _: Block) -> Turn:
        this = self.running
        if this.number == MAIN:
            return self._reject(number, "main_task")
        if this.wake_kept:
            this.wake_kept = False
        else:
            yield from self._scheduler.wait(number, "block")
        self._proceed(number, rules.WAKE)

    def _wake(self, number: int, operation: Wake) -> Turn:
        task = self._meant(number, operation.operation)
        if task is None:
            return self._reject(number, "not_spawned")
        if task.exited:
            return self._reject(number, "exited")
        if task.waits_for == "block":
            self._scheduler.wake(task, "wake")
        else:
            task.wake_kept = True
            self._scheduler.write("wake_kept", rules.WAKE, operation=number, task=task.number)
        yield from ()

    def _join(self, number: int, operation: Join) -> Turn:
        task = self._meant(number, operation.operation)
        if task is None:
            return self._reject(number, "not_spawned")
        if task is self.running:
            return self._reject(number, "itself")
        if not task.exited:
            task.joining.append(self.running)
            yield from self._scheduler.wait(number, "join", task.number)
        self._proceed(number, rules.JOIN)

    def _sleep(self, number: int, operation: Sleep) -> Turn:
        if not _is_waitable(operation.ticks):
            return self._reject(number, "bad_value")
        yield from self._scheduler.sleep(number, operation.ticks)
        self._proceed(number, rules.SLEEP)

    def _tick(self, number: int, _: Tick) -> Turn:
        if self._program.schedule == "timer":
            return self._reject(number, "wrong_schedule")
        self._scheduler.tick()
        yield from ()

    def _exit(self, number: int, _: Exit) -> Turn:
        if self.running.number == MAIN:
            return self._reject(number, "main_task")
        # Does not return.
        yield from self._scheduler.exit()

    def _compute(self, number: int, operation: Compute) -> Turn:
        if not 1 <= operation.iterations <= _CONSTANTS["maximum_iterations"]:
            return self._reject(number, "bad_value")
        task, rule, enabled = self.running.number, rules.COMPUTED, 0
        match self._program.schedule:
            case "stepped":
                enabled = computations.TRAP_FLAG
                yield from self._steps(operation)
                self._scheduler.stepped.append(operation.kind)
                rule = self._step_rule(operation.kind)
            case "timer":
                enabled = computations.INTERRUPT_FLAG
                yield from self._scheduler.interruptible()
        result = computations.computed(
            operation.kind, task, operation.iterations, enabled, self._scratch
        )
        self._scheduler.write("computed", rule, operation=number, task=task, registers=result)

    def _steps(self, operation: Compute) -> Turn:
        """Each debug exception counts one instruction."""
        scheduler, kind, task = self._scheduler, operation.kind, self.running.number

        def is_last_of_slice() -> bool:
            scheduler.slice += 1
            return scheduler.slice == self._program.quantum

        steps = computations.steps(
            kind, task, operation.iterations, self._scratch, is_last_of_slice
        )
        for step in steps:
            if step is not None:
                eip = self._setting.symbol(f"compute_{kind}_{step.next}")
                rule, registers = self._step_rule(kind), step.registers
                scheduler.write("stepped", rule, task=task, eip=eip, registers=registers)
                scheduler.slice = 0
                scheduler.stepped.clear()
                scheduler.tick()
                yield from scheduler.give_way("preempt")

    def _step_rule(self, kind: str) -> Rule:
        """What decides how many instructions were counted: the first thing that is not plain."""
        counted = (*self._scheduler.stepped, kind)
        return rules.STEPS[next((each for each in counted if each != "arithmetic"), kind)]

    def _spin(self, number: int, operation: Spin) -> Turn:
        if self._program.schedule != "timer":
            return self._reject(number, "wrong_schedule")
        if not _is_waitable(operation.ticks):
            return self._reject(number, "bad_value")
        yield from self._scheduler.interruptible(self._scheduler.now + operation.ticks)
        self._proceed(number, rules.CLOCK)

    def _lock(self, number: int, operation: Lock) -> Turn:
        mutex, this = operation.mutex, self.running
        if mutex >= _CONSTANTS["mutexes"]:
            return self._reject(number, "bad_value")
        owner = self._owners.get(mutex)
        if owner is this:
            return self._reject(number, "already_owner")
        if owner is None:
            self._owners[mutex] = this
        else:
            self._waiting.setdefault(mutex, []).append(this)
            yield from self._scheduler.wait(number, "mutex", mutex)
        fields = {"operation": number, "task": this.number, "mutex": mutex}
        self._scheduler.write("locked", rules.MUTEX, **fields)

    def _unlock(self, number: int, operation: Unlock) -> Turn:
        mutex, this = operation.mutex, self.running
        if mutex >= _CONSTANTS["mutexes"]:
            return self._reject(number, "bad_value")
        if self._owners.get(mutex) is not this:
            return self._reject(number, "not_owner")
        waiting = self._waiting.get(mutex)
        following = waiting.pop(0) if waiting else None
        fields = {"operation": number, "task": this.number, "mutex": mutex}
        heir = IDLE if following is None else following.number
        self._scheduler.write("unlocked", rules.MUTEX, **fields, next=heir)
        if following is None:
            del self._owners[mutex]
        else:
            self._owners[mutex] = following
            self._scheduler.wake(following, "mutex")
        yield from ()

    def _overflow_own(self, number: int, operation: OverflowOwn) -> Turn:
        if self.running.number == MAIN:
            return self._reject(number, "main_task")
        self._perform(number, operation)
        yield from ()

    def _meant(self, number: int, earlier: int) -> Task | None:
        """The task that an operation was given when it was last performed."""
        return self._spawned.get(earlier) if earlier < number else None

    def _proceed(self, number: int, rule: Rule) -> None:
        self._scheduler.write("proceeded", rule, operation=number, task=self.running.number)

    def _reject(self, number: int, reason: str) -> None:
        code = PROTOCOL.code("task_failure", reason)
        fields = {"operation": number, "task": self.running.number, "reason": code}
        self._scheduler.write("task_rejected", rules.REFUSED, **fields)

    @property
    def _scratch(self) -> int:
        return self._setting.symbol("compute_scratch")


_ACTS: Final[dict[type[Operation], Callable[[Tasks, int, Any], Turn]]] = {
    Spawn: Tasks._spawn,
    Yield: Tasks._yield,
    Block: Tasks._block,
    Wake: Tasks._wake,
    Join: Tasks._join,
    Sleep: Tasks._sleep,
    Tick: Tasks._tick,
    Exit: Tasks._exit,
    Compute: Tasks._compute,
    Spin: Tasks._spin,
    Lock: Tasks._lock,
    Unlock: Tasks._unlock,
    OverflowOwn: Tasks._overflow_own,
}


def _lists(operations: Sequence[Operation]) -> list[range]:
    """The numbers of the operations of the main task, and of each body."""
    markers = [number for number, one in enumerate(operations) if isinstance(one, Body)]
    starts = [0, *(marker + 1 for marker in markers)]
    ends = [*markers, len(operations)]
    return [range(start, end) for start, end in zip(starts, ends, strict=True)]


def _is_waitable(ticks: int) -> bool:
    return 1 <= ticks <= _CONSTANTS["maximum_ticks"]
