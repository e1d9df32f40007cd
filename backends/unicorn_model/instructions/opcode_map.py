"""What each opcode does with its memory operand (volume 2, appendix A: the opcode maps).

A disassembler knows how an operand is addressed, but not reliably how much of it is accessed, nor
whether it is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

__all__ = ["Direction", "OperandUse", "operand_use"]


class Direction(Enum):
    """What happens to a memory operand."""

    NONE = "only its address is used"
    READ = "read"
    WRITE = "written"
    UPDATE = "read and written"


@dataclass(frozen=True, slots=True)
class OperandUse:
    """How an instruction uses its memory operand.

    Attributes:
        size: in bytes.
        alignment: what 6.15, "Interrupt 17", wants its address to be a multiple of.
        bit_string: the operand is part of a bit string, and the register operand says which.
    """

    direction: Direction
    size: int
    alignment: int
    bit_string: bool = False


class _Size(Enum):
    """Appendix A.2.2: codes for operand type."""

    BYTE = "b"
    WORD = "w"
    VARIABLE = "v"
    QUADWORD = "q"
    BOUNDS = "a"
    FAR_POINTER = "p"
    PSEUDO_DESCRIPTOR = "s"
    NOTHING = ""


_NO, _R, _W, _RW = Direction.NONE, Direction.READ, Direction.WRITE, Direction.UPDATE
_B, _WORD, _V = _Size.BYTE, _Size.WORD, _Size.VARIABLE
_Use = tuple[Direction, _Size]
_ADDRESS_ONLY: _Use = (_NO, _Size.NOTHING)

# By opcode; 0x0FB2 is one of two bytes.
_BY_OPCODE: dict[int, _Use] = {
    0x62: (_R, _Size.BOUNDS),  # BOUND
    0x63: (_RW, _WORD),  # ARPL
    0x69: (_R, _V),  # IMUL
    0x6B: (_R, _V),
    0x84: (_R, _B),  # TEST
    0x85: (_R, _V),
    0x86: (_RW, _B),  # XCHG
    0x87: (_RW, _V),
    0x88: (_W, _B),  # MOV
    0x89: (_W, _V),
    0x8A: (_R, _B),
    0x8B: (_R, _V),
    0x8C: (_W, _WORD),  # MOV from a segment register
    0x8D: _ADDRESS_ONLY,  # LEA
    0x8E: (_R, _WORD),  # MOV to a segment register
    0xA0: (_R, _B),  # MOV with an offset
    0xA1: (_R, _V),
    0xA2: (_W, _B),
    0xA3: (_W, _V),
    0xC4: (_R, _Size.FAR_POINTER),  # LES
    0xC5: (_R, _Size.FAR_POINTER),  # LDS
    0x0F02: (_R, _WORD),  # LAR
    0x0F03: (_R, _WORD),  # LSL
    0x0F0D: _ADDRESS_ONLY,  # PREFETCHW
    0x0FA3: (_R, _V),  # BT
    0x0FA4: (_RW, _V),  # SHLD
    0x0FA5: (_RW, _V),
    0x0FAB: (_RW, _V),  # BTS
    0x0FAC: (_RW, _V),  # SHRD
    0x0FAD: (_RW, _V),
    0x0FAF: (_R, _V),  # IMUL
    0x0FB0: (_RW, _B),  # CMPXCHG writes in either case
    0x0FB1: (_RW, _V),
    0x0FB2: (_R, _Size.FAR_POINTER),  # LSS
    0x0FB3: (_RW, _V),  # BTR
    0x0FB4: (_R, _Size.FAR_POINTER),  # LFS
    0x0FB5: (_R, _Size.FAR_POINTER),  # LGS
    0x0FB6: (_R, _B),  # MOVZX
    0x0FB7: (_R, _WORD),
    0x0FBB: (_RW, _V),  # BTC
    0x0FBC: (_R, _V),  # BSF
    0x0FBD: (_R, _V),  # BSR
    0x0FBE: (_R, _B),  # MOVSX
    0x0FBF: (_R, _WORD),
    0x0FC0: (_RW, _B),  # XADD
    0x0FC1: (_RW, _V),
    0x0FC3: (_W, _V),  # MOVNTI
    **{0x0F18 + opcode: _ADDRESS_ONLY for opcode in range(8)},  # PREFETCHh and NOP
    **{0x0F40 + condition: (_R, _V) for condition in range(16)},  # CMOVcc reads in either case
    **{0x0F90 + condition: (_W, _B) for condition in range(16)},  # SETcc
}
_BIT_STRINGS = {0x0FA3, 0x0FAB, 0x0FB3, 0x0FBB}
_COMPARE = 7  # where eight operations share a pattern: ADD OR ADC SBB AND SUB XOR CMP


def _arithmetic() -> Iterable[tuple[int, _Use]]:
    for operation in range(8):
        destination = _R if operation == _COMPARE else _RW
        yield operation << 3 | 0, (destination, _B)
        yield operation << 3 | 1, (destination, _V)
        yield operation << 3 | 2, (_R, _B)
        yield operation << 3 | 3, (_R, _V)


_BY_OPCODE.update(_arithmetic())


def _extensions(uses: str, size: _Size) -> tuple[_Use | None, ...]:
    """Of an opcode extended by ModR/M: r, w, u(pdate), n(o access) or - (none such), from /0 on."""
    directions = {"r": _R, "w": _W, "u": _RW, "n": _NO}
    return tuple((directions[use], size) if use in directions else None for use in uses)


# Appendix A.4: by the opcode and the reg field of ModR/M.
_BY_EXTENSION: dict[int, tuple[_Use | None, ...]] = {
    0x80: _extensions("uuuuuuur", _B),  # as _arithmetic
    0x81: _extensions("uuuuuuur", _V),
    0x82: _extensions("uuuuuuur", _B),
    0x83: _extensions("uuuuuuur", _V),
    0x8F: _extensions("w-------", _V),  # POP
    0xC0: _extensions("uuuuuuuu", _B),  # shifts
    0xC1: _extensions("uuuuuuuu", _V),
    0xC6: _extensions("w-------", _B),  # MOV
    0xC7: _extensions("w-------", _V),
    0xD0: _extensions("uuuuuuuu", _B),
    0xD1: _extensions("uuuuuuuu", _V),
    0xD2: _extensions("uuuuuuuu", _B),
    0xD3: _extensions("uuuuuuuu", _V),
    0xF6: _extensions("rruurrrr", _B),  # TEST TEST NOT NEG MUL IMUL DIV IDIV
    0xF7: _extensions("rruurrrr", _V),
    0xFE: _extensions("uu------", _B),  # INC DEC
    # INC DEC CALL CALL-far JMP JMP-far PUSH
    0xFF: (
        *_extensions("uur", _V),
        (_R, _Size.FAR_POINTER),
        (_R, _V),
        (_R, _Size.FAR_POINTER),
        (_R, _V),
        None,
    ),
    0x0F00: _extensions("wwrrrr--", _WORD),  # SLDT STR LLDT LTR VERR VERW
    # SGDT SIDT LGDT LIDT SMSW - LMSW INVLPG
    0x0F01: (
        *_extensions("wwrr", _Size.PSEUDO_DESCRIPTOR),
        *_extensions("w-r", _WORD),
        _ADDRESS_ONLY,
    ),
    0x0FBA: _extensions("----ruuu", _V),  # BT BTS BTR BTC with an immediate: no bit string
    0x0FC7: _extensions("-u------", _Size.QUADWORD),  # CMPXCHG8B
}


def operand_use(opcode: int, extension: int, operand_size: int) -> OperandUse | None:
    """What an instruction does with the memory operand it has; None if that is not known here.

    Args:
        opcode: of one or two bytes.
        extension: the reg field of ModR/M; of no meaning where there is no ModR/M.
        operand_size: 2 or 4, the operand-size attribute.
    """
    uses = _BY_EXTENSION.get(opcode)
    use = uses[extension] if uses is not None else _BY_OPCODE.get(opcode)
    if use is None:
        return None
    direction, kind = use
    size, alignment = _measures(kind, operand_size)
    return OperandUse(direction, size, alignment, opcode in _BIT_STRINGS)


def _measures(kind: _Size, operand_size: int) -> tuple[int, int]:
    """Size, and alignment by the table of 6.15, "Interrupt 17"."""
    match kind:
        case _Size.BYTE:
            return 1, 1
        case _Size.WORD:
            return 2, 2
        case _Size.VARIABLE:
            return operand_size, operand_size
        case _Size.QUADWORD:
            return 8, 8
        case _Size.BOUNDS:  # two of the operand size; the table has no row for them
            return 2 * operand_size, operand_size
        case _Size.FAR_POINTER:  # "32-bit far pointer: 2", "48-bit far pointer: 4"
            return operand_size + 2, operand_size
        case _Size.PSEUDO_DESCRIPTOR:  # "GDTR, IDTR, LDTR, or Task Register Contents: 4"
            return 6, 4
        case _Size.NOTHING:
            return 0, 1
