"""Unicorn's processor between two instructions, as the rules of the manual see it."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from unicorn.unicorn_py3 import Uc

from backends.unicorn_model.access_rights import Access
from backends.unicorn_model.board import Board
from backends.unicorn_model.control_unit import ControlUnit
from backends.unicorn_model.delivery.machine import GENERAL, Registers, Segment
from backends.unicorn_model.delivery.vectors import GP, Fault
from backends.unicorn_model.faults import GeneralProtection
from backends.unicorn_model.hidden_state import HiddenState
from backends.unicorn_model.instructions.decode import Instruction, decode
from backends.unicorn_model.segment_registers import SegmentLoader
from backends.unicorn_model.stopped_state import StoppedState

__all__ = ["StoppedProcessor"]

_MASK = 0xFFFFFFFF


class StoppedProcessor(StoppedState[Registers]):
    """The `delivery.machine.Machine` that Unicorn's registers and guest RAM make."""

    MASK = _MASK
    GENERAL = GENERAL
    STACK_POINTER, POINTER, FLAGS = "esp", "eip", "eflags"

    def __init__(
        self, processor: Uc, board: Board, control: ControlUnit, hidden: HiddenState
    ) -> None:
        """Take what a `StoppedState` does."""
        super().__init__(processor, board, control, hidden)
        self._loader = SegmentLoader(processor)

    def check_cr3(self, value: int) -> None:
        """Raise `Fault` if a task switch cannot load CR3 with it."""
        try:
            self._control.check_task_cr3(value)
        except GeneralProtection as fault:
            raise Fault(GP, fault.error_code) from fault

    def load_cr3(self, value: int) -> None:
        """Load CR3 as a task switch does."""
        self._control.load_task_cr3(value)
        self.registers = replace(self.registers, cr3=value)

    def instruction(self, eip: int) -> Instruction | None:
        """The instruction at an address; None if there is none."""
        return decode(self.code(eip))

    def peek_stack(self, count: int) -> tuple[int, ...] | None:
        """The doublewords on top of the stack, also during emulation; None if a read would fault.

        Nothing is changed for it.
        """
        stack = self._hidden.segments()["ss"].descriptor
        if stack is None:
            return None
        esp, cs = self._stack.values()
        pointer = esp & (_MASK if stack.big else 0xFFFF)
        data = self.peek(stack.base + pointer & _MASK, 4 * count, cs & 3, Access.READ)
        return struct.unpack(f"<{count}I", data) if len(data) == 4 * count else None

    def _load_segments(self, segments: Mapping[str, Segment], cpl: int) -> None:
        self._loader.load(segments, before=self._held.cpl, cpl=cpl)

    def _make(self, **registers: Any) -> Registers:
        return Registers(**registers)
