"""From a vector that Unicorn reports to the event that it is, with its error code (6.13)."""

from __future__ import annotations

from typing import Protocol

from backends.unicorn_model.delivery.deliver import exception_of
from backends.unicorn_model.delivery.machine import Machine, NotModelled, PageFault, Registers
from backends.unicorn_model.delivery.vectors import (
    EXCEPTIONS,
    GP,
    Fault,
    Kind,
    ProcessorException,
    SoftwareInterrupt,
)
from backends.unicorn_model.delivery.vectors import Instruction as Interrupt
from backends.unicorn_model.instructions.decode import Instruction
from backends.unicorn_model.instructions.segment_loads import is_segment_load, prepare

__all__ = [
    "is_privileged",
    "privilege_fault",
    "refuses_values",
    "reported",
    "software_interrupt",
]

_INT = 0xCD
_INTERRUPTS = {
    0xCC: (3, Interrupt.INT3),
    0xCE: (4, Interrupt.INTO),
    0xF1: (1, Interrupt.INT1),
}
_IOPL_SHIFT = 12

# 5.9, and the instructions' own pages.
_CLTS, _INVD, _WBINVD, _HLT, _SYSEXIT = 0x0F06, 0x0F08, 0x0F09, 0xF4, 0x0F35
_FROM_CR, _FROM_DR, _TO_CR, _TO_DR = 0x0F20, 0x0F21, 0x0F22, 0x0F23
_WRMSR, _RDTSC, _RDMSR, _RDPMC = 0x0F30, 0x0F31, 0x0F32, 0x0F33
_PRIVILEGED = {
    *(_CLTS, _INVD, _WBINVD, _HLT, _SYSEXIT, _FROM_CR, _FROM_DR, _TO_CR, _TO_DR, _WRMSR, _RDMSR)
}
_GROUP_6, _LLDT, _LTR = 0x0F00, 2, 3
_GROUP_7, _LGDT, _LIDT, _LMSW, _INVLPG, _XSETBV, _RDTSCP = (
    0x0F01,
    *(2, 3, 6, 7),
    *(0xD1, 0xF9),
)
# They look at CR4 or at values as well (Unicorn has), and have no error code but 0.
_REFUSING = {_TO_CR, _WRMSR, _RDMSR, _RDTSC, _RDPMC}
_CLI, _STI = 0xFA, 0xFB


class Encoded(Protocol):
    """What this needs of an instruction; the same for 64-bit code."""

    @property
    def opcode(self) -> int:
        """Of one byte or two."""

    @property
    def modrm(self) -> int:
        """Its ModR/M byte."""

    @property
    def extension(self) -> int:
        """The reg field of ModR/M."""

    @property
    def memory(self) -> object:
        """Its memory operand, or None."""


def software_interrupt(instruction: Instruction, eip: int) -> SoftwareInterrupt | None:
    """The event that INT n, INT3, INTO or INT1 is; None for every other instruction.

    Args:
        instruction: for INTO, EFLAGS.OF is taken to be set.
        eip: where the instruction is.
    """
    next_eip = instruction.next_eip(eip)
    if instruction.opcode == _INT:
        return SoftwareInterrupt(instruction.immediate[0], next_eip)
    if instruction.opcode in _INTERRUPTS:
        vector, kind = _INTERRUPTS[instruction.opcode]
        return SoftwareInterrupt(vector, next_eip, kind)
    return None


def reported(machine: Machine, vector: int, instruction: Instruction | None) -> ProcessorException:
    """The exception that Unicorn found, which is none of `software_interrupt`.

    Args:
        machine: with its EIP at the instruction; nothing of it is changed.
        vector: as reported.
        instruction: at EIP; None if `decode` finds none there. Of no meaning for a trap.

    Raises:
        NotModelled: the error code cannot be derived.
    """
    if vector >= len(EXCEPTIONS) or EXCEPTIONS[vector].kind in (Kind.RESERVED, Kind.INTERRUPT):
        raise NotModelled(f"vector {vector}, which is no exception")
    if not EXCEPTIONS[vector].error_code:
        return ProcessorException(vector)
    found = _find(machine, vector, instruction)
    if found is None:
        name = "no instruction" if instruction is None else instruction.name
        mnemonic = EXCEPTIONS[vector].mnemonic
        raise NotModelled(f"the error code of {mnemonic} at {name}: no rule known raises it")
    return exception_of(found)


def privilege_fault(instruction: Instruction, registers: Registers) -> Fault | None:
    """#GP(0) for instructions of a more privileged level (5.9; CLI, STI)."""
    cpl = registers.cpl
    if cpl and is_privileged(instruction):
        return Fault(GP, 0)
    # Without virtual interrupts (CR4.PVI), which the profiles' kernel does not use.
    sensitive = instruction.opcode in (_CLI, _STI)
    if sensitive and cpl > registers.eflags >> _IOPL_SHIFT & 3:
        return Fault(GP, 0)
    return None


def is_privileged(instruction: Encoded) -> bool:
    """Whether it is for CPL 0 only."""
    opcode, extension = instruction.opcode, instruction.extension
    if opcode == _GROUP_6:
        return extension in (_LLDT, _LTR)
    if opcode == _GROUP_7:
        in_memory = instruction.memory is not None
        return (
            (in_memory and extension in (_LGDT, _LIDT, _INVLPG))
            or extension == _LMSW
            or instruction.modrm == _XSETBV
        )
    return opcode in _PRIVILEGED


def refuses_values(instruction: Encoded) -> bool:
    """Whether it looks at values that may not be allowed."""
    group_7 = instruction.opcode == _GROUP_7 and instruction.modrm in (_XSETBV, _RDTSCP)
    return group_7 or instruction.opcode in _REFUSING


def _find(
    machine: Machine, vector: int, instruction: Instruction | None
) -> Fault | PageFault | None:
    if instruction is None:
        # 6.15, "Interrupt 13": "attempting to execute an instruction longer than 15 bytes". Other
        # bytes that are no instruction are #UD.
        return Fault(GP, 0) if vector == GP else None
    fault = privilege_fault(instruction, machine.registers)
    if fault is None and is_segment_load(instruction):
        try:
            prepare(machine, instruction)
        except (Fault, PageFault) as refused:
            return refused
    if fault is None and refuses_values(instruction):
        fault = Fault(GP, 0)
    return fault if fault is not None and fault.vector == vector else None
