"""Operations on the task stack pool (kernel/TRACE.md, "The task stack pool")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from conformance.case.operation import Operation

__all__ = ["Overflow", "StackAllocate", "StackFree", "StackFreeAddress"]


@dataclass(frozen=True, slots=True)
class StackAllocate(Operation):
    """Take the lowest free stack."""

    name: ClassVar[str] = "stack_allocate"


@dataclass(frozen=True, slots=True)
class StackFree(Operation):
    """Give back the stack that operation number `operation` was given."""

    name: ClassVar[str] = "stack_free"
    operation: int


@dataclass(frozen=True, slots=True)
class StackFreeAddress(Operation):
    """Give back the stack object at this linear address (bytes), right or wrong."""

    name: ClassVar[str] = "stack_free_address"
    address: int


@dataclass(frozen=True, slots=True)
class Overflow(Operation):
    """Overflow the stack that operation number `operation` was given.

    Attributes:
        how: a name of the protocol's `overflow_kind`: `push`, `call`, `recursion`, …
        size: bytes of locals, for `array` and `recursion`.
    """

    name: ClassVar[str] = "overflow"
    operation: int
    how: str
    size: int = 0
