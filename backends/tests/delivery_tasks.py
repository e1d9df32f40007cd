"""Machines with a task to switch to, for the tests of task switches."""

from __future__ import annotations

import struct

import pytest

from backends.tests.delivery_events import EXTERNAL, VECTOR
from backends.tests.delivery_machine import (
    BUSY,
    NEXT_EIP,
    NT,
    OTHER_TASK,
    OTHER_TASK_SELECTOR,
    TASK,
    TASK_GATE,
    FakeMachine,
    descriptor,
    gate,
)
from backends.unicorn_model.delivery.deliver import deliver
from backends.unicorn_model.delivery.returns import interrupt_return
from backends.unicorn_model.delivery.vectors import (
    Event,
    Fault,
    ProcessorException,
)

DF, TSS_FAULT, NP, SS, GP, PF = 8, 10, 11, 12, 13, 14
TASK_STATE = "<10I7I"  # EIP, EFLAGS, general registers, segment registers, LDT


def with_task_gate(vector: int = VECTOR, **fields: int) -> FakeMachine:
    machine = FakeMachine()
    machine.build_task(**fields)
    machine.gate(vector, gate(OTHER_TASK_SELECTOR, 0, kind=TASK_GATE, dpl=3))
    return machine


def nested(**fields: int) -> FakeMachine:
    """A machine in a task that is nested in another, to which an IRET returns."""
    machine = FakeMachine()
    machine.build_task(**fields)
    machine.set_descriptor(OTHER_TASK_SELECTOR, descriptor(BUSY, base=OTHER_TASK, limit=0x67))
    machine.put(TASK, struct.pack("<H", OTHER_TASK_SELECTOR))
    machine.set(eflags=2 | NT)
    return machine


def second(machine: FakeMachine, event: Event = EXTERNAL) -> tuple[int, int | None]:
    outcome = deliver(machine, event)
    exception = outcome.events[1]
    assert isinstance(exception, ProcessorException)
    return exception.vector, exception.error_code


def fault_of_return(machine: FakeMachine) -> tuple[int, int]:
    with pytest.raises(Fault) as caught:
        interrupt_return(machine, NEXT_EIP)
    return caught.value.vector, caught.value.error_code


def in_new_task(machine: FakeMachine) -> bool:
    return machine.registers.tr.selector == OTHER_TASK_SELECTOR


def state(machine: FakeMachine, base: int) -> tuple[int, ...]:
    return struct.unpack_from(TASK_STATE, machine.memory, base + 32)
