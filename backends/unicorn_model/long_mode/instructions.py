"""One instruction of 64-bit code, as far as its accesses and exceptions depend on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import capstone
from capstone import x86_const

from backends.unicorn_model.faults import NotModelled
from backends.unicorn_model.instructions.decoded import (
    ADDRESS_SIZE,
    LOCK,
    OPERAND_SIZE,
    REPEATS,
    DecodedInstruction,
    Disassembler,
    Parts,
    Prefixes,
    bit_string_offset,
)
from backends.unicorn_model.instructions.opcode_map import Direction, OperandUse, operand_use
from backends.unicorn_model.long_mode.delivery.machine import GENERAL, Registers

__all__ = ["Instruction", "MemoryOperand", "decode", "register_value"]

_MASK, _MASK_32 = (1 << 64) - 1, (1 << 32) - 1
_BASED = {0x64: "fs", 0x65: "gs"}
_IGNORED_SEGMENTS = (0x26, 0x2E, 0x36, 0x3E)  # 3.4.4: their bases count as 0
_REX, _REX_W = range(0x40, 0x50), 8
_STACK_BASES = ("rsp", "rbp", "esp", "ebp")
_NO_REGISTERS = (x86_const.X86_REG_INVALID, x86_const.X86_REG_EIZ, x86_const.X86_REG_RIZ)

# Vol. 2, appendix A, where 64-bit mode has another operand than the map for 32-bit code says.
_MOVSXD, _GROUP_1A, _GROUP_5, _GROUP_7, _GROUP_9 = 0x63, 0x8F, 0xFF, 0x0F01, 0x0FC7
_NEAR, _PUSH = (2, 4), 6  # of group 5: for CALL and JMP, "the operand size is forced to 64 bits"
_WRITES = (0, 1)  # of group 7, SGDT and SIDT; 2 and 3 are LGDT and LIDT


@dataclass(frozen=True, slots=True)
class MemoryOperand:
    """The explicit memory operand of an instruction.

    Attributes:
        based: "fs" or "gs", whose bases count; None for all other segments.
        base: the name of a general register of 64 or 32 bits, "rip", "eip" or None.
        index: as `base`, but for the last two.
        address_size: in bytes, 4 or 8.
        use: what is accessed there; None if that is not known.
        bit_offset: the register that holds a signed offset into a bit string.
    """

    based: str | None
    base: str | None
    index: str | None
    scale: int
    displacement: int
    address_size: int
    use: OperandUse | None
    bit_offset: str | None = None

    @property
    def on_stack(self) -> bool:
        """It is in SS (vol. 1, table 3-5), so that #SS is what becomes of a bad address."""
        return self.based is None and self.base in _STACK_BASES

    def linear(self, registers: Registers, next_rip: int) -> int:
        """The linear address (vol. 1, 3.7.5.1)."""
        value = self.displacement
        if self.base in ("rip", "eip"):
            value += next_rip
        elif self.base is not None:
            value += register_value(registers, self.base)
        if self.index is not None:
            value += register_value(registers, self.index) * self.scale
        if self.bit_offset is not None and self.use is not None:
            value += bit_string_offset(self.use, register_value(registers, self.bit_offset))
        value &= _MASK if self.address_size == 8 else _MASK_32
        return value + base_of(registers, self.based) & _MASK


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction(DecodedInstruction):
    """A decoded instruction of 64-bit code.

    Its operand size is 2, 4 or 8, its address size 4 or 8. A near branch has the one of 64 bits
    (appendix A: "forced to 64 bits").

    Attributes:
        based: "fs" or "gs", if a prefix names one.
        register: the register that ModR/M names in place of a memory operand.
    """

    MASK: ClassVar[int] = _MASK
    COUNT: ClassVar[str] = "rcx"

    based: str | None
    memory: MemoryOperand | None
    register: str


def register_value(registers: Registers, name: str) -> int:
    """The value of a general register of 64 or 32 bits."""
    if name in GENERAL:
        return int(getattr(registers, name))
    whole = name[:-1] if name.endswith("d") else f"r{name[1:]}"
    return int(getattr(registers, whole)) & _MASK_32


