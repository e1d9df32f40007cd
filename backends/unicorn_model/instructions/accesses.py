"""The data accesses of an instruction, in their order: explicit, string and stack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from backends.unicorn_model.delivery.flags import NT
from backends.unicorn_model.delivery.machine import NotModelled, Registers
from backends.unicorn_model.instructions.decode import (
    STRING_OPCODES,
    Instruction,
    MemoryOperand,
    register_value,
)
from backends.unicorn_model.instructions.opcode_map import Direction

__all__ = ["Access", "accesses", "accesses_memory"]

_MASK = 0xFFFFFFFF

INS, OUTS, MOVS, CMPS = (0x6C, 0x6D), (0x6E, 0x6F), (0xA4, 0xA5), (0xA6, 0xA7)
STOS, LODS, SCAS = (0xAA, 0xAB), (0xAC, 0xAD), (0xAE, 0xAF)
XLAT = 0xD7

# What these do to the stack, in units of the operand size. A segment register takes a whole unit.
# Open: PUSH of one may write 16 bits of it only, POP may read 16 bits only.
_PUSHES = {
    0x06: 1,  # PUSH of a segment register
    0x0E: 1,
    0x16: 1,
    0x1E: 1,
    0x0FA0: 1,
    0x0FA8: 1,
    **{0x50 + register: 1 for register in range(8)},  # PUSH
    0x68: 1,
    0x6A: 1,
    0x60: 8,  # PUSHA
    0x9C: 1,  # PUSHF
    0xE8: 1,  # CALL
}
_POPS = {
    0x07: 1,  # POP to a segment register
    0x17: 1,
    0x1F: 1,
    0x0FA1: 1,
    0x0FA9: 1,
    **{0x58 + register: 1 for register in range(8)},  # POP
    0x9D: 1,  # POPF
    0xC2: 1,  # RET
    0xC3: 1,
    0xCA: 2,  # RET far; to an outer level it then pops two more
    0xCB: 2,
}
_POP_MEMORY, _POPA, _ENTER, _LEAVE, _IRET = 0x8F, 0x61, 0xC8, 0xC9, 0xCF
_POPA_SKIPS = 3  # POPA: "skip next 4 bytes of stack", where ESP was pushed
_GROUP_5, _CALL, _CALL_FAR, _PUSH = 0xFF, 2, 3, 6
_CALL_FAR_DIRECT = 0x9A

# Implicit accesses that are not known here.
_MASKED_MOVE, _GROUP_7, _MONITOR = 0x0FF7, 0x0F01, 0xC8
_IMPLICIT = {
    *STRING_OPCODES,
    *_PUSHES,
    *_POPS,
    *(XLAT, _POP_MEMORY, _POPA, _ENTER, _LEAVE, _IRET),
}


@dataclass(frozen=True, slots=True)
class Access:
    """A data access.

    Attributes:
        segment: the name of a segment register.
        alignment: what its address should be a multiple of (6.15, "Interrupt 17").
        writes: it writes, or reads and writes.
    """

    segment: str
    offset: int
    size: int
    alignment: int
    writes: bool


def accesses(instruction: Instruction, registers: Registers) -> Iterator[Access]:
    """All that an instruction accesses; of a repeated one, the iteration that is next.

    Raises:
        NotModelled: it may access memory in a way that is not known here.
    """
    opcode = instruction.opcode
    if instruction.repeated and opcode in STRING_OPCODES:
        counter = "ecx" if instruction.address_size == 4 else "cx"
        if not register_value(registers, counter):
            return
    if _is_unknown(instruction):
        raise NotModelled(
            f"{instruction.name} (opcode {opcode:X}): what it accesses, where segments have limits"
            " or alignment is checked"
        )
    if opcode in STRING_OPCODES:
        yield from _string(instruction, registers)
    elif opcode == XLAT:
        offset = register_value(registers, "ebx" if instruction.address_size == 4 else "bx")
        offset += registers.eax & 0xFF
        yield Access(instruction.override or "ds", _wrap(instruction, offset), 1, 1, False)
    elif opcode == _POP_MEMORY:
        yield from _pop_to_memory(instruction, registers)
    else:
        operand = instruction.memory
        if operand is not None and operand.use and operand.use.direction is not Direction.NONE:
            yield _operand_access(operand, registers)
        yield from _stack(instruction, registers)


def accesses_memory(instruction: Instruction) -> bool:
    """Whether it accesses data at all, or may do so in a way that is not known."""
    memory, opcode = instruction.memory, instruction.opcode
    explicit = memory is not None and (
        memory.use is None or memory.use.direction is not Direction.NONE
    )
    return (
        explicit or _is_unknown(instruction) or opcode in _IMPLICIT or _pushes_operand(instruction)
    )


def _operand_access(operand: MemoryOperand, registers: Registers) -> Access:
    """The access to an explicit memory operand."""
    assert operand.use is not None
    return Access(
        segment=operand.segment,
        offset=operand.offset(registers),
        size=operand.use.size,
        alignment=operand.use.alignment,
        writes=operand.use.direction in (Direction.WRITE, Direction.UPDATE),
    )


def _is_unknown(instruction: Instruction) -> bool:
    opcode, memory = instruction.opcode, instruction.memory
    far_call = opcode == _GROUP_5 and instruction.extension == _CALL_FAR
    monitor = opcode == _GROUP_7 and instruction.modrm == _MONITOR
    unknown_operand = memory is not None and memory.use is None
    known = not (instruction.vector or unknown_operand or far_call or monitor)
    return not known or opcode in (_CALL_FAR_DIRECT, _MASKED_MOVE)


def _pushes_operand(instruction: Instruction) -> bool:
    return instruction.opcode == _GROUP_5 and instruction.extension in (_CALL, _PUSH)


def _wrap(instruction: Instruction, offset: int) -> int:
    return offset & (_MASK if instruction.address_size == 4 else 0xFFFF)


def _string(instruction: Instruction, registers: Registers) -> Iterator[Access]:
    """Volume 1, 7.3.9: the source is in DS, or what a prefix says; the destination always in ES."""
    opcode = instruction.opcode
    size = instruction.operand_size if opcode & 1 else 1
    if opcode in (*INS, *OUTS):
        size = min(size, 4)
    source, destination = ("esi", "edi") if instruction.address_size == 4 else ("si", "di")
    # Open: the order of the two reads of CMPS.
    if opcode in (*OUTS, *MOVS, *CMPS, *LODS):
        offset = register_value(registers, source)
        yield Access(instruction.override or "ds", offset, size, size, False)
    if opcode in (*INS, *MOVS, *CMPS, *STOS, *SCAS):
        offset = register_value(registers, destination)
        yield Access("es", offset, size, size, opcode in (*INS, *MOVS, *STOS))


def _stack_mask(registers: Registers) -> int:
    """Volume 1, 6.2.3: the B flag of the stack segment says whether it is ESP or SP."""
    held = registers.ss.descriptor
    return _MASK if held is not None and held.big else 0xFFFF


def _stack_access(registers: Registers, pointer: int, size: int, *, writes: bool) -> Access:
    return Access("ss", pointer & _stack_mask(registers), size, size, writes)


def _pushes(registers: Registers, pointer: int, count: int, size: int) -> Iterator[Access]:
    for index in range(1, count + 1):
        yield _stack_access(registers, pointer - index * size, size, writes=True)


def _pops(registers: Registers, pointer: int, count: int, size: int) -> Iterator[Access]:
    for index in range(count):
        yield _stack_access(registers, pointer + index * size, size, writes=False)


def _stack(instruction: Instruction, registers: Registers) -> Iterator[Access]:
    opcode, size = instruction.opcode, instruction.operand_size
    pushes, pops = _PUSHES.get(opcode, 0), _POPS.get(opcode, 0)
    if _pushes_operand(instruction):
        pushes = 1
    if opcode == _IRET and not registers.eflags & NT:
        pops = 3  # and to an outer level two more, which `delivery.returns` checks
    if pushes:
        yield from _pushes(registers, registers.esp, pushes, size)
    elif pops:
        yield from _pops(registers, registers.esp, pops, size)
    elif opcode == _POPA:
        popped = list(_pops(registers, registers.esp, 8, size))
        del popped[_POPA_SKIPS]
        yield from popped
    elif opcode == _LEAVE:
        yield from _pops(registers, registers.ebp, 1, size)
    elif opcode == _ENTER:
        yield from _enter(instruction, registers)


def _enter(instruction: Instruction, registers: Registers) -> Iterator[Access]:
    size = instruction.operand_size
    local = int.from_bytes(instruction.immediate[:2], "little")
    levels = instruction.immediate[2] & 31
    pointer = registers.esp - size
    yield _stack_access(registers, pointer, size, writes=True)
    for level in range(1, levels):
        yield _stack_access(registers, registers.ebp - level * size, size, writes=False)
        pointer -= size
        yield _stack_access(registers, pointer, size, writes=True)
    if levels:
        pointer -= size
        yield _stack_access(registers, pointer, size, writes=True)
    # ENTER: "#SS(0) if the new value of the SP or ESP register is outside the stack segment limit",
    # and #PF "if a write using the final value of the stack pointer … would cause a page fault".
    # Open: how many bytes. Here one.
    yield _stack_access(registers, pointer - local, 1, writes=True)


def _pop_to_memory(instruction: Instruction, registers: Registers) -> Iterator[Access]:
    """POP: with ESP as its base, the address is computed "after it increments the ESP register"."""
    size, operand = instruction.operand_size, instruction.memory
    yield from _pops(registers, registers.esp, 1, size)
    if operand is not None:
        mask = _stack_mask(registers)
        pointer = registers.esp & ~mask | registers.esp + size & mask
        yield _operand_access(operand, replace(registers, esp=pointer))
