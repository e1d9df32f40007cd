"""Operations that provoke a fault, or see that there is none (kernel/TRACE.md, "Faults")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from conformance.case.operation import Operation

__all__ = ["Interrupt", "Probe", "Raise", "Segment", "TripleFault"]


@dataclass(frozen=True, slots=True)
class Probe(Operation):
    """Access `address` once.

    Attributes:
        address: linear, in the probe area, a task's stack or the kernel's first page; in x86_64
            also any that is not canonical.
        access: `read`, `write` or `execute`.
        size: bytes: 1, 2 or 4; in x86_64 also 8.
        ring: 0 or 3.
        alignment_check: EFLAGS.AC during the access; in ring 0 it lifts SMAP.
        through: the base register of the address: `plain`; `stack` or `frame`, which are in SS.
    """

    name: ClassVar[str] = "probe"
    address: int
    access: str = "read"
    size: int = 4
    ring: int = 0
    alignment_check: bool = False
    through: str = "plain"


@dataclass(frozen=True, slots=True)
class Segment(Operation):
    """Load a segment register with a data segment, and access `offset` of it.

    Attributes:
        target: `fs` or `ss`.
        offset: what is accessed, in bytes from the base.
        base: linear address of the segment.
        limit: the effective limit: the last offset that is inside (or outside: expand-down).
        access: `read` or `write`.
        size: bytes: 1, 2 or 4.
        expand_down: the segment is what lies above the limit.
    """

    name: ClassVar[str] = "segment"
    target: str
    offset: int
    base: int = 0
    limit: int = 0xFFFFFFFF
    access: str = "read"
    size: int = 4
    expand_down: bool = False


@dataclass(frozen=True, slots=True)
class Raise(Operation):
    """Raise an exception on purpose; the protocol's `raise_cause` lists the causes."""

    name: ClassVar[str] = "raise"
    cause: str


@dataclass(frozen=True, slots=True)
class Interrupt(Operation):
    """INT `vector`, for a vector below 32 that has no error code."""

    name: ClassVar[str] = "interrupt"
    vector: int


@dataclass(frozen=True, slots=True)
class TripleFault(Operation):
    """An empty IDT, and an invalid opcode: the processor shuts down, and the run is over."""

    name: ClassVar[str] = "triple_fault"