def base_of(registers: Registers, segment: str | None) -> int:
    """The base of FS or GS; of the others it counts as 0 (3.4.4).

    Raises:
        NotModelled: it is not known.
    """
    if segment is None:
        return 0
    held = getattr(registers, segment).descriptor
    if held is None:
        raise NotModelled(f"{segment.upper()} with a null selector, whose base is in an MSR")
    return int(held.base)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prefixes(Prefixes):
    based: str | None
    rex: int


def _prefixes(code: bytes) -> _Prefixes:
    """Vol. 2, 2.1.1 and 2.2.1: REX counts only in front of the opcode."""
    operand_size, address_size = 4, 8
    based, repeated, rex, count = None, False, 0, 0
    for byte in code:
        if byte == OPERAND_SIZE:
            operand_size = 2
        elif byte == ADDRESS_SIZE:
            address_size = 4
        elif byte in _BASED:
            based = _BASED[byte]
        elif byte in REPEATS:
            repeated = True
        elif byte in _REX:
            rex = byte
            count += 1
            break
        elif byte not in (LOCK, *_IGNORED_SEGMENTS):
            break
        count += 1
    if rex & _REX_W:
        operand_size = 8
    return _Prefixes(
        count=count,
        operand_size=operand_size,
        address_size=address_size,
        based=based,
        repeated=repeated,
        rex=rex,
    )


_disassembler = Disassembler(capstone.CS_MODE_64, _prefixes)


@lru_cache(maxsize=8192)
def decode(code: bytes) -> Instruction | None:
    """Decode the instruction that starts these bytes.

    Returns:
        None if they start with no whole and valid instruction of at most 15 bytes.
    """
    parts = _disassembler.parts(code)
    if parts is None:
        return None
    vector = parts.opcode in (0xC4, 0xC5, 0x62)
    return Instruction(
        **parts.attributes(vector=vector),
        based=parts.prefixes.based,
        memory=_memory_operand(parts, vector=vector),
        register=GENERAL[parts.modrm & 7 | (parts.prefixes.rex & 1) << 3],
    )


def _use(opcode: int, extension: int, operand_size: int) -> OperandUse | None:
    if opcode == _MOVSXD:
        size = min(operand_size, 4)
        return OperandUse(Direction.READ, size, size)
    if opcode == _GROUP_5 and extension in _NEAR:
        return OperandUse(Direction.READ, 8, 8)
    if opcode == _GROUP_1A or (opcode == _GROUP_5 and extension == _PUSH):
        size = 2 if operand_size == 2 else 8
        direction = Direction.WRITE if opcode == _GROUP_1A else Direction.READ
        return OperandUse(direction, size, size)
    if opcode == _GROUP_7 and extension < 4:
        direction = Direction.WRITE if extension in _WRITES else Direction.READ
        return OperandUse(direction, 10, 8)
    if opcode == _GROUP_9 and extension == 1 and operand_size == 8:
        return OperandUse(Direction.UPDATE, 16, 16)
    return operand_use(opcode, extension, operand_size)


def _memory_operand(parts: Parts[_Prefixes], *, vector: bool) -> MemoryOperand | None:
    address, prefixes, field = parts.address, parts.prefixes, parts.modrm >> 3 & 7
    if address is None:
        return None
    use = None if vector else _use(parts.opcode, field, prefixes.operand_size)
    bit_offset = None
    if use is not None and use.bit_string:
        bit_offset = GENERAL[field | (prefixes.rex & 4) << 1]
    return MemoryOperand(
        based=prefixes.based,
        base=_register_name(parts.found, address.base),
        index=_register_name(parts.found, address.index),
        scale=address.scale,
        displacement=address.disp & _MASK,
        address_size=prefixes.address_size,
        use=use,
        bit_offset=bit_offset,
    )


def _register_name(found: Any, number: int) -> str | None:
    return None if number in _NO_REGISTERS else str(found.reg_name(number))
