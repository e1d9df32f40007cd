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
from conformance.case.operation import Operation, Rights
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
from conformance.errors import InvalidArgument
from conformance.protocol import PROTOCOL

__all__ = [
    "OPERATIONS",
    "Allocate",
    "AllocateRun",
    "Control",
    "Count",
    "Dump",
    "Exhaust",
    "Free",
    "FreeAddress",
    "Interrupt",
    "Invalidate",
    "Map",
    "Operation",
    "Overflow",
    "Probe",
    "Program",
    "Protect",
    "Raise",
    "ReadEntry",
    "Reload",
    "Rights",
    "Segment",
    "StackAllocate",
    "StackFree",
    "StackFreeAddress",
    "TripleFault",
    "Unmap",
    "WriteEntry",
]

OPERATIONS: dict[str, type[Operation]] = {
    kind.name: kind
    for kind in (
        *(Allocate, AllocateRun, Free, FreeAddress, Count, Exhaust, Dump),
        *(Map, Unmap, Protect, Invalidate, WriteEntry, ReadEntry, Reload, Control),
        *(Probe, Segment, Raise, Interrupt, TripleFault),
        *(StackAllocate, StackFree, StackFreeAddress, Overflow),
    )
}
"""The operations by their name in the protocol."""


@dataclass(frozen=True, slots=True)
class Program:
    """Operations, run in order.

    Attributes:
        operations: what the kernel does.
        stacks: how many stacks the task stack pool has.

    Raises:
        InvalidArgument: more operations or stacks than the kernel can take.
    """

    operations: tuple[Operation, ...] = ()
    stacks: int = 0

    def __post_init__(self) -> None:
        limit = PROTOCOL.constants["maximum_operations"]
        if len(self.operations) > limit:
            raise InvalidArgument(
                f"a program has at most {limit} operations, got {len(self.operations)}"
            )
        if not isinstance(self.stacks, int) or isinstance(self.stacks, bool):
            raise InvalidArgument(f"stacks must be an integer, got {self.stacks!r}")
        limit = PROTOCOL.constants["maximum_stacks"]
        if not 0 <= self.stacks <= limit:
            raise InvalidArgument(f"stacks={self.stacks} is outside [0, {limit}]")
