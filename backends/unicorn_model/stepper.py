"""Telling an instruction fetch that fails from one that Unicorn only tried too early.

Unicorn fetches a block before it executes any of it, up to the next branch. If the block runs over
into a page that is not there, Unicorn gives all of it up: the fetch that failed is of an
instruction to which the processor would come later, or never. Then it has to go there in single
steps.
"""

from __future__ import annotations

from unicorn.unicorn_py3 import Uc

__all__ = ["Stepper"]

_PAGE = 0x1000


class Stepper:
    """Single steps of one processor, which is stopped.

    Args:
        processor: gets the address to stop at.
        mask: of the linear addresses of its mode.
    """

    def __init__(self, processor: Uc, mask: int) -> None:
        self._processor = processor
        self._mask = mask
        self._exit: int | None = None

    def step(self, linear: int, length: int | None, page: int) -> bool:
        """Let Unicorn stop behind the next instruction, if that lies before the page.

        Args:
            linear: where the instruction is.
            length: of the instruction; None if its bytes are none.
            page: the linear address of the page of which nothing can be fetched.

        Returns:
            Whether it was fetched too early; otherwise the fault is that of the instruction.
        """
        if linear & -_PAGE == page:
            return False
        if length is None or (page - linear & self._mask) < length:
            return False
        self._end_with(linear + length & self._mask)
        return True

    def finish(self, linear: int) -> bool:
        """Unicorn has stopped: was it behind the instruction that was to be stepped over?"""
        reached = linear == self._exit
        if self._exit is not None:
            self._end_with(None)
        return reached

    def _end_with(self, address: int | None) -> None:
        self._exit = address
        self._processor.ctl_set_exits([] if address is None else [address])
