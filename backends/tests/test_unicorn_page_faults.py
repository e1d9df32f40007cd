"""Where a page fault of the reference model is, and what comes before it: real runs."""

from __future__ import annotations

import pytest

from backends.tests.reference_machine import (
    BELL,
    IRET,
    RESULT,
    SPARE,
    TABLE,
    ReferenceMachine,
    load_eax,
    mov_eax,
    mov_ecx,
    pop_to,
    save_cr,
    save_eax,
    save_stack,
    skip,
    store,
    word,
)
from backends.unicorn_model.messages import End


@pytest.fixture
def machine() -> ReferenceMachine:
    return ReferenceMachine()


def test_a_page_fault_has_an_address_and_a_code(machine: ReferenceMachine) -> None:
    code = machine.paging()
    machine.page(SPARE, 0)
    machine.handler(14, save_cr(2, RESULT) + pop_to(RESULT + 4) + skip(10) + IRET)
    stop = machine.run(code + store(SPARE + 0x123, 1))
    assert stop.end is End.BELL
    assert machine.words(RESULT, 2) == (SPARE + 0x123, 2)
    assert stop.faults is not None
    assert [(fault.error_code, fault.cr2) for fault in stop.faults] == [(2, SPARE + 0x123)]
    assert stop.control.cr2 == SPARE + 0x123


def test_a_handler_can_mend_what_faulted(machine: ReferenceMachine) -> None:
    code = machine.paging()
    machine.page(SPARE, 0)
    entry = 0x31000 + (SPARE >> 12) * 4
    machine.handler(14, pop_to(RESULT) + store(entry, SPARE | 3) + IRET)
    assert machine.run(code + store(SPARE, 0xABCD)).end is End.BELL
    assert machine.word(SPARE) == 0xABCD
    assert machine.word(entry) & 0x60 == 0x60


def jump(machine: ReferenceMachine, target: int) -> bytes:
    return mov_ecx(target) + b"\xff\xe1"  # jmp *%ecx


@pytest.mark.parametrize(
    ("tail", "eip"),
    [
        (b"\x40" * 5, SPARE + 0x1000),  # inc %eax
        (b"\x40" * 3 + b"\xc7\x05", SPARE + 0xFFE),  # movl, cut by the end of the page
    ],
    ids=["between two instructions", "in the middle of one"],
)
def test_what_comes_before_an_absent_page_is_executed(
    machine: ReferenceMachine, tail: bytes, eip: int
) -> None:
    """Unicorn fetches whole blocks before it executes any of them."""
    code = machine.paging()
    machine.page(SPARE + 0x1000, 0)
    machine.put(SPARE + 0x1000 - len(tail), tail)
    seen = save_eax(RESULT) + save_stack(RESULT + 4, 2) + save_cr(2, RESULT + 12)
    machine.handler(14, seen + BELL)
    stop = machine.run(code + mov_eax(0) + jump(machine, SPARE + 0x1000 - len(tail)))
    assert (stop.end, stop.detail) == (End.BELL, "")
    assert machine.words(RESULT, 4) == (tail.count(0x40), 0, eip, SPARE + 0x1000)


def test_a_halt_before_an_absent_page_halts(machine: ReferenceMachine) -> None:
    code = machine.paging()
    machine.page(SPARE + 0x1000, 0)
    machine.put(SPARE + 0xFFE, b"\x40\xf4")
    assert machine.run(code + jump(machine, SPARE + 0xFFE)).end is End.HALTED


def test_what_was_executed_in_steps_can_be_executed_again(machine: ReferenceMachine) -> None:
    code = machine.paging()
    machine.page(SPARE + 0x1000, 0)
    tail = SPARE + 0xFFB
    machine.put(tail, b"\x40" * 5)  # inc %eax
    machine.put(SPARE + 0x1000, b"\x49\x75\xf8" + save_eax(RESULT) + BELL)  # dec %ecx; jne tail
    mend = store(TABLE + (SPARE + 0x1000 >> 12) * 4, SPARE + 0x1000 | 3)
    machine.handler(14, b"\x83\xc4\x04" + mend + IRET)
    go = b"\xbf" + word(tail) + mov_eax(0) + mov_ecx(3) + b"\xff\xe7"  # …; jmp *%edi
    stop = machine.run(code + go)
    assert (stop.end, stop.detail) == (End.BELL, "")
    assert machine.word(RESULT) == 15
    assert stop.faults is not None
    assert len(stop.faults) == 1


@pytest.mark.parametrize(
    ("code", "address", "error_code"),
    [
        (load_eax(SPARE + 0xFFE), SPARE + 0x1000, 0),
        (load_eax(SPARE + 0x1FFE), SPARE + 0x1FFE, 0),
        (store(SPARE + 0xFFF, 1), SPARE + 0x1000, 2),
        (b"\xbf" + word(SPARE + 0x2004) + mov_ecx(9) + b"\xfd\xf3\xab", SPARE + 0x1FFC, 2),
        (b"\xff\x15" + word(SPARE + 0x1010), SPARE + 0x1010, 0),
    ],
    ids=["read into it", "read out of it", "write", "rep stos downwards", "call through it"],
)
def test_where_a_page_fault_is(
    machine: ReferenceMachine, code: bytes, address: int, error_code: int
) -> None:
    paging = machine.paging()
    machine.page(SPARE + 0x1000, 0)
    machine.handler(14, pop_to(RESULT) + save_cr(2, RESULT + 4) + BELL)
    stop = machine.run(paging + code)
    assert (stop.end, stop.detail) == (End.BELL, "")
    assert stop.faults is not None
    (fault,) = stop.faults
    assert (fault.vector, fault.error_code, fault.cr2) == (14, error_code, address)
    assert machine.words(RESULT, 2) == (error_code, address)
