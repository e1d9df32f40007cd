"""Loads of a data or stack segment register in 64-bit mode (MOV, POP).

Unicorn executes those of data segments, since a segment register means little here; of a refusal it
tells the vector, and the error code is found here. A load of SS the model executes.
"""

from __future__ import annotations

from backends.unicorn_model.delivery.descriptors import is_null, selector_error
from backends.unicorn_model.delivery.flags import RF
from backends.unicorn_model.delivery.vectors import GP, NP, SS, Fault
from backends.unicorn_model.long_mode.accesses import accesses, first_fault
from backends.unicorn_model.long_mode.delivery.machine import SEGMENTS, Machine, Mode, Segment
from backends.unicorn_model.long_mode.delivery.transaction import Transaction
from backends.unicorn_model.long_mode.instructions import Instruction

__all__ = ["check_load", "is_segment_load", "load_stack_segment"]

_MOV = 0x8E
_POPS = {0x0FA1: "fs", 0x0FA9: "gs"}


def is_segment_load(instruction: Instruction) -> bool:
    """Whether `check_load` knows it. MOV to CS is an invalid opcode."""
    return _target(instruction) is not None


def check_load(machine: Machine, instruction: Instruction) -> None:
    """Raise what the instruction at RIP raises; nothing is changed.

    Raises:
        Fault, PageFault: what it raises.
    """
    target = _target(instruction)
    if target is None:
        raise ValueError(f"instruction={instruction.name}: loads no segment register")
    transaction = Transaction(machine)
    selector = _selector(transaction, instruction)
    if target == "ss":
        _stack(transaction, selector)
    else:
        _check_data(transaction, selector)


def load_stack_segment(machine: Machine, instruction: Instruction) -> None:
    """Execute the MOV to SS at RIP, which moves on as well.

    Raises:
        Fault, PageFault: nothing was changed.
    """
    transaction = Transaction(machine)
    before = transaction.registers
    transaction.change(
        ss=_stack(transaction, _selector(transaction, instruction)),
        rip=instruction.next_eip(before.rip),
        rflags=before.rflags & ~RF,  # 17.3.1.1: cleared by every instruction that completes
    )
    transaction.commit()


def _target(instruction: Instruction) -> str | None:
    if instruction.vector:
        return None
    if instruction.opcode == _MOV and instruction.extension < len(SEGMENTS):
        name = SEGMENTS[instruction.extension]
        return None if name == "cs" else name
    return _POPS.get(instruction.opcode)


def _selector(transaction: Transaction, instruction: Instruction) -> int:
    registers = transaction.registers
    found = list(accesses(instruction, registers))
    if not found:
        return int(getattr(registers, instruction.register)) & 0xFFFF
    fault = first_fault(found, registers)
    if fault is not None:
        raise fault
    (access,) = found
    refused = Fault(SS if access.on_stack else GP, 0)
    mode = Mode.at(registers.cpl)
    return transaction.read_number(access.linear, access.size, refused, mode) & 0xFFFF


def _stack(transaction: Transaction, selector: int) -> Segment:
    """MOV, "IF SS is loaded": a null selector may be, but not at CPL 3."""
    cpl = transaction.registers.cpl
    if is_null(selector):
        if cpl == 3 or selector & 3 != cpl:
            raise Fault(GP, 0)
        return Segment(selector, None)
    error = selector_error(selector, external=False)
    descriptor = transaction.descriptor(selector, Fault(GP, error))
    if selector & 3 != cpl or not descriptor.is_writable or descriptor.dpl != cpl:
        raise Fault(GP, error)
    if not descriptor.present:
        raise Fault(SS, error)
    return Segment(selector, transaction.mark_accessed(selector, descriptor))


def _check_data(transaction: Transaction, selector: int) -> None:
    """MOV, "IF DS, ES, FS, or GS is loaded"."""
    if is_null(selector):
        return
    error = selector_error(selector, external=False)
    descriptor = transaction.descriptor(selector, Fault(GP, error))
    privilege = max(transaction.registers.cpl, selector & 3)
    if not descriptor.is_readable:
        raise Fault(GP, error)
    if not descriptor.is_conforming and privilege > descriptor.dpl:
        raise Fault(GP, error)
    if not descriptor.present:
        raise Fault(NP, error)
