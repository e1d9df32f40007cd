"""What decoding an instruction of 32-bit code and one of 64-bit code have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import capstone
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
    "Disassembler",
    "Parts",
    "Prefixes",
    "bit_string_offset",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefixes:
    """The prefixes of an instruction, and what they make of it.

    Attributes:
        count: how many bytes.
        operand_size: in bytes.
        address_size: in bytes.
        repeated: there is a REP prefix.
    """

    count: int
    operand_size: int
    address_size: int
    repeated: bool


P = TypeVar("P", bound=Prefixes)


@dataclass(frozen=True, slots=True)
class Parts(Generic[P]):
    """An instruction, taken apart.

    Attributes:
        found: what the disassembler knows of it.
        prefixes: its first bytes.
        opcode: of one byte; 0x0FB2 is one of two.
        behind: what follows the opcode.
    """

    found: Any
    prefixes: P
    opcode: int
    behind: bytes

    @property
    def modrm(self) -> int:
        """The ModR/M byte, or what stands where one would."""
        return self.behind[0] if self.behind else 0

    @property
    def address(self) -> Any | None:
        """The explicit memory operand; None if there is none."""
        operands = (each for each in self.found.operands if each.type == x86_const.X86_OP_MEM)
        return None if self.opcode in STRING_OPCODES else next((o.mem for o in operands), None)

    def attributes(self, *, vector: bool) -> dict[str, Any]:
        """Those of a `DecodedInstruction`."""
        return {
            "name": str(self.found.insn_name()),
            "opcode": self.opcode,
            "modrm": self.modrm,
            "immediate": self.behind,
            "length": self.found.size,
            "operand_size": self.prefixes.operand_size,
            "address_size": self.prefixes.address_size,
            "repeated": self.prefixes.repeated,
            "vector": vector,
        }


class Disassembler(Generic[P]):
    """Takes instructions of one mode apart.

    Args:
        mode: the disassembler's number of the mode.
        prefixes: finds those that code begins with.
    """

    def __init__(self, mode: int, prefixes: Callable[[bytes], P]) -> None:
        self._engine = capstone.Cs(capstone.CS_ARCH_X86, mode)
        self._engine.detail = True
        self._prefixes = prefixes

    def parts(self, code: bytes) -> Parts[P] | None:
        """Of the instruction that starts these bytes.

        Returns:
            None if they start with no whole and valid instruction of at most 15 bytes.
        """
        found = next(self._engine.disasm(code, 0, count=1), None)
        if found is None:
            return None
        prefixes = self._prefixes(code)
        rest = code[prefixes.count : found.size]
        if not rest:  # a prefix that is none in front of what follows
            return None
        if rest[0] == 0x0F and len(rest) > 1:
            return Parts(found, prefixes, 0x0F00 | rest[1], rest[2:])
        return Parts(found, prefixes, rest[0], rest[1:])


def bit_string_offset(use: OperandUse, value: int) -> int:
    """How far from its operand BT and the like access memory, by their bit offset.

    BT: "Effective Address + (4 * (BitOffset DIV 32))", or twice 2 and 16, or 8 and 64.
    """
    bits = use.size * 8
    position = value & (1 << bits) - 1
    if position >> bits - 1:
        position -= 1 << bits
    return use.size * (position // bits)
