"""Telling an instruction fetch that fails from one that Unicorn only tried too early.

Unicorn fetches a block before it executes any of it, up to the next branch. If the block runs over
into a page that is not there, Unicorn gives all of it up: the fetch that failed is of an
instruction to which the processor would come later, or never. Then it has to go there in single
steps. (So it has where an interrupt may come behind each instruction.)
"""

from __future__ import annotations

from typing import Any

from unicorn.unicorn_py3 import Uc

from backends.unicorn_model.instructions.decoded import LONGEST
from backends.unicorn_model.single_step import successors
from backends.unicorn_model.stopped_state import StoppedState

__all__ = ["Stepper"]

_PAGE = 0x1000
_LAST = (1 << 64) - 1


class Stepper:
    """Single steps of one processor, which is stopped.

    Args:
        processor: gets the address to stop at.
    """

    def __init__(self, processor: Uc) -> None:
        self._processor = processor
        self._exits: list[int] = []

    def step(self, machine: StoppedState[Any], page: int) -> bool:
        """Let Unicorn stop behind the next instruction, if that lies before the page.

        Args:
            machine: stands at the instruction.
            page: the linear address of the page of which nothing can be fetched.

        Returns:
            Whether it was fetched too early; otherwise the fault is that of the instruction.
        """
        linear = machine.linear(machine.pointer)
        instruction = machine.instruction(machine.pointer)
        if linear & -_PAGE == page or instruction is None:
            return False
        if page - linear & machine.MASK < instruction.length:
            return False
        self._end_at([linear + instruction.length & machine.MASK])
        return True

    def step_one(self, machine: StoppedState[Any]) -> None:
        """Let Unicorn stop behind the instruction at EIP, unless it is a branch or comes in
        iterations: then that is where a block ends.
        """
        eip = machine.pointer
        linear = machine.linear(eip)
        # What is translated has no exit in it. (The range has an end, and it is not empty.)
        end = min(linear + LONGEST, _LAST)
        self._processor.ctl_remove_cache(min(linear, end - 1), end)
        instruction = machine.instruction(eip)
        behind = None if instruction is None else successors(instruction, eip)
        self._end_at([machine.linear(address) for address in behind or () if address != eip])

    def finish(self, linear: int) -> bool:
        """Unicorn has stopped: was it behind the instruction that was to be stepped over?"""
        reached = linear in self._exits
        if self._exits:
            self._end_at([])
        return reached

    def _end_at(self, addresses: list[int]) -> None:
        self._exits = addresses
        self._processor.ctl_set_exits(addresses)
