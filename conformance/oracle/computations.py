"""What the instructions of `compute` do, one after the other (kernel/TASKS.md, "Computations").

Every instruction that leaves status flags behind defines all of those that are compared.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

__all__ = ["INTERRUPT_FLAG", "TRAP_FLAG", "Step", "checksum", "computed", "pattern", "steps"]

TRAP_FLAG: Final = 1 << 8
INTERRUPT_FLAG: Final = 1 << 9

_WORD: Final = 0xFFFFFFFF
_ALWAYS_SET: Final = 1 << 1
_CARRY: Final = 1 << 0
_PARITY: Final = 1 << 2
_ADJUST: Final = 1 << 4
_ZERO: Final = 1 << 6
_SIGN: Final = 1 << 7
_OVERFLOW: Final = 1 << 11
_KERNEL_DATA: Final = 0x10
"""The selector in SS."""

_STORED: Final = 3
"""Words that REP STOSD stores."""


def pattern(task: int, index: int) -> int:
    """What a register holds at first."""
    return ((task + 1) * 0x9E3779B1 + index * 0x85EBCA6B) & _WORD


def checksum(*words: int) -> int:
    """Fletcher's sum of 32-bit words (kernel/TRACE.md, "Checksums")."""
    sums = list(accumulate(words))
    return (sum(sums) & _WORD) << 32 | sums[-1] & _WORD


@dataclass(slots=True)
class _Registers:
    eax: int
    ecx: int
    edx: int
    ebx: int
    ebp: int
    esi: int
    edi: int
    enabled: int
    """TRAP_FLAG or INTERRUPT_FLAG, if one is set."""
    flags: int = 0
    """The status flags; nothing else of EFLAGS changes."""

    def words(self) -> tuple[int, ...]:
        """In the order in which they are summed up."""
        return self.eax, self.ecx, self.edx, self.ebx, self.ebp, self.esi, self.edi


@dataclass(frozen=True, slots=True)
class Step:
    """A debug exception between two instructions.

    Attributes:
        next: number of the instruction that comes next; `end_N` after the computation's own.
        registers: checksum of the registers and the status flags.
    """

    next: str
    registers: int


def computed(kind: str, task: int, iterations: int, enabled: int, scratch: int) -> int:
    """The checksum at the end of a computation.

    Args:
        kind: the protocol's `compute_kind`.
        task: the number of the task that computes.
        iterations: 1 or more.
        enabled: TRAP_FLAG or INTERRUPT_FLAG, if one is set.
        scratch: linear address that `string` writes to.
    """
    return _computed(kind, task, iterations, enabled, scratch)


@functools.lru_cache(maxsize=256)
def _computed(kind: str, task: int, iterations: int, enabled: int, scratch: int) -> int:
    registers = _begin(kind, task, iterations, enabled, scratch)
    if kind == "arithmetic":
        _whole_arithmetic(registers)
    else:
        for _ in _iterations(kind, registers):
            pass
    return checksum(*registers.words())


def steps(
    kind: str, task: int, iterations: int, scratch: int, wanted: Callable[[], bool]
) -> Iterator[Step | None]:
    """The debug exceptions of a computation, one after the other; the flag is TRAP_FLAG.

    Args:
        wanted: is asked at each whether somebody looks at it; if not, there is None.
    """
    registers = _begin(kind, task, iterations, TRAP_FLAG, scratch)

    def step(following: str) -> Step | None:
        if not wanted():
            return None
        return Step(following, checksum(*registers.words(), registers.flags))

    for following in _iterations(kind, registers):
        yield step(following)
    yield step("end_1")
    registers.flags = 0
    yield step("end_2")


def _begin(kind: str, task: int, iterations: int, enabled: int, scratch: int) -> _Registers:
    eax, ebx, edx, esi, edi, ebp = (pattern(task, index) for index in range(6))
    if kind == "string":
        ebp, edi = iterations, scratch & _WORD
    return _Registers(eax, iterations, edx, ebx, ebp, esi, edi, enabled)


def _iterations(kind: str, registers: _Registers) -> Iterator[str]:
    """All iterations; after each instruction that a single step follows, what comes next."""
    iteration = _KINDS[kind]
    while True:
        last = yield from iteration(registers)
        if last:
            return


# An iteration yields like that, and returns whether it was the last one.
_Iteration = Generator[str, None, bool]


def _arithmetic(registers: _Registers) -> _Iteration:
    registers.eax = _add(registers, registers.eax, registers.ebx)
    yield "1"
    registers.ebx = _add(registers, registers.ebx, registers.edx, registers.flags & _CARRY)
    yield "2"
    registers.edx = _rotate(registers, registers.edx)
    yield "3"
    registers.esi = _subtract(registers, registers.esi, registers.eax)
    yield "4"
    registers.edi = (registers.edi + registers.esi + 1) & _WORD
    yield "5"
    registers.ebp = _subtract(registers, registers.ebp, registers.edi, registers.flags & _CARRY)
    yield "6"
    return (yield from _count_down(registers, "ecx", 7))


