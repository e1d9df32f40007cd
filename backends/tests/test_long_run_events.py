"""The reference model in IA-32e mode, as a guest sees it: exceptions, returns and user mode."""

from __future__ import annotations

import struct

import pytest

from backends.tests.long_machine import (
    ABSENT_DATA,
    AM,
    BELL,
    GDT,
    IDT,
    INNER_STACK,
    INTERRUPT_STACK,
    IRETQ,
    KERNEL_CODE,
    KERNEL_DATA,
    NOP,
    RESULT,
    SPARE,
    TOP,
    UD2,
    USER,
    USER_CODE,
    USER_DATA,
    USER_STACK,
    LongMachine,
    drop_error_code,
    enter_ring_3,
    fault,
    load_rax,
    long_cr,
    long_gate,
    mov_rax,
    mov_rcx,
    mov_rsp,
    push,
    quad,
    rang,
    return_to,
    save_cr,
    save_rax,
    save_stack,
    skip,
    tells,
)
from backends.tests.reference_machine import word
from backends.unicorn_model.messages import End

RF, TF, AC = 1 << 16, 1 << 8, 1 << 18


@pytest.fixture
def machine() -> LongMachine:
    return LongMachine()


def test_user_mode_and_back(machine: LongMachine) -> None:
    machine.put(USER, b"\xcd\x30")  # int $0x30
    told = save_stack(RESULT, 5) + b"\x48\x89\xe0" + save_rax(RESULT + 40)  # mov %rsp, %rax
    told += b"\x31\xc0\x8c\xd0" + save_rax(RESULT + 48)
    machine.handler(0x30, told + BELL, dpl=3)
    stop = rang(machine.run(enter_ring_3()))
    assert machine.quads(RESULT, 5) == (USER + 2, USER_CODE, 2, USER_STACK, USER_DATA)
    assert machine.quads(RESULT + 40, 2) == (INNER_STACK - 8 - 40, 0)
    assert stop.faults == ()


def test_handlers_return_to_user_mode(machine: LongMachine) -> None:
    count = b"\x48\xff\x04\x25" + word(RESULT)  # incq RESULT
    machine.handler(6, count + skip(2) + IRETQ)
    machine.handler(13, drop_error_code() + count + skip(1) + IRETQ)
    machine.handler(0x30, save_stack(RESULT + 8, 5) + BELL, dpl=3)
    machine.put(USER, b"\x49\xbf" + quad(1 << 63) + UD2 + b"\xf4\xfa" + UD2 + b"\xcd\x30")
    stop = rang(machine.run(enter_ring_3()))
    assert machine.quad(RESULT) == 4
    assert machine.quads(RESULT + 8, 5) == (USER + 18, USER_CODE, 2, USER_STACK, USER_DATA)
    assert stop.faults is not None
    assert [seen.vector for seen in stop.faults] == [6, 13, 13, 6]


def test_user_mode_is_kept_out(machine: LongMachine) -> None:
    code = mov_rcx(SPARE + 8) + b"\x48\x8b\x01"
    machine.put(USER, code)
    assert fault(machine, enter_ring_3()) == (14, 5, SPARE + 8)
    assert machine.quad(RESULT + 56) == 0  # SS
    machine.put(USER, mov_rax(TOP) + b"\x0f\x22\xd8")  # mov %rax, %cr3
    assert fault(machine, enter_ring_3()) == (13, 0, 0)


@pytest.mark.parametrize(
    ("selector", "vector", "code"),
    [(ABSENT_DATA, 11, ABSENT_DATA), (0x60, 13, 0x60), (KERNEL_CODE | 4, 13, 0xC)],
)
def test_segment_registers_that_refuse(
    machine: LongMachine, selector: int, vector: int, code: int
) -> None:
    tells(machine, vector)
    rang(machine.run(mov_rax(selector) + b"\x8e\xd8"))  # mov %eax, %ds
    assert (machine.quad(RESULT + 64), machine.quad(RESULT)) == (vector, code)


@pytest.mark.parametrize(
    ("selector", "vector", "code"), [(ABSENT_DATA, 12, ABSENT_DATA), (3, 13, 0)]
)
def test_a_stack_segment_that_is_refused(
    machine: LongMachine, selector: int, vector: int, code: int
) -> None:
    tells(machine, vector)
    rang(machine.run(mov_rax(selector) + b"\x8e\xd0"))  # mov %eax, %ss
    assert (machine.quad(RESULT + 64), machine.quad(RESULT)) == (vector, code)


def test_a_null_stack_segment_is_taken(machine: LongMachine) -> None:
    rang(machine.run(b"\x31\xc0\x8e\xd0" + push(5) + b"\x58" + save_rax(RESULT)))
    assert machine.quad(RESULT) == 5


def test_a_stack_segment_is_loaded(machine: LongMachine) -> None:
    """And its descriptor is accessed from then on (3.4.5.1), whatever Unicorn makes of it."""
    accessed = GDT + KERNEL_DATA + 5
    clear = b"\xc6\x04\x25" + word(accessed) + b"\x92"  # movb $0x92, accessed
    code = b""
    for index, selector in enumerate((0, KERNEL_DATA)):
        code += clear + mov_rax(selector) + b"\x8e\xd0\x31\xc0\x8c\xd0"  # mov; xor; mov %ss, %eax
        code += save_rax(RESULT + 16 * index)
        code += b"\x31\xc0\x8a\x04\x25" + word(accessed) + save_rax(RESULT + 16 * index + 8)
    rang(machine.run(code))
    assert machine.quads(RESULT, 4) == (0, 0x92, KERNEL_DATA, 0x93)


