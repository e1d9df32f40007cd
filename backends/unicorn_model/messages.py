"""What the backend and the worker say to each other. Needs no Unicorn."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from conformance.observe.observation import ControlRegisters, MachineFault

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
    """The end of a run, with one line about it.

    Attributes:
        console: the last bytes the guest printed.
        faults: the exceptions whose handlers were entered; None if they were too many to keep.
        control: the control registers at the end.
    """

    end: End
    detail: str
    console: bytes
    faults: tuple[MachineFault, ...] | None
    control: ControlRegisters

    def encode(self) -> bytes:
        """As JSON."""
        values = asdict(self) | {"console": base64.b64encode(self.console).decode()}
        return json.dumps(values).encode()

    @classmethod
    def decode(cls, message: bytes) -> Stop:
        """From JSON.

        Raises:
            KeyError, TypeError, ValueError: it is no such message.
        """
        values = json.loads(message)
        faults = values["faults"]
        return cls(
            end=End(values["end"]),
            detail=values["detail"],
            console=base64.b64decode(values["console"]),
            faults=None if faults is None else tuple(MachineFault(**fault) for fault in faults),
            control=ControlRegisters(**values["control"]),
        )


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
