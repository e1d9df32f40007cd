"""Task gates: sections 7.2 and 7.3, table 7-2."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from backends.tests.delivery_events import EVENTS, EXTERNAL, SOFTWARE, VECTOR
from backends.tests.delivery_machine import (
    ACCESSED,
    AVAILABLE,
    BUSY,
    CF,
    CODE,
    CR3,
    DATA,
    EIP,
    GDT,
    IF,
    KERNEL_CODE,
    KERNEL_DATA,
    KERNEL_STACK,
    LDT_KIND,
    LOCAL_DATA,
    LOCAL_SELECTOR,
    NEXT_EIP,
    NT,
    OTHER_CR3,
    OTHER_EIP,
    OTHER_STACK,
    OTHER_TASK,
    OTHER_TASK_SELECTOR,
    PE,
    PG,
    RF,
    TASK,
    TASK_GATE,
    TASK_SELECTOR,
    TS,
    USER_CODE,
    USER_DATA,
    VM,
    descriptor,
    gate,
)
from backends.tests.delivery_tasks import (
    DF,
    GP,
    NP,
    PF,
    TSS_FAULT,
    in_new_task,
    second,
    state,
    with_task_gate,
)
from backends.unicorn_model.delivery.deliver import Outcome, deliver
from backends.unicorn_model.delivery.descriptors import decode_descriptor
from backends.unicorn_model.delivery.machine import NotModelled, Segment
from backends.unicorn_model.delivery.returns import interrupt_return
from backends.unicorn_model.delivery.vectors import (
    Event,
    ProcessorException,
)

# Success.


@pytest.mark.parametrize(
    ("event", "eip", "resume"),
    [(SOFTWARE, NEXT_EIP, 0), (EXTERNAL, EIP, 0), (ProcessorException(6), EIP, RF)],
)
def test_the_old_state_is_saved(event: Event, eip: int, resume: int) -> None:
    machine = with_task_gate(event.vector)
    machine.set(eflags=2 | IF | NT | CF)
    machine.put(TASK, b"\xee" * 4)
    before = machine.registers
    esp = machine.words(TASK + 4, 6)
    assert deliver(machine, event) == Outcome((event,), shutdown=False)
    assert state(machine, TASK) == (
        eip,
        2 | IF | NT | CF | resume,
        *(0xA0, 0xA1, 0xA2, 0xA3, KERNEL_STACK, 0xA5, 0xA6, 0xA7),
        *(KERNEL_DATA, KERNEL_CODE, KERNEL_DATA, KERNEL_DATA, 0, 0),
        0,  # the LDT field is static (7.2.1)
    )
    # Neither are the link, the inner stacks and CR3 written.
    assert machine.words(TASK, 1) == (0xEEEEEEEE,)
    assert machine.words(TASK + 4, 6) == esp
    assert machine.words(TASK + 28, 1) == (0,)
    assert before.eflags & NT


def test_the_new_state_is_loaded() -> None:
    machine = with_task_gate(
        eflags=IF | CF | 1 << 15, ldt=LOCAL_SELECTOR, ds=LOCAL_DATA, fs=USER_DATA, gs=3
    )
    deliver(machine, EXTERNAL)
    registers = machine.registers
    general = (registers.eax, registers.ecx, registers.edx, registers.ebx)
    assert general == (0xB0, 0xB1, 0xB2, 0xB3)
    assert (registers.ebp, registers.esi, registers.edi) == (0xB5, 0xB6, 0xB7)
    assert (registers.esp, registers.eip) == (OTHER_STACK, OTHER_EIP)
    assert registers.eflags == 2 | IF | CF | NT
    assert registers.cs == machine.segment(KERNEL_CODE)
    assert registers.ss == machine.segment(KERNEL_DATA)
    assert registers.es == machine.segment(KERNEL_DATA)
    assert registers.ds == machine.segment(LOCAL_DATA)
    assert registers.fs == machine.segment(USER_DATA)
    assert registers.gs == Segment(3, None)
    assert registers.ldtr == machine.segment(LOCAL_SELECTOR)
    assert registers.tr == machine.segment(OTHER_TASK_SELECTOR)
    assert registers.cr3 == OTHER_CR3
    assert registers.cr0 == PE | PG | TS
    assert machine.loads == [OTHER_CR3]


def test_cr3_that_does_not_change_is_not_loaded() -> None:
    machine = with_task_gate(cr3=CR3)
    machine.bad_cr3 = {CR3}
    deliver(machine, EXTERNAL)
    assert in_new_task(machine)
    assert machine.loads == []


def test_the_new_task_is_nested() -> None:
    machine = with_task_gate()
    machine.put(OTHER_TASK, b"\xff\xff\xff\xff")
    deliver(machine, EXTERNAL)
    assert machine.words(OTHER_TASK, 1) == (0xFFFF0000 | TASK_SELECTOR,)
    assert machine.descriptor(OTHER_TASK_SELECTOR).kind == BUSY
    assert machine.descriptor(TASK_SELECTOR).kind == BUSY
    assert machine.registers.eflags & NT
    assert not machine.words(OTHER_TASK + 36, 1)[0] & NT


def test_the_error_code_is_pushed_on_the_new_stack() -> None:
    machine = with_task_gate(GP)
    deliver(machine, ProcessorException(GP, 0x18))
    assert machine.registers.esp == OTHER_STACK - 4
    assert machine.words(OTHER_STACK - 4, 1) == (0x18,)


@pytest.mark.parametrize("event", EVENTS)
def test_interrupts_push_nothing(event: Event) -> None:
    machine = with_task_gate()
    deliver(machine, event)
    assert machine.registers.esp == OTHER_STACK


def test_a_double_fault_task_survives_a_bad_stack() -> None:
    machine = with_task_gate(DF)
    machine.absent.add((KERNEL_STACK - 0x1000, None))
    outcome = deliver(machine, ProcessorException(PF, 2, KERNEL_STACK - 0x1000))
    assert outcome == Outcome(
        (
            ProcessorException(PF, 2, KERNEL_STACK - 0x1000),
            ProcessorException(PF, 2, KERNEL_STACK - 4),
            ProcessorException(DF, 0),
        ),
        shutdown=False,
    )
    assert machine.registers.cr2 == KERNEL_STACK - 4
    assert machine.words(machine.registers.esp, 1) == (0,)
    assert state(machine, TASK)[0] == EIP


def test_a_ring_3_task() -> None:
    machine = with_task_gate(cs=USER_CODE, ss=USER_DATA, ds=USER_DATA, es=0)
    deliver(machine, EXTERNAL)
    assert machine.registers.cpl == 3


def test_there_and_back() -> None:
    machine = with_task_gate()
    machine.enter_ring(3)
    machine.put(TASK + 28, struct.pack("<I", CR3))
    before = machine.registers
    deliver(machine, EXTERNAL)
    interrupt_return(machine, OTHER_EIP + 1)
    after = machine.registers
    assert after == replace(
        before,
        cr0=before.cr0 | TS,
        cs=machine.segment(USER_CODE),
        **{name: machine.segment(USER_DATA) for name in ("ss", "ds", "es")},
    )
    assert machine.descriptor(OTHER_TASK_SELECTOR).kind == AVAILABLE
    assert machine.descriptor(TASK_SELECTOR).kind == BUSY
    # The task goes on behind its IRET the next time, and NT is clear in its image.
    assert state(machine, OTHER_TASK)[:2] == (OTHER_EIP + 1, 2)
    assert machine.loads == [OTHER_CR3, CR3]


# The TSS selector and descriptor; all in the context of the old task.


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize(
    ("selector", "error"),
    [(0, 0), (2, 0), (OTHER_TASK_SELECTOR | 4, OTHER_TASK_SELECTOR | 4), (0x60, 0x60)],
)
def test_selector_of_a_task_gate(event: Event, selector: int, error: int) -> None:
    machine = with_task_gate()
    machine.set(ldtr=Segment(8, replace(machine.descriptor(LOCAL_SELECTOR), base=GDT, limit=99)))
    machine.put(GDT, machine.memory[GDT + OTHER_TASK_SELECTOR :][:8])
    machine.gate(VECTOR, gate(selector, kind=TASK_GATE))
    assert second(machine, event) == (GP, error | (event is EXTERNAL))
    assert not in_new_task(machine)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("kind", [BUSY, 3, LDT_KIND, DATA, CODE, TASK_GATE, 0xC, 0])
def test_not_an_available_task(event: Event, kind: int) -> None:
    machine = with_task_gate()
    machine.set_descriptor(OTHER_TASK_SELECTOR, descriptor(kind, limit=0x67, present=False))
    assert second(machine, event) == (GP, OTHER_TASK_SELECTOR | (event is EXTERNAL))


@pytest.mark.parametrize("event", EVENTS)
def test_a_task_that_is_not_present(event: Event) -> None:
    machine = with_task_gate()
    machine.set_descriptor(OTHER_TASK_SELECTOR, descriptor(AVAILABLE, limit=1, present=False))
    assert second(machine, event) == (NP, OTHER_TASK_SELECTOR | (event is EXTERNAL))


@pytest.mark.parametrize("event", EVENTS)
def test_a_new_tss_that_is_too_short(event: Event) -> None:
    machine = with_task_gate()
    machine.set_descriptor(OTHER_TASK_SELECTOR, descriptor(AVAILABLE, base=OTHER_TASK, limit=0x66))
    assert second(machine, event) == (TSS_FAULT, OTHER_TASK_SELECTOR | (event is EXTERNAL))
    assert not in_new_task(machine)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize(("limit", "enough"), [(0x5E, False), (0x5F, True)])
def test_an_old_tss_that_is_too_short(event: Event, limit: int, enough: bool) -> None:
    machine = with_task_gate()
    machine.set(tr=Segment(TASK_SELECTOR, replace(machine.descriptor(TASK_SELECTOR), limit=limit)))
    if enough:
        deliver(machine, event)
    else:
        assert second(machine, event) == (TSS_FAULT, TASK_SELECTOR | (event is EXTERNAL))
    assert in_new_task(machine) is enough


@pytest.mark.parametrize(
    ("page", "linear", "read_only", "bits"),
    [
        (TASK, TASK + 32, False, 2),
        (TASK, TASK + 32, True, 3),
        (OTHER_TASK, OTHER_TASK, False, 0),
        (OTHER_TASK, OTHER_TASK, True, 3),
        (GDT, GDT + OTHER_TASK_SELECTOR + 5, True, 3),
    ],
)
def test_page_faults_before_the_switch(page: int, linear: int, read_only: bool, bits: int) -> None:
    machine = with_task_gate()
    machine.set_descriptor(KERNEL_CODE, descriptor(CODE | ACCESSED))
    if read_only:
        machine.read_only.add(page)
    else:
        machine.absent.add((page, None))
    task_pages = bytes(machine.memory[TASK : OTHER_TASK + 0x1000])
    assert second(machine) == (PF, bits)
    assert machine.registers.cr2 == linear
    assert not in_new_task(machine)
    assert bytes(machine.memory[TASK : OTHER_TASK + 0x1000]) == task_pages
    assert machine.descriptor(OTHER_TASK_SELECTOR).kind == AVAILABLE


def test_cr3_that_cannot_be_loaded() -> None:
    machine = with_task_gate()
    machine.bad_cr3.add(OTHER_CR3)
    assert second(machine) == (GP, 0)
    assert machine.registers.cr3 == CR3
    assert machine.descriptor(OTHER_TASK_SELECTOR).kind == AVAILABLE


@pytest.mark.parametrize("fields", [{"trap": 1}, {"eflags": VM}])
def test_states_that_are_not_modelled(fields: dict[str, int]) -> None:
    machine = with_task_gate(**fields)
    before = machine.snapshot()
    with pytest.raises(NotModelled):
        deliver(machine, EXTERNAL)
    assert machine.snapshot() == before


def test_16_bit_tasks_are_not_modelled() -> None:
    machine = with_task_gate()
    machine.set_descriptor(OTHER_TASK_SELECTOR, descriptor(1, base=OTHER_TASK, limit=0x67))
    with pytest.raises(NotModelled, match="16-bit task"):
        deliver(machine, EXTERNAL)
    machine = with_task_gate()
    machine.set(tr=Segment(TASK_SELECTOR, decode_descriptor(descriptor(3))))
    with pytest.raises(NotModelled, match="no 32-bit TSS"):
        deliver(machine, EXTERNAL)
