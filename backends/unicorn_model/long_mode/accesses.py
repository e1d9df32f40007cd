"""The data accesses of an instruction of 64-bit code, in their order, and what refuses them before
paging does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from backends.unicorn_model.delivery.vectors import AC, GP, SS, Fault
from backends.unicorn_model.faults import NotModelled
from backends.unicorn_model.instructions.accesses import (
    CMPS,
    INS,
    LODS,
    MOVS,
    OUTS,
    SCAS,
    STOS,
    XLAT,
)
from backends.unicorn_model.instructions.decode import STRING_OPCODES
from backends.unicorn_model.instructions.opcode_map import Direction
from backends.unicorn_model.long_mode.delivery.machine import Registers
from backends.unicorn_model.long_mode.delivery.transaction import are_canonical
from backends.unicorn_model.long_mode.instructions import (
    Instruction,
    MemoryOperand,
    base_of,
    register_value,
)

__all__ = ["Access", "accesses", "first_fault", "is_checked_for_alignment"]

_MASK, _MASK_32 = (1 << 64) - 1, (1 << 32) - 1
_ALIGNMENT_MASK, _ALIGNMENT_CHECK = 1 << 18, 1 << 18  # CR0.AM, RFLAGS.AC

# What these do to the stack, in units of 8 bytes, or of 2 with an operand-size prefix.
_PUSHES = frozenset(
    (
        *range(0x50, 0x58),  # PUSH
        *(0x68, 0x6A, 0x0FA0, 0x0FA8),
        0x9C,  # PUSHF
        0xE8,  # CALL
    )
)
_POPS = frozenset(
    (
        *range(0x58, 0x60),  # POP
        *(0x0FA1, 0x0FA9),
        0x9D,  # POPF
        *(0xC2, 0xC3),  # RET
    )
)
_NEAR = (0xE8, 0xC2, 0xC3)  # appendix A.2.5: "the operand size is forced to 64 bits"
_FAR_RETURNS = (0xCA, 0xCB)
_POP_MEMORY, _ENTER, _LEAVE, _IRET = 0x8F, 0xC8, 0xC9, 0xCF
_GROUP_5, _CALL, _CALL_FAR, _PUSH = 0xFF, 2, 3, 6
_MASKED_MOVE, _GROUP_7, _MONITOR = 0x0FF7, 0x0F01, 0xC8


@dataclass(frozen=True, slots=True)
class Access:
    """A data access.

    Attributes:
        alignment: what its address should be a multiple of (6.15, "Interrupt 17").
        writes: it writes, or reads and writes.
        on_stack: in SS: #SS instead of #GP where the address is not canonical.
    """

    linear: int
    size: int
    alignment: int
    writes: bool
    on_stack: bool


def first_fault(found: Iterable[Access], registers: Registers) -> Fault | None:
    """The fault that the first refused access raises; None if paging decides.

    6.15, "Interrupt 12", "Interrupt 13": an address that is not canonical makes #SS(0) in SS, and
    #GP(0) elsewhere. Open: the order, where there are several accesses. Here, as in 32-bit mode,
    all are checked before any is translated.
    """
    aligned = not is_checked_for_alignment(registers)
    for access in found:
        if not are_canonical(access.linear, access.size):
            return Fault(SS if access.on_stack else GP, 0)
        if not aligned and access.linear % access.alignment:
            return Fault(AC, 0)
    return None


def is_checked_for_alignment(registers: Registers) -> bool:
    """6.15, "Interrupt 17": "only at privilege level 3 (user mode)"."""
    return bool(
        registers.cpl == 3
        and registers.cr0 & _ALIGNMENT_MASK
        and registers.rflags & _ALIGNMENT_CHECK
    )


def accesses(instruction: Instruction, registers: Registers) -> Iterator[Access]:
    """All that an instruction accesses; of a repeated one, the iteration that is next.

    Raises:
        NotModelled: it may access memory in a way that is not known here.
    """
    opcode = instruction.opcode
    wide = instruction.address_size == 8
    counter = "rcx" if wide else "ecx"
    is_string = opcode in STRING_OPCODES
    if is_string and instruction.repeated and not register_value(registers, counter):
        return
    if _is_unknown(instruction):
        raise NotModelled(f"{instruction.name} (opcode {opcode:X}): what it accesses")
    if is_string:
        yield from _string(instruction, registers)
    elif opcode == XLAT:
        offset = register_value(registers, "rbx" if wide else "ebx") + (registers.rax & 0xFF)
        offset &= _MASK if wide else _MASK_32
        linear = offset + base_of(registers, instruction.based) & _MASK
        yield Access(linear, 1, 1, writes=False, on_stack=False)
    elif opcode == _POP_MEMORY:
        yield from _pop_to_memory(instruction, registers)
    else:
        operand = instruction.memory
        if operand is not None and operand.use and operand.use.direction is not Direction.NONE:
            yield _operand_access(operand, registers, instruction.length)
        yield from _stack(instruction, registers)


def _is_unknown(instruction: Instruction) -> bool:
    opcode, memory = instruction.opcode, instruction.memory
    far_call = opcode == _GROUP_5 and instruction.extension == _CALL_FAR
    monitor = opcode == _GROUP_7 and instruction.modrm == _MONITOR
    unknown_operand = memory is not None and memory.use is None
    return (
        instruction.vector
        or unknown_operand
        or far_call
        or monitor
        or opcode in (_MASKED_MOVE, _IRET)
    )


def _operand_access(operand: MemoryOperand, registers: Registers, length: int) -> Access:
    assert operand.use is not None
    return Access(
        linear=operand.linear(registers, registers.rip + length),
        size=operand.use.size,
        alignment=operand.use.alignment,
        writes=operand.use.direction in (Direction.WRITE, Direction.UPDATE),
        on_stack=operand.on_stack,
    )


def _string(instruction: Instruction, registers: Registers) -> Iterator[Access]:
    opcode = instruction.opcode
    size = instruction.operand_size if opcode & 1 else 1
    if opcode in (*INS, *OUTS):
        size = min(size, 4)
    source, destination = ("rsi", "rdi") if instruction.address_size == 8 else ("esi", "edi")
    if opcode in (*OUTS, *MOVS, *CMPS, *LODS):
        linear = register_value(registers, source) + base_of(registers, instruction.based)
        yield Access(linear & _MASK, size, size, writes=False, on_stack=False)
    if opcode in (*INS, *MOVS, *CMPS, *STOS, *SCAS):
        linear = register_value(registers, destination)
        writes = opcode in (*INS, *MOVS, *STOS)
        yield Access(linear, size, size, writes=writes, on_stack=False)


def _on_stack(pointer: int, size: int, *, writes: bool) -> Access:
    return Access(pointer & _MASK, size, size, writes=writes, on_stack=True)


def _stack(instruction: Instruction, registers: Registers) -> Iterator[Access]:
    opcode, pointer = instruction.opcode, registers.rsp
    near = opcode in _NEAR or (opcode == _GROUP_5 and instruction.extension == _CALL)
    size = 2 if instruction.operand_size == 2 and not near else 8
    group_5_pushes = opcode == _GROUP_5 and instruction.extension in (_CALL, _PUSH)
    if opcode in _PUSHES or group_5_pushes:
        yield _on_stack(pointer - size, size, writes=True)
    elif opcode in _POPS:
        yield _on_stack(pointer, size, writes=False)
    elif opcode in _FAR_RETURNS:
        size = instruction.operand_size
        yield _on_stack(pointer, size, writes=False)
        yield _on_stack(pointer + size, size, writes=False)
    elif opcode == _LEAVE:
        yield _on_stack(registers.rbp, size, writes=False)
    elif opcode == _ENTER:
        yield from _enter(instruction, registers, size)


def _enter(instruction: Instruction, registers: Registers, size: int) -> Iterator[Access]:
    local = int.from_bytes(instruction.immediate[:2], "little")
    levels = instruction.immediate[2] & 31
    pointer = registers.rsp - size
    yield _on_stack(pointer, size, writes=True)
    for level in range(1, levels):
        yield _on_stack(registers.rbp - level * size, size, writes=False)
        pointer -= size
        yield _on_stack(pointer, size, writes=True)
    if levels:
        pointer -= size
        yield _on_stack(pointer, size, writes=True)
    # As in 32-bit mode: a write using the final value of the stack pointer has to be possible.
    yield _on_stack(pointer - local, 1, writes=True)


def _pop_to_memory(instruction: Instruction, registers: Registers) -> Iterator[Access]:
    """POP: with RSP as its base, the address is computed "after it increments the RSP register"."""
    size, operand = 2 if instruction.operand_size == 2 else 8, instruction.memory
    yield _on_stack(registers.rsp, size, writes=False)
    if operand is not None:
        after = replace(registers, rsp=registers.rsp + size & _MASK)
        yield _operand_access(operand, after, instruction.length)
