"""One instruction of a 32-bit code segment, as far as its accesses and exceptions depend on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import capstone
from capstone import x86_const

from backends.unicorn_model.delivery.machine import GENERAL, Registers
from backends.unicorn_model.instructions.decoded import (
    ADDRESS_SIZE,
    LOCK,
    LONGEST,
    OPERAND_SIZE,
    REPEATS,
    STRING_OPCODES,
    DecodedInstruction,
    Disassembler,
    Parts,
    Prefixes,
    bit_string_offset,
)
from backends.unicorn_model.instructions.opcode_map import OperandUse, operand_use

__all__ = ["LONGEST", "STRING_OPCODES", "Instruction", "MemoryOperand", "decode", "register_value"]

_MASK = 0xFFFFFFFF
_SEGMENT_PREFIXES = {0x26: "es", 0x2E: "cs", 0x36: "ss", 0x3E: "ds", 0x64: "fs", 0x65: "gs"}
_STACK_BASES = ("ebp", "esp", "bp")


@dataclass(frozen=True, slots=True)
class MemoryOperand:
    """The explicit memory operand of an instruction.

    Attributes:
        segment: the name of a segment register.
        base: the name of a general register, of 32 or 16 bits, or None.
        index: as `base`.
        address_size: in bytes, 2 or 4.
        use: what is accessed there; None if that is not known.
        bit_offset: the register that holds a signed offset into a bit string.
    """

    segment: str
    base: str | None
    index: str | None
    scale: int
    displacement: int
    address_size: int
    use: OperandUse | None
    bit_offset: str | None = None

    def offset(self, registers: Registers) -> int:
        """The effective address (volume 1, 3.7.5)."""
        value = self.displacement
        if self.base is not None:
            value += register_value(registers, self.base)
        if self.index is not None:
            value += register_value(registers, self.index) * self.scale
        if self.bit_offset is not None and self.use is not None:
            value += bit_string_offset(self.use, register_value(registers, self.bit_offset))
        return value & (_MASK if self.address_size == 4 else 0xFFFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction(DecodedInstruction):
    """A decoded instruction of 32-bit code.

    Its attributes of size are 2 or 4. VEX and EVEX are opcodes 0xC4 and 0xC5, and 0x62, with no
    memory operand that is known (`vector`).

    Attributes:
        override: the segment that a prefix names.
    """

    MASK: ClassVar[int] = _MASK
    COUNT: ClassVar[str] = "ecx"

    override: str | None
    memory: MemoryOperand | None

    @property
    def branch_mask(self) -> int:
        """Of the address that a near branch leads to: by the operand size."""
        return _MASK if self.operand_size == 4 else 0xFFFF


def register_value(registers: Registers, name: str) -> int:
    """The value of a general register of 32 or 16 bits."""
    if name.startswith("e"):
        return int(getattr(registers, name))
    return int(getattr(registers, f"e{name}")) & 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prefixes(Prefixes):
    override: str | None


def _prefixes(code: bytes) -> _Prefixes:
    """Volume 2, 2.1.1. Open: several of one group ("unpredictable"). Here the last one counts, as
    on every processor known.
    """
    operand_size = address_size = 4
    override, repeated, count = None, False, 0
    for byte in code:
        if byte == OPERAND_SIZE:
            operand_size = 2
        elif byte == ADDRESS_SIZE:
            address_size = 2
        elif byte in _SEGMENT_PREFIXES:
            override = _SEGMENT_PREFIXES[byte]
        elif byte in REPEATS:
            repeated = True
        elif byte != LOCK:
            break
        count += 1
    return _Prefixes(
        count=count,
        operand_size=operand_size,
        address_size=address_size,
        override=override,
        repeated=repeated,
    )


_disassembler = Disassembler(capstone.CS_MODE_32, _prefixes)


@lru_cache(maxsize=8192)
def decode(code: bytes) -> Instruction | None:
    """Decode the instruction that starts these bytes.

    Returns:
        None if they start with no whole and valid instruction of at most 15 bytes.
    """
    parts = _disassembler.parts(code)
    if parts is None:
        return None
    # Volume 2, 2.3.5: where ModR/M would name a register, these begin a VEX or EVEX prefix.
    vector = parts.opcode in (0xC4, 0xC5, 0x62) and parts.modrm >> 6 == 3
    return Instruction(
        **parts.attributes(vector=vector),
        override=parts.prefixes.override,
        memory=_memory_operand(parts, vector=vector),
    )


def _memory_operand(parts: Parts[_Prefixes], *, vector: bool) -> MemoryOperand | None:
    address, prefixes, field = parts.address, parts.prefixes, parts.modrm >> 3 & 7
    if address is None:
        return None
    use = None if vector else operand_use(parts.opcode, field, prefixes.operand_size)
    base = _register_name(parts.found, address.base)
    # Volume 1, table 3-5: the default segments.
    default = "ss" if base in _STACK_BASES else "ds"
    bit_offset = None
    if use is not None and use.bit_string:
        bit_offset = GENERAL[field] if prefixes.operand_size == 4 else GENERAL[field][1:]
    return MemoryOperand(
        segment=prefixes.override or default,
        base=base,
        index=_register_name(parts.found, address.index),
        scale=address.scale,
        displacement=address.disp & _MASK,
        address_size=prefixes.address_size,
        use=use,
        bit_offset=bit_offset,
    )


def _register_name(found: Any, number: int) -> str | None:
    """Of a base or index; what the disassembler calls EIZ is none."""
    if number in (x86_const.X86_REG_INVALID, x86_const.X86_REG_EIZ):
        return None
    return str(found.reg_name(number))
