"""What delivery needs of a machine: its registers, and memory at linear addresses."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from backends.unicorn_model.delivery.descriptors import Descriptor
from backends.unicorn_model.faults import NotModelled, PageFault

__all__ = [
    "GENERAL",
    "SEGMENTS",
    "Machine",
    "Mode",
    "NotModelled",
    "PageFault",
    "Registers",
    "Segment",
    "Table",
]

GENERAL = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi")
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs")


class Mode(Enum):
    """Who makes an access (4.6): it decides on the rights, and on the U/S bit of a fault.

    Attributes:
        USER: CPL 3.
        SUPERVISOR: explicit, CPL below 3.
        IMPLICIT: the processor, in a system structure (GDT, LDT, IDT, TSS), at whatever CPL;
            a supervisor access too, but EFLAGS.AC does not lift SMAP for it.
    """

    USER = "user"
    SUPERVISOR = "supervisor"
    IMPLICIT = "implicit"

    @classmethod
    def at(cls, privilege: int) -> Mode:
        """The mode of explicit accesses at a privilege level."""
        return cls.USER if privilege == 3 else cls.SUPERVISOR


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment register, LDTR or TR.

    Attributes:
        descriptor: the hidden part (3.4.3); None when it is not valid: a null selector was loaded,
            or a task switch failed before it came to this register.
    """

    selector: int
    descriptor: Descriptor | None


@dataclass(frozen=True, slots=True)
class Table:
    """GDTR or IDTR; the limit is the offset of the last byte (2.4)."""

    base: int
    limit: int


@dataclass(frozen=True, slots=True)
class Registers:
    """The registers that delivery reads or changes."""

    eax: int
    ecx: int
    edx: int
    ebx: int
    esp: int
    ebp: int
    esi: int
    edi: int
    eip: int
    eflags: int
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

    Linear addresses are those of the current CR3, and go round at 4 GiB. An access that paging
    does not allow raises `PageFault`; the machine does not touch CR2 for it.
    """

    @property
    def registers(self) -> Registers:
        """All registers. EIP is that of the instruction at which an event is delivered: the one
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

    def check_cr3(self, value: int) -> None:
        """Raise `Fault` if CR3 cannot be loaded with it (4.4.1: the PDPTEs of PAE paging)."""
        ...

    def load_cr3(self, value: int) -> None:
        """Load CR3 as a task switch does (4.10.4.1). Never fails where `check_cr3` did not."""
        ...
