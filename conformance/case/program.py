"""Programs: the operations that the kernel performs in one case.

Each class is one operation of kernel/protocol.toml; kernel/TRACE.md says what it does. Operand
names, order and widths come from the protocol.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from conformance.errors import InvalidArgument
from conformance.protocol import PROTOCOL

__all__ = [
    "OPERATIONS",
    "Allocate",
    "AllocateRun",
    "Count",
    "Dump",
    "Exhaust",
    "Free",
    "FreeAddress",
    "Operation",
    "Program",
]


@dataclass(frozen=True, slots=True)
class Operation:
    """Base of the operations. `name` is the protocol's.

    Raises:
        InvalidArgument: an operand does not fit its field.
    """

    name: ClassVar[str]

    def __post_init__(self) -> None:
        for field in PROTOCOL.operations[self.name].operands.fields:
            value = getattr(self, field.name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise InvalidArgument(
                    f"{self.name}: {field.name} must be an integer, got {value!r}"
                )
            if not 0 <= value < 1 << field.bits:
                raise InvalidArgument(
                    f"{self.name}: {field.name}={value:#x} does not fit in {field.bits} bits"
                )

    def operands(self) -> dict[str, int]:
        """The operands by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __str__(self) -> str:
        words = [f"{name}={_number(value)}" for name, value in self.operands().items()]
        return " ".join([self.name, *words])


def _number(value: int) -> str:
    return hex(value) if value > 0xFFFF else str(value)


@dataclass(frozen=True, slots=True)
class Allocate(Operation):
    """Take the lowest free frame."""

    name: ClassVar[str] = "allocate"


@dataclass(frozen=True, slots=True)
class AllocateRun(Operation):
    """Take `count` contiguous frames, the first a multiple of `alignment` (both in frames)."""

    name: ClassVar[str] = "allocate_run"
    count: int
    alignment: int = 1


@dataclass(frozen=True, slots=True)
class Free(Operation):
    """Give back everything that operation number `operation` was given."""

    name: ClassVar[str] = "free"
    operation: int


@dataclass(frozen=True, slots=True)
class FreeAddress(Operation):
    """Give back the one frame at this physical address (bytes), right or wrong."""

    name: ClassVar[str] = "free_address"
    address: int


@dataclass(frozen=True, slots=True)
class Count(Operation):
    """Say how many frames are free."""

    name: ClassVar[str] = "count"


@dataclass(frozen=True, slots=True)
class Exhaust(Operation):
    """Take single frames until there are none."""

    name: ClassVar[str] = "exhaust"


@dataclass(frozen=True, slots=True)
class Dump(Operation):
    """List the whole free set as ranges."""

    name: ClassVar[str] = "dump"


OPERATIONS: dict[str, type[Operation]] = {
    kind.name: kind for kind in (Allocate, AllocateRun, Free, FreeAddress, Count, Exhaust, Dump)
}
"""The operations by their name in the protocol."""


@dataclass(frozen=True, slots=True)
class Program:
    """Operations, run in order.

    Raises:
        InvalidArgument: more operations than the kernel can take.
    """

    operations: tuple[Operation, ...] = ()

    def __post_init__(self) -> None:
        limit = PROTOCOL.constants["maximum_operations"]
        if len(self.operations) > limit:
            raise InvalidArgument(
                f"a program has at most {limit} operations, got {len(self.operations)}"
            )
