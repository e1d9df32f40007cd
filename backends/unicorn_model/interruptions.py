"""From what Unicorn says of an interruption to the event that the processor would deliver."""

from __future__ import annotations

from collections.abc import Callable

from backends.unicorn_model.access_rights import Access
from backends.unicorn_model.delivery.deliver import exception_of
from backends.unicorn_model.delivery.returns import interrupt_return
from backends.unicorn_model.delivery.vectors import (
    EXCEPTIONS,
    Event,
    Fault,
    Instruction,
    ProcessorException,
    SoftwareInterrupt,
)
from backends.unicorn_model.faults import NotModelled, PageFault
from backends.unicorn_model.instructions import error_codes
from backends.unicorn_model.instructions.access_checks import linear_address
from backends.unicorn_model.instructions.accesses import accesses
from backends.unicorn_model.instructions.decode import decode
from backends.unicorn_model.instructions.segment_loads import is_segment_load, load
from backends.unicorn_model.stopped import StoppedProcessor

__all__ = ["event_of_exception", "event_of_page_fault", "event_of_software_interrupt"]

_INVALID_OPCODE = 6
_IRET = 0xCF
_PAGE = 0x1000
_MASK = 0xFFFFFFFF
_ONE_BYTE = {
    (3, 0xCC): Instruction.INT3,
    (4, 0xCE): Instruction.INTO,
}


def event_of_software_interrupt(machine: StoppedProcessor, vector: int) -> SoftwareInterrupt:
    """INT n, INT3 or INTO, which Unicorn has left behind; EIP is put back to it.

    A prefix in front of it is taken for a part of the instruction before: none has an effect.
    """
    registers = machine.registers
    next_eip = registers.eip
    (last,) = machine.code(next_eip - 1 & _MASK, 1) or b"\0"
    instruction = _ONE_BYTE.get((vector, last), Instruction.INT)
    length = 2 if instruction is Instruction.INT else 1
    machine.change(eip=next_eip - length & _MASK)
    return SoftwareInterrupt(vector, next_eip, instruction)


def event_of_page_fault(
    machine: StoppedProcessor, fault: PageFault, access: Access
) -> ProcessorException | None:
    """The page fault with its address, of which Unicorn says no more than the page; None where the
    instruction could be executed after all.

    Raises:
        NotModelled: the address is not known.
    """
    eip = machine.registers.eip
    page = fault.linear & -_PAGE
    if access is Access.FETCH:
        linear = machine.linear(eip)
        address = linear if linear & -_PAGE == page else page
        return exception_of(PageFault(address, fault.error_code))
    instruction = decode(machine.code(eip))
    if instruction is None:
        raise NotModelled(f"a page fault in {page:#x}, of no instruction")
    if instruction.opcode == _IRET:
        return _refused(lambda: interrupt_return(machine, instruction.next_eip(eip)))
    if is_segment_load(instruction):
        return _refused(lambda: load(machine, instruction))
    for accessed in accesses(instruction, machine.registers):
        linear = linear_address(accessed, machine.registers)
        for address, _ in machine.pieces(linear, accessed.size):
            if address & -_PAGE == page:
                return exception_of(PageFault(address, fault.error_code))
    raise NotModelled(f"a page fault in {page:#x}: {instruction.name} has no access there")


def event_of_exception(machine: StoppedProcessor, vector: int) -> Event | None:
    """The exception, with its error code; None where the manual has none (and Unicorn is wrong).

    Raises:
        NotModelled: the error code is not known.
    """
    code = machine.code(machine.registers.eip)
    instruction = decode(code)
    if instruction is not None and instruction.opcode == _IRET and EXCEPTIONS[vector].error_code:
        next_eip = instruction.next_eip(machine.registers.eip)
        return _refused(lambda: interrupt_return(machine, next_eip))
    if instruction is not None and vector == _INVALID_OPCODE:
        interrupt = error_codes.software_interrupt(instruction, machine.registers.eip)
        if interrupt is not None:
            return interrupt
    return error_codes.reported(machine, vector, instruction)


def _refused(execute: Callable[[], None]) -> ProcessorException | None:
    """What an instruction raises when the model executes it."""
    try:
        execute()
    except (Fault, PageFault) as fault:
        return exception_of(fault)
    return None