def _string(registers: _Registers) -> _Iteration:
    registers.ecx = _STORED
    yield "1"
    while registers.ecx:
        registers.edi = (registers.edi + 4) & _WORD
        registers.ecx -= 1
        yield "1" if registers.ecx else "2"
    registers.edi = _subtract(registers, registers.edi, 4 * _STORED)
    yield "3"
    registers.eax = _add(registers, registers.eax, registers.ebx)
    yield "4"
    return (yield from _count_down(registers, "ebp", 5))


def _stack_segment(registers: _Registers) -> _Iteration:
    registers.edx = _KERNEL_DATA
    yield "1"
    # MOV to SS puts off debug exceptions until after the next instruction (6.8.3).
    registers.eax = _add(registers, registers.eax, registers.ebx)
    yield "3"
    return (yield from _count_down(registers, "ecx", 4))


def _flags(registers: _Registers) -> _Iteration:
    pushed = registers.flags | registers.enabled | _ALWAYS_SET
    yield "1"
    registers.edx = pushed
    yield "2"
    yield "3"
    yield "4"
    registers.eax = _add(registers, registers.eax, registers.ebx)
    yield "5"
    return (yield from _count_down(registers, "ecx", 6))


def _interrupt(registers: _Registers) -> _Iteration:
    # INT clears TF, so that none comes after it, nor in the handler; nor after IRET, which brings
    # TF back.
    registers.eax = _add(registers, registers.eax, registers.ebx)
    yield "2"
    return (yield from _count_down(registers, "ecx", 3))


_KINDS: Final[dict[str, Callable[[_Registers], _Iteration]]] = {
    "arithmetic": _arithmetic,
    "string": _string,
    "stack_segment": _stack_segment,
    "flags": _flags,
    "interrupt": _interrupt,
}


def _count_down(registers: _Registers, counter: str, branch: int) -> _Iteration:
    """DEC, and JNZ to the first instruction, which is number `branch`."""
    before: int = getattr(registers, counter)
    carry = registers.flags & _CARRY
    setattr(registers, counter, _subtract(registers, before, 1))
    registers.flags = registers.flags & ~_CARRY | carry
    yield str(branch)
    last = before == 1
    yield "end_0" if last else "0"
    return last


def _of_result(result: int) -> int:
    """ZF, SF and PF."""
    flags = 0 if result else _ZERO
    flags |= _SIGN if result >> 31 else 0
    return flags | (0 if (result & 0xFF).bit_count() % 2 else _PARITY)


def _add(registers: _Registers, left: int, right: int, carry: int = 0) -> int:
    whole = left + right + carry
    result = whole & _WORD
    flags = _of_result(result) | (_CARRY if whole > _WORD else 0)
    flags |= _ADJUST if (left ^ right ^ result) & 0x10 else 0
    flags |= _OVERFLOW if (left ^ result) & (right ^ result) & 1 << 31 else 0
    registers.flags = flags
    return result


def _subtract(registers: _Registers, left: int, right: int, borrow: int = 0) -> int:
    whole = left - right - borrow
    result = whole & _WORD
    flags = _of_result(result) | (_CARRY if whole < 0 else 0)
    flags |= _ADJUST if (left ^ right ^ result) & 0x10 else 0
    flags |= _OVERFLOW if (left ^ right) & (left ^ result) & 1 << 31 else 0
    registers.flags = flags
    return result


def _rotate(registers: _Registers, value: int) -> int:
    """ROL by 1: CF is the bit that went round; OF is that of CF and the new highest bit."""
    carry = value >> 31
    result = (value << 1 | carry) & _WORD
    flags = registers.flags & ~(_CARRY | _OVERFLOW) | carry
    flags |= _OVERFLOW if result >> 31 ^ carry else 0
    registers.flags = flags
    return result


def _whole_arithmetic(registers: _Registers) -> None:
    """All iterations at once, without the flags that nothing depends on: there may be many."""
    eax, ebx, edx = registers.eax, registers.ebx, registers.edx
    esi, edi, ebp = registers.esi, registers.edi, registers.ebp
    for _ in range(registers.ecx):
        carry = eax + ebx > _WORD
        eax = eax + ebx & _WORD
        ebx = ebx + edx + carry & _WORD
        edx = (edx << 1 | edx >> 31) & _WORD
        borrow = eax > esi
        esi = esi - eax & _WORD
        edi = edi + esi + 1 & _WORD
        ebp = ebp - edi - borrow & _WORD
    registers.eax, registers.ebx, registers.edx = eax, ebx, edx
    registers.esi, registers.edi, registers.ebp = esi, edi, ebp
    registers.ecx = 0
