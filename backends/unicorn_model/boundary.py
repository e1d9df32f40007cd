"""The boundary between two instructions: whether an external interrupt is taken there."""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

from backends.unicorn_model.delivery.flags import IF
from backends.unicorn_model.delivery.vectors import ExternalInterrupt
from backends.unicorn_model.external_interrupts import ExternalInterrupts
from backends.unicorn_model.single_step import successors
from backends.unicorn_model.stopped_state import StoppedState

__all__ = ["Blocking", "Boundary", "ran_into_hlt"]

_HLT = 0xF4
_LONGEST_BLOCK = 512


class Blocking(Enum):
    """What the last instruction holds back until after the next one.

    Attributes:
        STI: external interrupts, if it has set EFLAGS.IF (STI).
        STACK: these, and the trap of single-stepping: MOV or POP to SS (6.8.3).
    """

    NONE = auto()
    STI = auto()
    STACK = auto()


class Boundary:
    """Where one processor's program is interrupted.

    Attributes:
        blocking: what the last instruction does.
        halted: the last instruction was HLT.
    """

    def __init__(self, interrupts: ExternalInterrupts) -> None:
        self._interrupts = interrupts
        self._one_more = False
        self.blocking = Blocking.NONE
        self.halted = False

    def load_stack_segment(self) -> bool:
        """MOV or POP to SS has been executed; answers whether it holds back its own trap.

        6.8.3: of several in a row only the first is sure to. Open: the others. Here they do not.
        """
        first = self.blocking is not Blocking.STACK
        self.blocking = Blocking.STACK if first else Blocking.NONE
        return first

    def complete(self, *, enables: bool = False, halts: bool = False) -> None:
        """An instruction has been executed that does not load the stack segment.

        Args:
            enables: it is STI, and EFLAGS.IF was clear.
            halts: it is HLT.
        """
        self.blocking = Blocking.STI if enables else Blocking.NONE
        self.halted = halts

    def must_step(self) -> bool:
        """Whether the next boundary has to be looked at, behind one instruction."""
        return self._one_more or (self._interrupts.pending and self.blocking is not Blocking.NONE)

    def interrupt(self, machine: StoppedState[Any], start: int | None) -> ExternalInterrupt | None:
        """The interrupt that is taken (6.8.1: if EFLAGS.IF is set).

        Args:
            start: the EIP from which the instruction before it was executed, or a block; None if
                emulation stopped for another reason.
        """
        self._one_more = False
        if not machine.flags & IF or self.blocking is not Blocking.NONE:
            return None
        if not (self._interrupts.wait() if self.halted else self._interrupts.pending):
            return None
        instruction = None if start is None else machine.instruction(machine.pointer)
        inside = False
        if instruction is not None and instruction.is_repeated:
            inside = machine.pointer == start and not instruction.is_over(machine.registers)
            if not inside:
                # Unicorn has not begun it, or stands before it though it is over.
                self._one_more = True
                return None
        return ExternalInterrupt(self._interrupts.acknowledge(), mid_string=inside)


def ran_into_hlt(machine: StoppedState[Any], start: int) -> bool:
    """Whether HLT is the last of the instructions from `start` to EIP, if no branch is among them.

    Unicorn does not stop behind OUT, but at the end of a block, which HLT may be.
    """
    eip, end = start, machine.pointer
    for _ in range(_LONGEST_BLOCK):
        instruction = machine.instruction(eip)
        if instruction is None or successors(instruction, eip) != frozenset(
            {instruction.next_eip(eip)}
        ):
            return False
        eip = instruction.next_eip(eip)
        if eip == end:
            return instruction.opcode == _HLT
    return False
