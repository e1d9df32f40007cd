"""What decoding an instruction of 32-bit code and one of 64-bit code have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from capstone import x86_const

from backends.unicorn_model.instructions.opcode_map import OperandUse

__all__ = [
    "ADDRESS_SIZE",
    "LOCK",
    "LONGEST",
    "OPERAND_SIZE",
    "REPEATS",
    "STRING_OPCODES",
    "DecodedInstruction",
    "Encoding",
    "bit_string_offset",
    "explicit_memory",
]

LONGEST = 15
"""Bytes of the longest instruction (volume 2, 2.3.11 and the list of #GP's causes in 6.15)."""

OPERAND_SIZE, ADDRESS_SIZE, LOCK, REPEATS = 0x66, 0x67, 0xF0, (0xF2, 0xF3)
"""Prefixes (volume 2, 2.1.1)."""

STRING_OPCODES = frozenset((*range(0x6C, 0x70), *range(0xA4, 0xA8), *range(0xAA, 0xB0)))
"""INS, OUTS, MOVS, CMPS, STOS, LODS and SCAS, whose operands are implicit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedInstruction:
    """A decoded instruction.

    Attributes:
        MASK: of the instruction pointer of this code.
        COUNT: the register that counts iterations.
        name: its mnemonic, for messages.
        opcode: of one byte; 0x0FB2 is one of two.
        modrm: its ModR/M byte, or what stands where one would.
        immediate: the bytes behind the opcode, ModR/M included where there is one.
        length: prefixes included.
        operand_size: the operand-size attribute in bytes.
        address_size: the address-size attribute in bytes.
        repeated: it has a REP prefix.
        vector: it is of VEX or EVEX encoding.
    """

    MASK: ClassVar[int]
    COUNT: ClassVar[str]

    name: str
    opcode: int
    modrm: int
    immediate: bytes
    length: int
    operand_size: int
    address_size: int
    repeated: bool
    vector: bool

    @property
    def extension(self) -> int:
        """The reg field of ModR/M, without the bit that REX adds."""
        return self.modrm >> 3 & 7

    @property
    def is_repeated(self) -> bool:
        """Whether it is a string instruction that comes in iterations."""
        return self.repeated and self.opcode in STRING_OPCODES and not self.vector

    def is_over(self, registers: object) -> bool:
        """Whether a repeated one has no iteration left, by its count (REP)."""
        return not getattr(registers, self.COUNT) & (1 << 8 * self.address_size) - 1

    def next_eip(self, eip: int) -> int:
        """The address behind it; in 64-bit code EIP is RIP."""
        return eip + self.length & self.MASK

    def branch_target(self, eip: int) -> int:
        """Where a near branch leads that has its distance in it."""
        distance = int.from_bytes(self.immediate, "little", signed=True)
        return self.next_eip(eip) + distance & self.branch_mask

    @property
    def branch_mask(self) -> int:
        """Of the address that a near branch leads to."""
        return self.MASK


@dataclass(frozen=True, slots=True)
class Encoding:
    """The bytes of an instruction without its prefixes.

    Attributes:
        behind: what follows the opcode.
    """

    opcode: int
    behind: bytes

    @classmethod
    def of(cls, rest: bytes) -> Encoding:
        """Split what follows the prefixes: one byte at least."""
        if rest[0] == 0x0F and len(rest) > 1:
            return cls(0x0F00 | rest[1], rest[2:])
        return cls(rest[0], rest[1:])

    @property
    def modrm(self) -> int:
        """The ModR/M byte, or what stands where one would."""
        return self.behind[0] if self.behind else 0


def explicit_memory(found: Any, opcode: int) -> Any | None:
    """The memory operand that the disassembler has found, unless it is implicit."""
    operands = [operand for operand in found.operands if operand.type == x86_const.X86_OP_MEM]
    return operands[0].mem if operands and opcode not in STRING_OPCODES else None


def bit_string_offset(use: OperandUse, value: int) -> int:
    """How far from its operand BT and the like access memory, by their bit offset.

    BT: "Effective Address + (4 * (BitOffset DIV 32))", or twice 2 and 16, or 8 and 64.
    """
    bits = use.size * 8
    position = value & (1 << bits) - 1
    if position >> bits - 1:
        position -= 1 << bits
    return use.size * (position // bits)
