"""What delivery needs of a machine in 64-bit mode: its registers, and memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from backends.unicorn_model.delivery.machine import SEGMENTS, Mode, Segment, Table

__all__ = ["GENERAL", "SEGMENTS", "Machine", "Mode", "Registers", "Segment", "Table"]

GENERAL = (
    *("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"),
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"),
)
"""By the numbers that instructions have for them."""


@dataclass(frozen=True, slots=True)
class Registers:
    """The registers that delivery and instructions read or change."""

    rax: int
    rcx: int
    rdx: int
    rbx: int
    rsp: int
    rbp: int
    rsi: int
    rdi: int
    r8: int
    r9: int
    r10: int
    r11: int
    r12: int
    r13: int
    r14: int
    r15: int
    rip: int
    rflags: int
    es: Segment
    cs: Segment
    ss: Segment
    ds: Segment
    fs: Segment
    gs: Segment
    gdtr: Table
    idtr: Table
    ldtr: Segment
    tr: Segment
    cr0: int
    cr2: int
    cr3: int

    @property
    def cpl(self) -> int:
        """The current privilege level (5.5: bits 0 and 1 of CS)."""
        return self.cs.selector & 3


class Machine(Protocol):
    """A processor between two instructions.

    Linear addresses have 64 bits and are canonical. An access that paging does not allow raises
    `PageFault`; the machine does not touch CR2 for it.
    """

    @property
    def registers(self) -> Registers:
        """All registers. RIP is that of the instruction at which an event is delivered: the one
        that faults, the software interrupt itself, or, between instructions, the next one.
        """
        ...

    @registers.setter
    def registers(self, value: Registers) -> None:
        """Set them all but CR3, in which `value` agrees with the machine already."""
        ...

    def read(self, linear: int, size: int, mode: Mode) -> bytes:
        """Read bytes."""
        ...

    def check_write(self, linear: int, size: int, mode: Mode) -> None:
        """Raise the fault that a write would raise; change nothing that a guest can see."""
        ...

    def write(self, linear: int, data: bytes, mode: Mode) -> None:
        """Write bytes. Never faults where `check_write` did not."""
        ...
