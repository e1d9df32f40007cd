"""Operations on the frame allocator (kernel/TRACE.md, "Operations")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from conformance.case.operation import Operation

__all__ = ["Allocate", "AllocateRun", "Count", "Dump", "Exhaust", "Free", "FreeAddress"]


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
