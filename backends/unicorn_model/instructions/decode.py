"""One instruction of a 32-bit code segment, as far as its accesses and exceptions depend on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import capstone
from capstone import x86_const

from backends.unicorn_model.delivery.machine import GENERAL, Registers
from backends.unicorn_model.instructions.opcode_map import OperandUse, operand_use

__all__ = ["LONGEST", "STRING_OPCODES", "Instruction", "MemoryOperand", "decode", "register_value"]

LONGEST = 15
"""Bytes of the longest instruction (volume 2, 2.3.11 and the list of #GP's causes in 6.15)."""

_MASK = 0xFFFFFFFF
_SEGMENT_PREFIXES = {0x26: "es", 0x2E: "cs", 0x36: "ss", 0x3E: "ds", 0x64: "fs", 0x65: "gs"}
_OPERAND_SIZE, _ADDRESS_SIZE, _LOCK, _REPEATS = 0x66, 0x67, 0xF0, (0xF2, 0xF3)
_STACK_BASES = ("ebp", "esp", "bp")

STRING_OPCODES = frozenset((*range(0x6C, 0x70), *range(0xA4, 0xA8), *range(0xAA, 0xB0)))
"""INS, OUTS, MOVS, CMPS, STOS, LODS and SCAS, whose operands are implicit."""


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
            # BT: "Effective Address + (4 * (BitOffset DIV 32))", or twice as often 2 and 16.
            bits = self.use.size * 8
            position = register_value(registers, self.bit_offset)
            if position >> bits - 1:
                position -= 1 << bits
            value += self.use.size * (position // bits)
        return value & (_MASK if self.address_size == 4 else 0xFFFF)


@dataclass(frozen=True, slots=True)
class Instruction:
    """A decoded instruction.

    Attributes:
        name: its mnemonic, for messages.
        opcode: of one byte; 0x0FB2 is one of two. VEX and EVEX are 0xC4 and 0xC5, and 0x62, with no
            memory operand that is known (`vector`).
        modrm: its ModR/M byte, or what stands where one would.
        immediate: the bytes behind the opcode, ModR/M included where there is one.
        length: prefixes included.
        operand_size: the operand-size attribute in bytes, 2 or 4.
        address_size: the address-size attribute in bytes, 2 or 4.
        override: the segment that a prefix names.
        repeated: it has a REP prefix.
        vector: it is of VEX or EVEX encoding.
    """

    name: str
    opcode: int
    modrm: int
    immediate: bytes
    length: int
    operand_size: int
    address_size: int
    override: str | None
    repeated: bool
    vector: bool
    memory: MemoryOperand | None

    @property
    def extension(self) -> int:
        """The reg field of ModR/M."""
        return self.modrm >> 3 & 7

    @property
    def is_repeated(self) -> bool:
        """Whether it is a string instruction that comes in iterations."""
        return self.repeated and self.opcode in STRING_OPCODES and not self.vector

    def is_over(self, registers: Registers) -> bool:
        """Whether a repeated one has no iteration left, by its count (REP)."""
        return not register_value(registers, "ecx" if self.address_size == 4 else "cx")

    def next_eip(self, eip: int) -> int:
        """The address behind it."""
        return eip + self.length & _MASK


def register_value(registers: Registers, name: str) -> int:
    """The value of a general register of 32 or 16 bits."""
    if name.startswith("e"):
        return int(getattr(registers, name))
    return int(getattr(registers, f"e{name}")) & 0xFFFF


@dataclass(frozen=True, slots=True)
class _Prefixes:
    count: int
    operand_size: int
    address_size: int
    override: str | None
    repeated: bool


def _prefixes(code: bytes) -> _Prefixes:
    """Volume 2, 2.1.1. Open: several of one group ("unpredictable"). Here the last one counts, as
    on every processor known.
    """
    operand_size = address_size = 4
    override, repeated, count = None, False, 0
    for byte in code:
        if byte == _OPERAND_SIZE:
            operand_size = 2
        elif byte == _ADDRESS_SIZE:
            address_size = 2
        elif byte in _SEGMENT_PREFIXES:
            override = _SEGMENT_PREFIXES[byte]
        elif byte in _REPEATS:
            repeated = True
        elif byte != _LOCK:
            break
        count += 1
    return _Prefixes(count, operand_size, address_size, override, repeated)


_disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_32)
_disassembler.detail = True


@lru_cache(maxsize=8192)
def decode(code: bytes) -> Instruction | None:
    """Decode the instruction that starts these bytes.

    Returns:
        None if they start with no whole and valid instruction of at most 15 bytes.
    """
    found = next(_disassembler.disasm(code, 0, count=1), None)
    if found is None:
        return None
    prefixes = _prefixes(code)
    rest = code[prefixes.count : found.size]
    if not rest:  # a prefix that is none in front of what follows
        return None
    opcode, behind = rest[0], rest[1:]
    # Volume 2, 2.3.5: where ModR/M would name a register, these begin a VEX or EVEX prefix.
    vector = opcode in (0xC4, 0xC5, 0x62) and bool(behind) and behind[0] >> 6 == 3
    if opcode == 0x0F and behind:
        opcode, behind = 0x0F00 | behind[0], behind[1:]
    modrm = behind[0] if behind else 0
    operands = [operand for operand in found.operands if operand.type == x86_const.X86_OP_MEM]
    memory = None
    if operands and opcode not in STRING_OPCODES:
        use = None
        if not vector:
            use = operand_use(opcode, modrm >> 3 & 7, prefixes.operand_size)
        memory = _memory_operand(found, operands[0].mem, prefixes, use, modrm)
    return Instruction(
        name=str(found.insn_name()),
        opcode=opcode,
        modrm=modrm,
        immediate=behind,
        length=found.size,
        operand_size=prefixes.operand_size,
        address_size=prefixes.address_size,
        override=prefixes.override,
        repeated=prefixes.repeated,
        vector=vector,
        memory=memory,
    )


def _memory_operand(
    found: Any, address: Any, prefixes: _Prefixes, use: OperandUse | None, modrm: int
) -> MemoryOperand:
    base = _register_name(found, address.base)
    # Volume 1, table 3-5: the default segments.
    default = "ss" if base in _STACK_BASES else "ds"
    bit_offset = None
    if use is not None and use.bit_string:
        name = GENERAL[modrm >> 3 & 7]
        bit_offset = name if prefixes.operand_size == 4 else name[1:]
    return MemoryOperand(
        segment=prefixes.override or default,
        base=base,
        index=_register_name(found, address.index),
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
