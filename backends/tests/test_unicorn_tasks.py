"""The reference model switches tasks: real runs of small code with task gates."""

from __future__ import annotations

import pytest

from backends.tests.delivery_machine import TASK_GATE, gate
from backends.tests.reference_machine import (
    BELL,
    DIRECTORY,
    GDT,
    IDT,
    IRET,
    KERNEL_CODE,
    OTHER_TASK,
    OTHER_TSS,
    RESULT,
    SPARE,
    TABLE,
    TASK,
    TSS,
    UD2,
    USER,
    USER_CODE,
    USER_DATA,
    USER_STACK,
    ReferenceMachine,
    count,
    enter_ring_3,
    mov_esp,
    pop_to,
    save_cr,
    save_stack,
    set_cr,
    store,
    word,
)
from backends.unicorn_model.messages import End
from conformance.observe.observation import MachineFault

OTHER_DIRECTORY = 0x50000


@pytest.fixture
def machine() -> ReferenceMachine:
    return ReferenceMachine()


def test_a_double_fault_goes_to_a_task_and_returns_twice(machine: ReferenceMachine) -> None:
    # The gate of #UD is not present: #NP, whose gate is not present either.
    machine.task_gate(8, count(RESULT) + pop_to(RESULT + 4) + store_task_eip() + IRET + b"\xeb\xea")
    code = machine.paging()
    machine.put(OTHER_TASK + 28, word(DIRECTORY))
    machine.put(TASK + 28, word(DIRECTORY))
    stop = machine.run(code + UD2 + UD2 + store(RESULT + 8, 0x55))
    assert (stop.end, stop.detail) == (End.BELL, "")
    assert machine.words(RESULT, 3) == (2, 0, 0x55)
    assert stop.faults is not None
    assert [(fault.vector, fault.error_code) for fault in stop.faults] == [(8, 0), (8, 0)]
    busy = {selector: machine.ram[GDT + selector + 5] & 2 for selector in (TSS, OTHER_TSS)}
    assert busy == {TSS: 2, OTHER_TSS: 0}
    assert stop.control.cr0 & 8  # TS is set by a task switch


def store_task_eip() -> bytes:
    """Let the task that was left go on 2 bytes later."""
    return b"\x83\x05" + word(TASK + 32) + b"\x02"  # addl $2, TASK + 32


def test_a_task_returns_to_ring_3(machine: ReferenceMachine) -> None:
    code = machine.paging(user=(USER, USER_STACK - 0x1000))
    machine.put(USER, b"\xcd\x31\xcd\x30")
    machine.task_gate(0x31, store(RESULT, 0x31) + IRET, cr3=DIRECTORY)
    machine.put(IDT + 0x31 * 8, gate(OTHER_TSS, 0, kind=TASK_GATE, dpl=3))
    machine.put(TASK + 28, word(DIRECTORY))
    machine.handler(0x30, save_stack(RESULT + 4, 5) + BELL, dpl=3)
    stop = machine.run(code + enter_ring_3())
    assert (stop.end, stop.detail, machine.word(RESULT)) == (End.BELL, "", 0x31)
    eip, cs, _, esp, ss = machine.words(RESULT + 4, 5)
    assert (eip, cs, esp, ss) == (USER + 4, USER_CODE, USER_STACK, USER_DATA)


def test_the_same_code_returns_from_a_handler_and_from_a_task(machine: ReferenceMachine) -> None:
    """The second IRET is another one, though Unicorn has translated it before."""
    code = machine.paging()
    machine.put(OTHER_DIRECTORY, word(TABLE | 7))
    machine.put(TASK + 28, word(DIRECTORY))
    handler = machine.task_gate(3, count(RESULT) + IRET, cr3=OTHER_DIRECTORY)
    machine.put(IDT + 0x30 * 8, gate(KERNEL_CODE, handler))
    code += set_cr(
        0, 0xE0010019
    )  # with TS, which the task switch sets: Unicorn's code depends on it
    stop = machine.run(code + b"\xcd\x30\xcc" + store(RESULT + 4, 0x55))
    assert (stop.end, stop.detail) == (End.BELL, "")
    assert machine.words(RESULT, 2) == (2, 0x55)
    assert machine.ram[GDT + OTHER_TSS + 5] & 2 == 0
    assert stop.control.cr3 == DIRECTORY


def test_nothing_is_dirty_from_a_frame_that_could_not_be_pushed(machine: ReferenceMachine) -> None:
    """SDM vol. 3, 4.8: the dirty flag is of a write, and there was none."""
    paging = machine.paging()
    machine.page(SPARE, 0)
    machine.handler(6, BELL)
    machine.handler(14, BELL)
    machine.task_gate(8, BELL, cr3=DIRECTORY)
    stop = machine.run(paging + mov_esp(SPARE + 0x1004) + UD2)
    assert (stop.end, stop.control.cr2) == (End.BELL, SPARE + 0xFFC)
    assert machine.word(TABLE + (SPARE + 0x1000 >> 12) * 4) & 0x40 == 0


def test_without_a_stack_the_double_fault_is_a_shutdown(machine: ReferenceMachine) -> None:
    code = machine.paging()
    for vector in (6, 8, 14):
        machine.handler(vector, BELL)
    stop = machine.run(code + b"\xbc" + word(0x700000) + UD2)
    assert stop.end is End.SHUTDOWN
    assert stop.faults == ()


def test_a_double_fault_task_saves_the_state_that_was_left(machine: ReferenceMachine) -> None:
    code = machine.paging()
    machine.handler(6, BELL)
    machine.handler(14, BELL)
    machine.task_gate(8, save_cr(2, RESULT) + BELL, cr3=DIRECTORY)
    stop = machine.run(code + b"\xbc" + word(0x700000) + UD2)
    assert (stop.end, stop.detail) == (End.BELL, "")
    # #UD, then #PF as it is pushed, and #PF as that is pushed.
    assert machine.word(RESULT) == 0x700000 - 4
    eip, esp = machine.word(TASK + 32), machine.word(TASK + 56)
    assert bytes(machine.ram[eip : eip + 2]) == UD2
    assert esp == 0x700000
    assert stop.faults == (MachineFault(8, 0, None, eip),)


@pytest.mark.parametrize(
    "push", [b"\x50", b"\xe8" + word(0), b"\x60"], ids=["push", "call", "pusha"]
)
def test_a_stack_that_ran_out(machine: ReferenceMachine, push: bytes) -> None:
    """The page fault cannot be pushed either, and the double fault has a stack of its own."""
    paging = machine.paging()
    machine.page(SPARE, 0)
    machine.handler(14, BELL)
    machine.task_gate(8, save_cr(2, RESULT) + BELL, cr3=DIRECTORY)
    stop = machine.run(paging + mov_esp(SPARE + 0x1008) + push * 3)
    assert (stop.end, stop.detail) == (End.BELL, "")
    eip, esp = machine.word(TASK + 32), machine.word(TASK + 56)
    assert bytes(machine.ram[eip : eip + len(push)]) == push
    assert esp == SPARE + (0x1008 if push == b"\x60" else 0x1000)
    assert machine.word(RESULT) == SPARE + 0xFFC
    assert stop.faults == (MachineFault(8, 0, None, eip),)
