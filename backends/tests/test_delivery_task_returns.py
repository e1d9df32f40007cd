"""IRET to the previous task: section 7.4, tables 7-1 and 7-2."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from backends.tests.delivery_machine import (
    AVAILABLE,
    BUSY,
    CODE,
    CR3,
    DATA,
    GDT,
    LDT_KIND,
    LOCAL_SELECTOR,
    NEXT_EIP,
    NT,
    OTHER_EIP,
    OTHER_TASK,
    OTHER_TASK_SELECTOR,
    SPARE,
    TASK,
    TASK_GATE,
    TASK_SELECTOR,
    descriptor,
)
from backends.tests.delivery_tasks import (
    GP,
    NP,
    TSS_FAULT,
    fault_of_return,
    in_new_task,
    nested,
)
from backends.unicorn_model.delivery.machine import Segment
from backends.unicorn_model.delivery.returns import interrupt_return


@pytest.mark.parametrize("link", [0, 3, OTHER_TASK_SELECTOR | 4, 0x60])
def test_bad_back_link(link: int) -> None:
    machine = nested()
    busy = bytes(machine.memory[GDT + OTHER_TASK_SELECTOR :][:8])
    for address in (GDT, GDT + 0x60):
        machine.put(address, busy)
    machine.set(ldtr=Segment(8, replace(machine.descriptor(LOCAL_SELECTOR), base=GDT, limit=99)))
    machine.put(TASK, struct.pack("<H", link))
    before = machine.snapshot()
    assert fault_of_return(machine) == (TSS_FAULT, link & ~3)
    assert machine.snapshot() == before


@pytest.mark.parametrize("kind", [AVAILABLE, 1, LDT_KIND, DATA, CODE, TASK_GATE, 0xC, 0])
def test_back_link_to_no_busy_task(kind: int) -> None:
    machine = nested()
    machine.set_descriptor(OTHER_TASK_SELECTOR, descriptor(kind, limit=0x67, present=False))
    assert fault_of_return(machine) == (TSS_FAULT, OTHER_TASK_SELECTOR)


def test_back_link_to_a_task_that_is_not_present() -> None:
    machine = nested()
    machine.set_descriptor(OTHER_TASK_SELECTOR, descriptor(BUSY, limit=0x67, present=False))
    assert fault_of_return(machine) == (NP, OTHER_TASK_SELECTOR)


def test_back_link_to_a_short_task() -> None:
    machine = nested()
    machine.set_descriptor(OTHER_TASK_SELECTOR, descriptor(BUSY, base=OTHER_TASK, limit=0x66))
    assert fault_of_return(machine) == (TSS_FAULT, OTHER_TASK_SELECTOR)


def test_a_task_without_back_link() -> None:
    machine = nested()
    machine.set(tr=Segment(TASK_SELECTOR, replace(machine.descriptor(TASK_SELECTOR), limit=0)))
    machine.put(TASK, b"\0\0")
    assert fault_of_return(machine) == (TSS_FAULT, TASK_SELECTOR)


def test_the_old_task_has_to_be_in_the_table() -> None:
    machine = nested()
    machine.set(tr=Segment(0x60, machine.registers.tr.descriptor))
    before = machine.snapshot()
    assert fault_of_return(machine) == (TSS_FAULT, 0x60)
    assert machine.snapshot() == before


def test_return_to_itself() -> None:
    machine = nested()
    machine.put(TASK, struct.pack("<H", TASK_SELECTOR))
    machine.put(TASK + 28, struct.pack("<I", CR3))
    interrupt_return(machine, NEXT_EIP)
    assert machine.registers.eip == NEXT_EIP
    assert machine.registers.eflags == 2
    # Table 7-2: the flag of the old task is cleared; that it is the new one's too is its bad luck.
    assert machine.descriptor(TASK_SELECTOR).kind == AVAILABLE


def test_instruction_pointer_after_a_return() -> None:
    machine = nested(cs=SPARE)
    machine.set_descriptor(SPARE, descriptor(CODE, limit=OTHER_EIP - 1))
    assert fault_of_return(machine) == (GP, 0)
    assert in_new_task(machine)


def test_nt_of_a_task_returned_to_is_its_own() -> None:
    machine = nested(eflags=NT)
    interrupt_return(machine, NEXT_EIP)
    assert machine.registers.eflags == 2 | NT
    assert machine.words(OTHER_TASK, 1) == (0,)
