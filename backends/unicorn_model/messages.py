"""What the backend and the worker say to each other. Needs no Unicorn."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["End", "Entry", "Stop"]


class End(StrEnum):
    """How a run of the model ended."""

    BELL = "bell"
    """The guest rang."""
    SHUTDOWN = "shutdown"
    """The processor shut down: a triple fault."""
    HALTED = "halted"
    """The guest halted, with nothing that could wake it."""
    NOT_MODELLED = "not-modelled"
    """The guest did something the model has no rule for."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The end of a run, with one line about it."""

    end: End
    detail: str
    console: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """The state a Multiboot loader enters the kernel in (Multiboot 0.6.96, section 3.2).

    Attributes:
        address: the kernel's entry point.
        magic: for EAX.
        information: for EBX.
        descriptor_table: physical address of a GDT whose entries 1 and 2 are flat code and data.
    """

    address: int
    magic: int
    information: int
    descriptor_table: int
