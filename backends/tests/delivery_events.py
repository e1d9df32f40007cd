"""Events to deliver, and what comes of them."""

from __future__ import annotations

from backends.tests.delivery_machine import EIP, HANDLER, NEXT_EIP, FakeMachine
from backends.unicorn_model.delivery.deliver import Outcome, deliver
from backends.unicorn_model.delivery.vectors import (
    Event,
    ExternalInterrupt,
    ProcessorException,
    SoftwareInterrupt,
)

VECTOR = 0x40
SOFTWARE = SoftwareInterrupt(VECTOR, NEXT_EIP)
EXTERNAL = ExternalInterrupt(VECTOR)
EVENTS = [SOFTWARE, EXTERNAL]


def second(machine: FakeMachine, event: Event = EXTERNAL) -> tuple[int, int | None]:
    """The exception that the delivery raises first, which is itself delivered."""
    before = machine.snapshot()
    outcome = deliver(machine, event)
    assert not outcome.shutdown
    assert len(outcome.events) == 2, outcome
    assert outcome.events[0] == event
    exception = outcome.events[1]
    assert isinstance(exception, ProcessorException)
    # What is on the stack is the exception's, as if the event had never been tried.
    registers = machine.registers
    frame = machine.words(registers.ss.descriptor.base + registers.esp, 4)
    assert frame[:3] == (exception.error_code, EIP, before[1].cs.selector)
    assert registers.eip == HANDLER + exception.vector
    return exception.vector, exception.error_code


def ext(event: Event) -> int:
    return int(event is EXTERNAL)


def delivered(machine: FakeMachine, event: Event) -> Outcome:
    outcome = deliver(machine, event)
    assert outcome == Outcome((event,), shutdown=False)
    return outcome
