"""Instructions that the model executes, or has to know of, instead of leaving them to Unicorn.

They are looked for in each page that instructions are fetched from. What looks like one and is a
part of another instruction does no harm: it is decoded again when, and if, it is executed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from backends.unicorn_model.delivery.machine import GENERAL
from backends.unicorn_model.instructions.decoded import LONGEST, OPERAND_SIZE

__all__ = [
    "HLT",
    "IRET",
    "MOVES",
    "POPF",
    "POP_SS",
    "PREFIXES",
    "STI",
    "Operation",
    "Watched",
    "candidates",
    "decode",
    "prefix_length",
]

POPF, IRET, HLT, STI, POP_SS = b"\x9d", b"\xcf", b"\xf4", b"\xfb", b"\x17"
"""Opcodes that are looked for only while they matter: their bytes are frequent. (POP to SS is of
`instructions.segment_loads`.)
"""


class Operation(Enum):
    """What a watched instruction does, of 32-bit or of 64-bit code."""

    MOV_TO_CR0 = "mov to cr0"
    MOV_TO_CR3 = "mov to cr3"
    MOV_TO_CR4 = "mov to cr4"
    WRMSR = "wrmsr"
    RDMSR = "rdmsr"
    INVLPG = "invlpg"
    IRET = "iret"
    IRETQ = "iretq"
    MOV_TO_SS = "mov to ss"
    BRANCH = "near call or jump to what is in a register"
    POPF = "popf"
    STI = "sti"
    HLT = "hlt"


@dataclass(frozen=True, slots=True)
class Watched:
    """An instruction.

    Attributes:
        length: bytes, with its prefixes; of no meaning where it has a memory operand.
        register: the general register it reads, or empty.
        wide: its operand size is not 16 bits.
    """

    operation: Operation
    length: int
    register: str = ""
    wide: bool = True


PREFIXES = b"\x26\x2e\x36\x3e\x64\x65\x66\x67\xf2\xf3"
"""SDM vol. 2, 2.1.1; LOCK is none of them: with it, all of the above are undefined."""

MOVES = {0: Operation.MOV_TO_CR0, 3: Operation.MOV_TO_CR3, 4: Operation.MOV_TO_CR4}
"""MOV to a control register, by its number."""

_ONE_BYTE = {
    POPF: Operation.POPF,
    IRET: Operation.IRET,
    HLT: Operation.HLT,
    STI: Operation.STI,
}
_TWO_BYTES = rb"\x0f(?:[\x22\x30\x32\x01]|\Z)"


def candidates(page: bytes, opcodes: bytes = b"") -> Iterator[int]:
    """Where a watched instruction may begin.

    Args:
        page: what follows it is not known; what may be one then is one.
        opcodes: of one byte, to look for as well.
    """
    one_byte = rb"|[" + re.escape(opcodes) + rb"]" if opcodes else b""
    for match in re.finditer(_TWO_BYTES + one_byte, page):
        start = match.start()
        opcode, operand = page[start + 1 : start + 2], page[start + 2 : start + 3]
        if match[0][0] == 0x0F and operand and not _is_watched(opcode[0], operand[0]):
            continue
        yield start
        while start and page[start - 1] in PREFIXES and match.start() - start < LONGEST:
            start -= 1
            yield start
    start = len(page)
    while start and page[start - 1] in PREFIXES and len(page) - start < LONGEST:
        start -= 1
        yield start


def _is_watched(opcode: int, operand: int) -> bool:
    """Whether the second byte of an opcode, with the byte behind it, may be of interest."""
    field = operand >> 3 & 7
    if opcode == 0x22:
        return field in MOVES
    return opcode != 0x01 or (field == 7 and operand < 0xC0)


def prefix_length(code: bytes) -> int:
    """How many prefixes there are."""
    return len(code) - len(code.lstrip(PREFIXES))


def decode(code: bytes) -> Watched | None:
    """The instruction, if it is one of those; None also where bytes are missing."""
    start = prefix_length(code)
    wide = OPERAND_SIZE not in code[:start]
    if code[start : start + 1] in _ONE_BYTE:
        return Watched(_ONE_BYTE[code[start : start + 1]], start + 1, wide=wide)
    if code[start : start + 1] != b"\x0f" or start + 1 >= len(code):
        return None
    opcode = code[start + 1]
    if opcode == 0x30:
        return Watched(Operation.WRMSR, start + 2)
    if opcode == 0x32:
        return Watched(Operation.RDMSR, start + 2)
    if start + 2 >= len(code):
        return None
    operand = code[start + 2]
    if opcode not in (0x22, 0x01) or not _is_watched(opcode, operand):
        return None
    if opcode == 0x01:
        return Watched(Operation.INVLPG, start + 3)  # and its operand, which is Unicorn's affair
    # SDM vol. 2, MOV to control registers: the mod field is ignored.
    return Watched(MOVES[operand >> 3 & 7], start + 3, GENERAL[operand & 7])
