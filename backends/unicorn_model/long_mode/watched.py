"""Instructions of 64-bit code that the model executes, or has to know of.

As in the module for 32-bit code. Those with REX prefixes are these, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from backends.unicorn_model.instructions.decoded import LONGEST, OPERAND_SIZE
from backends.unicorn_model.long_mode.delivery.machine import GENERAL
from backends.unicorn_model.watched import (
    HLT,
    MOVES,
    POPF,
    PREFIXES,
    STI,
    Operation,
    Watched,
    prefix_length,
)

__all__ = ["Operation", "Watched", "decode", "find"]


_REX, _REX_W, _REX_B = range(0x40, 0x50), 8, 1
_BRANCHES = (2, 4)  # of opcode FF: CALL and JMP
_TO_SS = 2  # of opcode 8E, MOV to a segment register
_IN_REGISTER = 0xC0
_ONE_BYTE = {POPF: Operation.POPF, STI: Operation.STI, HLT: Operation.HLT}


def _operands(fields: tuple[int, ...], *, memory: bool = True, registers: bool = True) -> bytes:
    """A class of ModR/M bytes, by their reg field."""
    chosen = (
        modrm
        for modrm in range(256)
        if modrm >> 3 & 7 in fields and (registers if modrm >= _IN_REGISTER else memory)
    )
    return b"[" + b"".join(re.escape(bytes([modrm])) for modrm in chosen) + rb"]|\Z"


# What the end of a page cuts off is not known: it counts.
_OPCODES = (
    rb"\x0f(?:\x30|\x22(?:" + _operands(tuple(MOVES)) + rb")"
    rb"|\x01(?:" + _operands((7,), registers=False) + rb")|\Z)"
    rb"|(?<=[\x48-\x4f])\xcf"
    rb"|\x8e(?:" + _operands((_TO_SS,)) + rb")"
    rb"|\xff(?:" + _operands(_BRANCHES, memory=False) + rb")"
)


@lru_cache(maxsize=256)
def find(page: bytes, opcodes: bytes = b"") -> tuple[int, ...]:
    """Where in a page a watched instruction may begin, rising.

    Args:
        page: what follows it is not known.
        opcodes: of one byte, to look for as well.
    """
    one_byte = rb"|[" + re.escape(opcodes) + rb"]" if opcodes else b""
    found: set[int] = set()
    for match in re.finditer(_OPCODES + one_byte, page, re.DOTALL):
        found.update(_starts(page, match.start()))
    found.update(start for start in _starts(page, len(page)) if start < len(page))
    return tuple(sorted(found))


def _starts(page: bytes, opcode: int) -> Iterator[int]:
    """Where an instruction may begin whose opcode is at an offset: there, or with prefixes."""
    yield opcode
    start = opcode
    if start and page[start - 1] in _REX:
        start -= 1
        yield start
    while start and page[start - 1] in PREFIXES and opcode - start < LONGEST - 1:
        start -= 1
        yield start


def decode(code: bytes) -> Watched | None:
    """The instruction, if it is one of those; None also where bytes are missing."""
    start = prefix_length(code)
    narrow = OPERAND_SIZE in code[:start]
    rex = 0
    if start < len(code) and code[start] in _REX:
        rex = code[start]
        start += 1
    opcode, operand = code[start : start + 1], code[start + 1 : start + 2]
    if opcode == b"\xcf":
        return Watched(Operation.IRETQ, start + 1) if rex & _REX_W else None
    if opcode in _ONE_BYTE:
        return Watched(_ONE_BYTE[opcode], start + 1, wide=bool(rex & _REX_W) or not narrow)
    if not operand:
        return None
    if opcode == b"\xff":
        if operand[0] >> 3 & 7 not in _BRANCHES or operand[0] < _IN_REGISTER:
            return None
        return Watched(Operation.BRANCH, start + 2, _register(operand[0], rex))
    if opcode == b"\x8e" and operand[0] >> 3 & 7 == _TO_SS:
        register = _register(operand[0], rex) if operand[0] >= _IN_REGISTER else ""
        return Watched(Operation.MOV_TO_SS, start + 2, register)
    if opcode != b"\x0f":
        return None
    if operand == b"\x30":
        return Watched(Operation.WRMSR, start + 2)
    if start + 2 >= len(code):
        return None
    modrm = code[start + 2]
    if operand == b"\x01" and modrm >> 3 & 7 == 7 and modrm < _IN_REGISTER:
        return Watched(Operation.INVLPG, start + 3)
    # SDM vol. 2, MOV to control registers: the mod field is ignored. With REX.R it is CR8, or none.
    if operand != b"\x22" or modrm >> 3 & 7 not in MOVES or rex & 4:
        return None
    return Watched(MOVES[modrm >> 3 & 7], start + 3, _register(modrm, rex))


def _register(modrm: int, rex: int) -> str:
    return GENERAL[modrm & 7 | (rex & _REX_B) << 3]