@pytest.mark.parametrize(("flags", "cr0", "faults"), [(AC, AM, 1), (0, AM, 0), (AC, 0, 0)])
def test_alignment_is_checked_in_user_mode(
    machine: LongMachine, flags: int, cr0: int, faults: int
) -> None:
    machine.put(USER, b"\x48\x8b\x04\x25" + word(USER_STACK - 15) + b"\xcd\x30")
    machine.handler(17, save_stack(RESULT, 6) + BELL)
    machine.handler(0x30, BELL, dpl=3)
    enable = long_cr(0, 0xE0010011 | cr0)
    stop = rang(machine.run(enable + enter_ring_3(2 | flags)))
    assert stop.faults is not None
    assert [(seen.vector, seen.error_code) for seen in stop.faults] == [(17, 0)] * faults
    # In ring 0 it is not.
    stop = rang(machine.run(enable + load_rax(USER_STACK - 15)))
    assert stop.faults == ()


def test_single_steps(machine: LongMachine) -> None:
    count = b"\x48\xff\x04\x25" + word(RESULT)
    machine.handler(
        1, b"\x50" + count + b"\x48\x8b\x44\x24\x08" + save_rax(RESULT + 8) + b"\x58" + IRETQ
    )
    reload = b"\x0f\x20\xda\x0f\x22\xda"  # mov %cr3, %rdx; mov %rdx, %cr3
    code = push(2 | TF) + b"\x9d" + NOP * 3 + reload + push(2) + b"\x9d"
    rang(machine.run(code))
    assert machine.quad(RESULT) == 3 + 2 + 2 + 1


def test_an_instruction_that_completes_clears_the_resume_flag(machine: LongMachine) -> None:
    machine.handler(1, save_stack(RESULT, 3) + BELL)
    machine.put(SPARE, b"\x0f\x20\xda\x0f\x22\xda")  # mov %cr3, %rdx; mov %rdx, %cr3
    to_write = mov_rax(TOP) + b"\x48\x89\xc2" + return_to(SPARE + 3, KERNEL_CODE, 2 | TF | RF)
    rang(machine.run(to_write))
    assert machine.quads(RESULT, 3) == (SPARE + 6, KERNEL_CODE, 2 | TF)


def test_a_double_fault_on_its_own_stack(machine: LongMachine) -> None:
    """A page fault whose handler's stack is not there."""
    machine.page(SPARE, 0)
    machine.handler(14, BELL)
    told = save_stack(RESULT, 6) + b"\x48\x89\xe0" + save_rax(RESULT + 48)
    machine.handler(8, told + save_cr(2, RESULT + 56) + BELL, stack=1)
    stop = rang(machine.run(mov_rsp(SPARE + 0x800) + b"\x50"))
    assert stop.faults is not None
    assert [(seen.vector, seen.error_code) for seen in stop.faults] == [(8, 0)]
    assert machine.quad(RESULT) == 0
    assert machine.quads(RESULT + 32, 3) == (
        SPARE + 0x800,
        KERNEL_DATA,
        INTERRUPT_STACK - 8 - 48,
    )
    assert SPARE <= machine.quad(RESULT + 56) < SPARE + 0x800


def test_no_gate_is_a_shutdown(machine: LongMachine) -> None:
    stop = machine.run(UD2)
    assert stop.end is End.SHUTDOWN
    assert "vector 6 " in stop.detail
    assert stop.faults == ()


def test_an_empty_table_is_a_shutdown(machine: LongMachine) -> None:
    machine.handler(6, BELL)
    machine.put(SPARE, struct.pack("<HQ", 0, IDT))
    assert machine.run(b"\x0f\x01\x1c\x25" + word(SPARE) + UD2).end is End.SHUTDOWN


def test_int3_and_a_divide_error(machine: LongMachine) -> None:
    machine.handler(3, save_stack(RESULT, 1) + IRETQ)
    machine.handler(0, save_stack(RESULT + 8, 1) + BELL)
    code = b"\xcc\x31\xc9\xf7\xf1"  # int3; xor %ecx, %ecx; div %ecx
    rang(machine.run(code))
    at = machine.ram.find(code)
    assert machine.quads(RESULT, 2) == (at + 1, at + 3)


@pytest.mark.parametrize("code", [b"\xcc", b"\xcd\x03"])
def test_an_interrupt_that_has_no_gate(machine: LongMachine, code: bytes) -> None:
    """The fault is at the instruction, however long that is."""
    assert fault(machine, code) == (13, 3 << 3 | 2, 0)
    assert machine.quad(RESULT + 8) == machine.ram.find(code + BELL)


@pytest.mark.parametrize(("code", "vector"), [(b"\xcd\x06", 6), (b"\xf1", 1), (b"\xcd\x0e", 14)])
def test_interrupts_that_look_like_exceptions(
    machine: LongMachine, code: bytes, vector: int
) -> None:
    machine.handler(vector, save_stack(RESULT, 3) + BELL)
    stop = rang(machine.run(code))
    at = machine.ram.find(code + BELL)
    assert machine.quads(RESULT, 2) == (at + len(code), KERNEL_CODE)
    assert not machine.quad(RESULT + 16) & RF
    assert stop.faults is not None
    assert [(seen.vector, seen.error_code) for seen in stop.faults] == [(vector, None)]


def test_a_gate_to_32_bit_code(machine: LongMachine) -> None:
    machine.put(IDT + 6 * 16, long_gate(SPARE, 0x40))
    assert fault(machine, UD2) == (13, 0x40 | 1, 0)
