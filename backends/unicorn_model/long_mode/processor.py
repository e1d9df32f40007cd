"""Unicorn's processor in 64-bit mode, between two instructions, as the manual's rules see it."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from backends.unicorn_model.access_rights import Access
from backends.unicorn_model.long_mode.delivery.machine import GENERAL, Registers, Segment
from backends.unicorn_model.long_mode.instructions import Instruction, decode
from backends.unicorn_model.stopped_state import StoppedState

__all__ = ["LongProcessor"]


class LongProcessor(StoppedState[Registers]):
    """The `long_mode.delivery.machine.Machine` that Unicorn's registers and guest RAM make."""

    MASK = (1 << 64) - 1
    GENERAL = GENERAL
    STACK_POINTER, POINTER, FLAGS = "rsp", "rip", "rflags"

    def linear(self, eip: int) -> int:
        """The linear address of an instruction: the base of CS counts as 0 (3.4.4)."""
        return eip

    def instruction(self, eip: int) -> Instruction | None:
        """The instruction at an address; None if there is none."""
        return decode(self.code(eip))

    def peek_stack(self) -> int | None:
        """The quadword on top of the stack, also during emulation; None if a read would fault.

        Nothing is changed for it.
        """
        rsp, cs = self._stack.values()
        data = self.peek(rsp, 8, cs & 3, Access.READ)
        return struct.unpack("<Q", data)[0] if len(data) == 8 else None

    def _load_segments(self, segments: Mapping[str, Segment], cpl: int) -> None:
        self._hidden.load_in_long_mode(segments, cpl)

    def _make(self, **registers: Any) -> Registers:
        return Registers(**registers)
