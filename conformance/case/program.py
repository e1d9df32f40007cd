"""Programs: the operations that the kernel performs in one case.

Each class is one operation of kernel/protocol.toml; kernel/TRACE.md says what it does. Operand
names, order and widths come from the protocol. All operations can be imported from here.
"""

from __future__ import annotations

from dataclasses import dataclass

from conformance.case.attempt_operations import Interrupt, Probe, Raise, Segment, TripleFault
from conformance.case.frame_operations import (
    Allocate,
    AllocateRun,
    Count,
    Dump,
    Exhaust,
    Free,
    FreeAddress,
)
from conformance.case.operation import Operation, Rights, choose
from conformance.case.paging_operations import (
    Control,
    Invalidate,
    Map,
    Protect,
    ReadEntry,
    Reload,
    Unmap,
    WriteEntry,
)
from conformance.case.stack_operations import (
    Overflow,
    StackAllocate,
    StackFree,
    StackFreeAddress,
)
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
from conformance.errors import InvalidArgument
from conformance.protocol import PROTOCOL

__all__ = [
    "OPERATIONS",
    "SCHEDULES",
    "Allocate",
    "AllocateRun",
    "Block",
    "Body",
    "Compute",
    "Control",
    "Count",
    "Dump",
    "Exhaust",
    "Exit",
    "Free",
    "FreeAddress",
    "Interrupt",
    "Invalidate",
    "Join",
    "Lock",
    "Map",
    "Operation",
    "Overflow",
    "OverflowOwn",
    "Probe",
    "Program",
    "Protect",
    "Raise",
    "ReadEntry",
    "Reload",
    "Rights",
    "Segment",
    "Sleep",
    "Spawn",
    "Spin",
    "StackAllocate",
    "StackFree",
    "StackFreeAddress",
    "Tick",
    "TripleFault",
    "Unlock",
    "Unmap",
    "Wake",
    "WriteEntry",
    "Yield",
]

OPERATIONS: dict[str, type[Operation]] = {
    kind.name: kind
    for kind in (
        *(Allocate, AllocateRun, Free, FreeAddress, Count, Exhaust, Dump),
        *(Map, Unmap, Protect, Invalidate, WriteEntry, ReadEntry, Reload, Control),
        *(Probe, Segment, Raise, Interrupt, TripleFault),
        *(StackAllocate, StackFree, StackFreeAddress, Overflow),
        *(Body, Spawn, Yield, Block, Wake, Join, Sleep, Tick, Exit, Compute, Spin),
        *(Lock, Unlock, OverflowOwn),
    )
}
"""The operations by their name in the protocol."""


SCHEDULES = tuple(PROTOCOL.enums["schedule"].values())
"""Who says when a task has to give way, the simplest first."""

_LAST_QUANTUM = 65535


@dataclass(frozen=True, slots=True)
class Program:
    """Operations, run in order; each `Body` begins the list of another task (kernel/TASKS.md).

    Attributes:
        operations: what the kernel does.
        stacks: how many stacks the task stack pool has.
        schedule: `cooperative` (a task runs until it gives way), `stepped` (until it has run for
            as many instructions as the quantum) or `timer` (for as many ticks).
        quantum: how long a time slice is, 1 to 65535; of no meaning where tasks are cooperative.
        priorities: tasks run by priority; otherwise all have the same.

    Raises:
        InvalidArgument: more operations or stacks than the kernel can take, an unknown schedule,
            or a quantum that is none.
    """

    operations: tuple[Operation, ...] = ()
    stacks: int = 0
    schedule: str = SCHEDULES[0]
    quantum: int = 100
    priorities: bool = False

    def __post_init__(self) -> None:
        limit = PROTOCOL.constants["maximum_operations"]
        if len(self.operations) > limit:
            raise InvalidArgument(
                f"a program has at most {limit} operations, got {len(self.operations)}"
            )
        _check_number("stacks", self.stacks, 0, PROTOCOL.constants["maximum_stacks"])
        try:
            choose(self.schedule, SCHEDULES)
        except InvalidArgument as error:
            raise InvalidArgument(f"no schedule {self.schedule!r}; {error}") from None
        _check_number("quantum", self.quantum, 1, _LAST_QUANTUM)
        if not isinstance(self.priorities, bool):
            raise InvalidArgument(f"priorities must be True or False, got {self.priorities!r}")


def _check_number(name: str, value: object, first: int, last: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidArgument(f"{name} must be an integer, got {value!r}")
    if not first <= value <= last:
        raise InvalidArgument(f"{name}={value} is outside [{first}, {last}]")
