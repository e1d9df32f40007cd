"""Instructions that load a data or stack segment register: MOV, POP, LDS, LES, LSS, LFS, LGS."""

from __future__ import annotations

from dataclasses import dataclass

from backends.unicorn_model.delivery.descriptors import is_null, selector_error
from backends.unicorn_model.delivery.flags import RF
from backends.unicorn_model.delivery.machine import (
    GENERAL,
    SEGMENTS,
    Machine,
    Mode,
    Segment,
)
from backends.unicorn_model.delivery.transaction import Transaction
from backends.unicorn_model.delivery.vectors import GP, NP, SS, Fault
from backends.unicorn_model.instructions.access_checks import first_fault, linear_address
from backends.unicorn_model.instructions.accesses import accesses
from backends.unicorn_model.instructions.decode import Instruction, register_value

__all__ = [
    "is_segment_load",
    "load",
    "load_into",
    "loads_stack_segment",
    "prepare",
    "register_moved",
]

_MASK = 0xFFFFFFFF
_MOV = 0x8E
_POPS = {0x07: "es", 0x17: "ss", 0x1F: "ds", 0x0FA1: "fs", 0x0FA9: "gs"}
_FAR_POINTERS = {0xC4: "es", 0xC5: "ds", 0x0FB2: "ss", 0x0FB4: "fs", 0x0FB5: "gs"}


@dataclass(frozen=True, slots=True)
class _Operand:
    """What an instruction is to load.

    Attributes:
        offset: the first half of a far pointer.
    """

    selector: int
    offset: int | None = None


def is_segment_load(instruction: Instruction) -> bool:
    """Whether `load` executes it. MOV to CS is an invalid opcode."""
    return _target(instruction) is not None


def loads_stack_segment(instruction: Instruction) -> bool:
    """Whether it is MOV or POP to SS, which hold back interrupts and traps (6.8.3). LSS is not."""
    return instruction.opcode not in _FAR_POINTERS and _target(instruction) == "ss"


def register_moved(instruction: Instruction) -> tuple[str, str] | None:
    """The segment register that MOV loads, and the general register that it is loaded from."""
    target = _target(instruction)
    if instruction.opcode != _MOV or instruction.memory is not None or target is None:
        return None
    return target, GENERAL[instruction.modrm & 7]


def load(machine: Machine, instruction: Instruction) -> None:
    """Execute the instruction at EIP, all of it: EIP and ESP move on as well.

    The trap that EFLAGS.TF makes is left to the caller.

    Raises:
        Fault, PageFault: nothing was changed.
    """
    prepare(machine, instruction).commit()


def prepare(machine: Machine, instruction: Instruction) -> Transaction:
    """Do what `load` does, without the last step."""
    target = _target(instruction)
    if target is None:
        raise ValueError(f"instruction={instruction.name}: loads no segment register")
    transaction = Transaction(machine)
    operand = _read_operand(transaction, instruction)
    loaded = load_into(transaction, target, operand.selector)
    before = transaction.registers
    transaction.change(
        **{target: loaded},
        eip=instruction.next_eip(before.eip),
        eflags=before.eflags & ~RF,  # 17.3.1.1: cleared by every instruction that completes
    )
    if instruction.opcode in _POPS:
        # The size of the old stack segment: it is what was popped from.
        transaction.change(esp=_popped(before.esp, instruction.operand_size, before.ss))
    if operand.offset is not None:
        name = GENERAL[instruction.extension]
        kept = 0 if instruction.operand_size == 4 else getattr(before, name) & 0xFFFF0000
        transaction.change(**{name: kept | operand.offset})
    return transaction


def load_into(transaction: Transaction, name: str, selector: int) -> Segment:
    """What a segment register holds after a load: the checks of MOV, in their order."""
    return (_stack if name == "ss" else _data)(transaction, selector)


def _stack(transaction: Transaction, selector: int) -> Segment:
    """MOV, "IF SS is loaded"."""
    if is_null(selector):
        raise Fault(GP, 0)
    error = selector_error(selector, external=False)
    address = transaction.locate(selector)
    cpl = transaction.registers.cpl
    if address is None or selector & 3 != cpl:
        raise Fault(GP, error)
    descriptor = transaction.descriptor_at(address)
    if not descriptor.is_writable or descriptor.dpl != cpl:
        raise Fault(GP, error)
    if not descriptor.present:
        raise Fault(SS, error)
    return Segment(selector, transaction.mark_accessed(address, descriptor))


def _data(transaction: Transaction, selector: int) -> Segment:
    """MOV, "IF DS, ES, FS, or GS is loaded", with a null selector or another."""
    if is_null(selector):
        return Segment(selector, None)
    error = selector_error(selector, external=False)
    address = transaction.locate(selector)
    if address is None:
        raise Fault(GP, error)
    descriptor = transaction.descriptor_at(address)
    if not descriptor.is_readable:
        raise Fault(GP, error)
    # 5.6. (Some editions of MOV say that "both RPL and CPL > DPL" make the fault.)
    privilege = max(transaction.registers.cpl, selector & 3)
    if not descriptor.is_conforming and privilege > descriptor.dpl:
        raise Fault(GP, error)
    if not descriptor.present:
        raise Fault(NP, error)
    return Segment(selector, transaction.mark_accessed(address, descriptor))


def _target(instruction: Instruction) -> str | None:
    opcode, extension = instruction.opcode, instruction.extension
    if instruction.vector:
        return None
    if opcode == _MOV:
        name = SEGMENTS[extension] if extension < len(SEGMENTS) else None
        return None if name == "cs" else name
    return _POPS.get(opcode) or _FAR_POINTERS.get(opcode)


def _read_operand(transaction: Transaction, instruction: Instruction) -> _Operand:
    registers = transaction.registers
    if instruction.opcode == _MOV and instruction.memory is None:
        return _Operand(register_value(registers, GENERAL[instruction.modrm & 7]) & 0xFFFF)
    (access,) = accesses(instruction, registers)
    fault = first_fault((access,), registers)
    if fault is not None:
        raise fault
    # Open: whether the halves of a far pointer are read by one access. Here they are.
    mode = Mode.at(registers.cpl)
    value = transaction.read_number(linear_address(access, registers), access.size, mode)
    if instruction.opcode in _FAR_POINTERS:
        bits = instruction.operand_size * 8
        return _Operand(value >> bits, value & (1 << bits) - 1)
    return _Operand(value & 0xFFFF)


def _popped(pointer: int, size: int, stack: Segment) -> int:
    mask = _MASK if stack.descriptor is not None and stack.descriptor.big else 0xFFFF
    return pointer & ~mask | pointer + size & mask
