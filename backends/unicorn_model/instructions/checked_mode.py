"""Stopping before every instruction, while Unicorn would let an access pass that faults."""

from __future__ import annotations

from backends.unicorn_model.delivery.machine import NotModelled, Registers
from backends.unicorn_model.delivery.vectors import Fault
from backends.unicorn_model.instructions.access_checks import (
    ALIGNMENT_MASK,
    first_fault,
    is_unrestricted,
)
from backends.unicorn_model.instructions.accesses import accesses, accesses_memory
from backends.unicorn_model.instructions.decode import Instruction, decode

__all__ = ["CheckedMode"]

# Not FS and GS: IRET to ring 3 leaves null selectors in them, often for good, and an instruction
# that uses them has a prefix that `patterns` finds.
_ALWAYS_USED = ("ss", "ds", "es")


class CheckedMode:
    """Whether it is on, and what is found while it is.

    Attributes:
        on: every instruction has to be looked at.
    """

    def __init__(self) -> None:
        self.on = False

    def update(self, registers: Registers) -> bool:
        """Take over segment registers and CR0; answers whether `on` has changed.

        Alignment counts at every CPL, though it is checked at CPL 3 only: an IRET to there need not
        be seen, nor POPF, which sets EFLAGS.AC.

        Raises:
            NotModelled: code that is not in a flat 32-bit segment.
        """
        before = self.on
        code = registers.cs.descriptor
        if code is None or not code.big or code.limit != 0xFFFFFFFF:
            raise NotModelled(f"CS={registers.cs}: code that is not in a 32-bit segment of 4 GiB")
        self.on = bool(registers.cr0 & ALIGNMENT_MASK) or not all(
            is_unrestricted(getattr(registers, name).descriptor) for name in _ALWAYS_USED
        )
        return self.on != before

    @staticmethod
    def rarely_used(instruction: Instruction) -> str | None:
        """The segment register that an instruction has to be looked at for even while it is off:
        if `is_unrestricted` does not hold for it.
        """
        return instruction.override if instruction.override in ("fs", "gs") else None

    @staticmethod
    def concerns(code: bytes) -> bool:
        """Whether `fault_before` has to be asked, for which all registers are needed.

        Args:
            code: the bytes at EIP, as many as can be fetched, 15 at most.
        """
        instruction = decode(code)
        return instruction is not None and accesses_memory(instruction)

    @staticmethod
    def fault_before(code: bytes, registers: Registers) -> Fault | None:
        """The fault that the instruction at EIP raises before any of its accesses is translated.

        Args:
            code: as for `concerns`. Where it is no whole instruction, fetching it decides.
            registers: all of them, as they are before the instruction, or before this iteration of
                a repeated one.

        Raises:
            NotModelled: it may access memory in a way that is not known.
        """
        instruction = decode(code)
        if instruction is None:
            return None
        return first_fault(accesses(instruction, registers), registers)
