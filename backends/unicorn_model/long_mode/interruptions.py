"""From what Unicorn says of an interruption in 64-bit mode to the event that is delivered."""

from __future__ import annotations

from backends.unicorn_model.access_rights import Access
from backends.unicorn_model.delivery.deliver import exception_of
from backends.unicorn_model.delivery.vectors import (
    EXCEPTIONS,
    GP,
    Event,
    Fault,
    Instruction,
    Kind,
    ProcessorException,
    SoftwareInterrupt,
)
from backends.unicorn_model.faults import NotModelled, PageFault
from backends.unicorn_model.instructions.error_codes import is_privileged, refuses_values
from backends.unicorn_model.long_mode.accesses import accesses, first_fault
from backends.unicorn_model.long_mode.instructions import Instruction as Decoded
from backends.unicorn_model.long_mode.instructions import decode
from backends.unicorn_model.long_mode.processor import LongProcessor
from backends.unicorn_model.long_mode.segment_loads import check_load, is_segment_load

__all__ = [
    "event_of_access_nowhere",
    "event_of_exception",
    "event_of_page_fault",
    "event_of_software_interrupt",
]

_INVALID_OPCODE = 6
_INT, _INT1, _INT1_VECTOR = 0xCD, 0xF1, 1
_CLI, _STI = 0xFA, 0xFB
_IOPL_SHIFT = 12
_PAGE = 0x1000
_MASK = (1 << 64) - 1


def event_of_software_interrupt(machine: LongProcessor, vector: int) -> SoftwareInterrupt:
    """INT n or INT3, which Unicorn has left behind; RIP is put back to it.

    A prefix in front of it is taken for a part of the instruction before: none has an effect.
    """
    registers = machine.registers
    next_rip = registers.rip
    (last,) = machine.code_at(next_rip - 1 & _MASK, registers.cpl, 1) or b"\0"
    instruction = Instruction.INT3 if (vector, last) == (3, 0xCC) else Instruction.INT
    length = 2 if instruction is Instruction.INT else 1
    machine.change(rip=next_rip - length & _MASK)
    return SoftwareInterrupt(vector, next_rip, instruction)


def event_of_page_fault(
    machine: LongProcessor, fault: PageFault, access: Access
) -> ProcessorException:
    """The page fault with its address, of which Unicorn says no more than the page; or what goes
    before it.

    Raises:
        NotModelled: the address is not known.
    """
    rip = machine.registers.rip
    page = fault.linear & -_PAGE
    if access is Access.FETCH:
        return exception_of(PageFault(rip if rip & -_PAGE == page else page, fault.error_code))
    instruction = _instruction(machine, f"a page fault in {page:#x}")
    found = list(accesses(instruction, machine.registers))
    refused = first_fault(found, machine.registers)
    if refused is not None:
        return exception_of(refused)
    for accessed in found:
        for address, _ in machine.pieces(accessed.linear, accessed.size):
            if address & -_PAGE == page:
                return exception_of(PageFault(address, fault.error_code))
    raised = _raised_by_load(machine, instruction)
    if raised is None:
        raise NotModelled(f"a page fault in {page:#x}: {instruction.name} has no access there")
    return exception_of(raised)


def event_of_access_nowhere(machine: LongProcessor, access: Access) -> ProcessorException:
    """#GP or #SS for an address that is not canonical.

    Raises:
        NotModelled: instructions were to be fetched there. (A branch that leads there is refused
            before it is executed, but for RET.)
    """
    if access is Access.FETCH:
        raise NotModelled("instructions at an address that is not canonical")
    instruction = _instruction(machine, "an address that is not canonical")
    refused = first_fault(accesses(instruction, machine.registers), machine.registers)
    if refused is None:
        raise NotModelled(f"{instruction.name} has no access to an address that is not canonical")
    return exception_of(refused)


def event_of_exception(machine: LongProcessor, vector: int) -> Event:
    """The exception, with its error code.

    Raises:
        NotModelled: the error code is not known.
    """
    registers = machine.registers
    instruction = decode(machine.code())
    if vector == _INVALID_OPCODE and instruction is not None:
        # What Unicorn takes for an invalid opcode: INT1, and INT 6.
        next_rip = registers.rip + instruction.length & _MASK
        if instruction.opcode == _INT1:
            return SoftwareInterrupt(_INT1_VECTOR, next_rip, Instruction.INT1)
        if instruction.opcode == _INT:
            return SoftwareInterrupt(_INVALID_OPCODE, next_rip)
    if vector >= len(EXCEPTIONS) or EXCEPTIONS[vector].kind in (Kind.RESERVED, Kind.INTERRUPT):
        raise NotModelled(f"vector {vector}, which is no exception")
    if not EXCEPTIONS[vector].error_code:
        return ProcessorException(vector)
    raised = _refusal(machine, instruction)
    event = None if raised is None else exception_of(raised)
    if event is None or event.vector != vector:
        name = "no instruction" if instruction is None else instruction.name
        mnemonic = EXCEPTIONS[vector].mnemonic
        raise NotModelled(f"the error code of {mnemonic} at {name}: no rule known raises it")
    return event


def _refusal(machine: LongProcessor, instruction: Decoded | None) -> Fault | PageFault | None:
    """What an instruction raises with an error code, of which Unicorn knows."""
    registers = machine.registers
    if instruction is None:
        # 6.15, "Interrupt 13": "attempting to execute an instruction longer than 15 bytes".
        return Fault(GP, 0)
    if registers.cpl and is_privileged(instruction):
        return Fault(GP, 0)
    if instruction.opcode in (_CLI, _STI) and registers.cpl > registers.rflags >> _IOPL_SHIFT & 3:
        return Fault(GP, 0)
    if refuses_values(instruction):
        return Fault(GP, 0)
    return _raised_by_load(machine, instruction)


def _raised_by_load(machine: LongProcessor, instruction: Decoded) -> Fault | PageFault | None:
    if is_segment_load(instruction):
        try:
            check_load(machine, instruction)
        except (Fault, PageFault) as refused:
            return refused
    return None


def _instruction(machine: LongProcessor, what: str) -> Decoded:
    instruction = decode(machine.code())
    if instruction is None:
        raise NotModelled(f"{what}, of no instruction")
    return instruction
