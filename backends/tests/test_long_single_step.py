"""The reference model traps behind each instruction of 64-bit code, as EFLAGS.TF asks."""

from __future__ import annotations

import pytest

from backends.tests.interrupting_devices import MOV_SS, POPF, RF
from backends.tests.long_machine import (
    BELL,
    IRETQ,
    KERNEL_CODE,
    KERNEL_DATA,
    NOP,
    RESULT,
    SPARE,
    LongMachine,
    mov_rax,
    push,
    quad,
    rang,
    return_to,
    save_rax,
)
from backends.tests.reference_machine import word
from backends.unicorn_model.messages import End

TF, SINGLE_STEP = 0x100, 1 << 14
LOG, FOLLOWING = 0x60000, 0x5FFF8
# The handler writes RIP and RFLAGS to the log.
TRAP = (
    b"\x50\x57\x48\x8b\x3c\x25"
    + word(FOLLOWING)  # push %rax; push %rdi; mov FOLLOWING, %rdi
    + b"\x48\x8b\x44\x24\x10\x48\xab\x48\x8b\x44\x24\x20\x48\xab"
    + b"\x48\x89\x3c\x25"
    + word(FOLLOWING)
    + b"\x5f\x58"
    + IRETQ
)
REGISTERS = b"\xba" + word(KERNEL_DATA) + b"\x31\xdb"  # mov $KERNEL_DATA, %edx; xor %ebx, %ebx
OFF = push(2) + POPF


@pytest.fixture
def machine() -> LongMachine:
    machine = LongMachine()
    machine.handler(1, TRAP)
    machine.put(FOLLOWING, quad(LOG))
    return machine


def traps(machine: LongMachine) -> list[tuple[int, int]]:
    """Where they came, from SPARE, and RFLAGS."""
    end = machine.quad(FOLLOWING)
    words = machine.quads(LOG, (end - LOG) // 8)
    return [(rip - SPARE, rflags) for rip, rflags in zip(words[::2], words[1::2], strict=True)]


def steps(machine: LongMachine, code: bytes) -> list[int]:
    """Where traps come while code is executed that TF is set for, up to its end."""
    machine.put(SPARE, code + OFF + BELL)
    rang(machine.run(REGISTERS + return_to(SPARE, KERNEL_CODE, 2 | TF)))
    return [at for at, _ in traps(machine) if at <= len(code)]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (NOP * 3, [1, 2, 3]),
        (b"\xeb\x02" + NOP * 3, [4, 5]),
        (b"\xe8\x01\x00\x00\x00\x90\x58", [6, 7]),  # call; pop %rax
        (MOV_SS + NOP * 2, [3, 4]),
        (b"\x8e\xd3" + NOP * 2, [3, 4]),
        (MOV_SS * 2 + NOP * 2, [4, 5, 6]),
        (b"\x8e\xd3" + MOV_SS + NOP, [4, 5]),
        (b"\x31\xc9\xb1\x03\xf3\x48\xab\x90", [2, 4, 4, 4, 7, 8]),  # …; mov $3, %cl; rep stos
        (b"\x9c\x59\x51\x9d\x90", [1, 2, 3, 4, 5]),  # pushf; pop %rcx; push %rcx; popf
        (b"\xfb\xfa\x90", [1, 2, 3]),  # sti; cli
        (b"\xcd\x30\x90", [3]),  # int
    ],
    ids=[
        *("nop", "jump", "call", "mov ss", "null to ss", "mov ss twice"),
        *("two loads of ss", "rep stos", "popf", "sti", "int"),
    ],
)
def test_where_traps_come(machine: LongMachine, code: bytes, expected: list[int]) -> None:
    machine.handler(0x30, IRETQ)
    assert steps(machine, code) == expected


def test_a_jump_that_unicorn_makes_another_of(machine: LongMachine) -> None:
    """With an operand-size prefix it is one of 64 bits all the same (SDM vol. 2, JMP)."""
    machine.put(SPARE, b"\x66\xe9\x01\x00\x00\x00" + NOP * 2 + OFF + BELL)
    machine.put(5, BELL)
    stop = machine.run(return_to(SPARE, KERNEL_CODE, 2 | TF))
    assert stop.end is End.NOT_MODELLED
    assert "single-stepping from 0x40000: Unicorn came to 0x5 " in stop.detail


def test_between_iterations_the_resume_flag_is_set(machine: LongMachine) -> None:
    steps(machine, b"\x31\xc9\xb1\x02\x48\x8d\x3c\x25" + word(RESULT) + b"\xf3\x48\xab\x90")
    flags = {at: rflags & RF for at, rflags in traps(machine)}
    assert [flags[at] for at in (2, 4, 12, 15, 16)] == [0, 0, RF, 0, 0]


def test_the_first_step_behind_popf_is_known(machine: LongMachine) -> None:
    """Also when the model leaves that POPF to Unicorn."""
    machine.put(SPARE, NOP + OFF + (push(2 | TF) + POPF + b"\xf3\x48\xab" + OFF) * 2 + BELL)
    rang(machine.run(b"\xb9" + word(3) + b"\xbf" + word(RESULT) + return_to(SPARE, 8, 2 | TF)))
    seen = traps(machine)
    repeated = len(NOP + OFF + push(2 | TF) + POPF)
    # The count is 3, the first iteration's trap among them; in the second round it is 0.
    assert [flags & RF for at, flags in seen if at == repeated] == [RF, RF]


def test_a_load_of_ss_clears_the_resume_flag(machine: LongMachine) -> None:
    """17.3.1.1: it completes. (Of two in a row the second is trapped.)"""
    machine.put(SPARE, MOV_SS * 2 + OFF + BELL)
    rang(machine.run(REGISTERS + return_to(SPARE, KERNEL_CODE, 2 | TF | RF)))
    assert traps(machine)[0] == (4, 2 | TF)


def test_a_trap_is_told_in_dr6(machine: LongMachine) -> None:
    """17.2.3: BS is set for it, whoever has executed the instruction."""
    machine.handler(1, b"\x0f\x21\xf0" + save_rax(RESULT) + BELL)  # mov %dr6, %rax
    for code in (NOP, MOV_SS + NOP, MOV_SS * 2):
        machine.put(RESULT, bytes(8))
        assert steps(machine, code) == []
        assert machine.quad(RESULT) & SINGLE_STEP


def test_a_handler_that_does_not_trace_is_not_traced(machine: LongMachine) -> None:
    machine.handler(0x30, NOP * 5 + IRETQ)
    assert steps(machine, mov_rax(1) + b"\xcd\x30" + NOP) == [10, 13]
