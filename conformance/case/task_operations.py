"""Operations on tasks and the scheduler (kernel/TASKS.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from conformance.case.operation import Operation

__all__ = [
    "Block",
    "Body",
    "Compute",
    "Exit",
    "Join",
    "Lock",
    "OverflowOwn",
    "Sleep",
    "Spawn",
    "Spin",
    "Tick",
    "Unlock",
    "Wake",
    "Yield",
]


@dataclass(frozen=True, slots=True)
class Body(Operation):
    """A task's list of operations begins here, and the one before it is over."""

    name: ClassVar[str] = "body"


@dataclass(frozen=True, slots=True)
class Spawn(Operation):
    """Start a task with a stack of the pool.

    Attributes:
        body: which list it performs: after the `Body` of this number, counted from 0.
        priority: 0 to 3; 3 runs first, in a program with priorities.
    """

    name: ClassVar[str] = "spawn"
    body: int
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Yield(Operation):
    """Let other tasks run."""

    name: ClassVar[str] = "yield"


@dataclass(frozen=True, slots=True)
class Block(Operation):
    """Wait until another task wakes this one."""

    name: ClassVar[str] = "block"


@dataclass(frozen=True, slots=True)
class Wake(Operation):
    """Wake the task that operation number `operation` has spawned last."""

    name: ClassVar[str] = "wake"
    operation: int


@dataclass(frozen=True, slots=True)
class Join(Operation):
    """Wait until the task that operation number `operation` has spawned last has exited."""

    name: ClassVar[str] = "join"
    operation: int


@dataclass(frozen=True, slots=True)
class Sleep(Operation):
    """Wait until the clock has gone on by `ticks`, 1 to 1000."""

    name: ClassVar[str] = "sleep"
    ticks: int


@dataclass(frozen=True, slots=True)
class Tick(Operation):
    """Let the clock go on by one tick, where no timer does that."""

    name: ClassVar[str] = "tick"


@dataclass(frozen=True, slots=True)
class Exit(Operation):
    """End this task."""

    name: ClassVar[str] = "exit"


@dataclass(frozen=True, slots=True)
class Compute(Operation):
    """Run known instructions, with all registers in use; pre-emption comes here.

    Attributes:
        kind: a name of the protocol's `compute_kind`: `arithmetic`, `string`, `stack_segment`, …
        iterations: 1 to 65536.
    """

    name: ClassVar[str] = "compute"
    kind: str
    iterations: int


@dataclass(frozen=True, slots=True)
class Spin(Operation):
    """Run until the timer has let the clock go on by `ticks`, 1 to 1000."""

    name: ClassVar[str] = "spin"
    ticks: int


@dataclass(frozen=True, slots=True)
class Lock(Operation):
    """Take a mutex, 0 to 7, or wait for it."""

    name: ClassVar[str] = "lock"
    mutex: int


@dataclass(frozen=True, slots=True)
class Unlock(Operation):
    """Give a mutex back, or hand it to who has waited longest."""

    name: ClassVar[str] = "unlock"
    mutex: int


@dataclass(frozen=True, slots=True)
class OverflowOwn(Operation):
    """PUSH until this task's own stack overflows."""

    name: ClassVar[str] = "overflow_own"
