"""From an event to the first instruction of its handler, or to shutdown (6.15, "Interrupt 8")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from backends.unicorn_model.delivery.descriptors import TASK_GATE
from backends.unicorn_model.delivery.flags import VM
from backends.unicorn_model.delivery.gates import call_handler, find_gate, return_address
from backends.unicorn_model.delivery.machine import Machine, NotModelled, PageFault
from backends.unicorn_model.delivery.tasks import enter_task
from backends.unicorn_model.delivery.transaction import Transaction
from backends.unicorn_model.delivery.vectors import (
    DF,
    PF,
    Combination,
    Event,
    Fault,
    ProcessorException,
    class_of,
    combine,
)

__all__ = ["Outcome", "deliver", "exception_of", "resolve"]

_CR0_PE = 1
_DOUBLE_FAULT = ProcessorException(DF, error_code=0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a delivery ended.

    Attributes:
        events: the event, and each that arose while the one before it was delivered; a double
            fault follows the two that made it.
        shutdown: the last one arose while a double fault was delivered. Otherwise the handler of
            the last one is about to run, and none of the others was delivered.
        return_address: the instruction pointer that was saved for the last one.
    """

    events: tuple[Event, ...]
    shutdown: bool
    return_address: int = field(default=0, compare=False)


def exception_of(fault: Fault | PageFault) -> ProcessorException:
    """The exception that a failed check or access raises."""
    if isinstance(fault, PageFault):
        return ProcessorException(PF, fault.error_code, fault.linear)
    return ProcessorException(fault.vector, fault.error_code)


def deliver(machine: Machine, event: Event) -> Outcome:
    """Deliver an event, and whatever its delivery gives rise to, as `resolve` has it.

    Raises:
        NotModelled: see the package.
    """
    registers = machine.registers
    if not registers.cr0 & _CR0_PE or registers.eflags & VM:
        raise NotModelled(
            f"CR0={registers.cr0:#x} EFLAGS={registers.eflags:#x}: not protected mode"
        )

    def set_cr2(linear: int) -> None:
        machine.registers = replace(machine.registers, cr2=linear)

    return resolve(
        event,
        lambda event: _attempt(machine, event),
        set_cr2,
        lambda event: return_address(event, machine.registers),
    )


def resolve(
    event: Event,
    attempt: Callable[[Event], None],
    set_cr2: Callable[[int], None],
    return_address: Callable[[Event], int],
) -> Outcome:
    """Deliver an event, and then what arises while it is delivered: the same in all modes.

    Events that are handled serially (table 6-5): the second is delivered; the first comes back by
    itself if it was a fault, since its instruction runs again. (An external interrupt that was
    acknowledged does not; what becomes of it is left to the caller, who sees it in `events`.)

    6.15, "Interrupt 14": CR2 gets the linear address of a page fault. Open: whether it does for a
    page fault that only makes a double fault or shutdown. Here it does.

    Args:
        event: the first.
        attempt: deliver one event; raises `Fault` or `PageFault` if that fails.
        set_cr2: the linear address of a page fault.
        return_address: what is saved for an event.
    """
    events = [event]
    while True:
        _tell(event, set_cr2)
        saved = return_address(event)
        try:
            attempt(event)
        except (Fault, PageFault) as fault:
            second = exception_of(fault)
        else:
            return Outcome(tuple(events), shutdown=False, return_address=saved)
        events.append(second)
        match combine(class_of(event), class_of(second)):
            case Combination.SHUTDOWN:
                _tell(second, set_cr2)
                return Outcome(tuple(events), shutdown=True, return_address=saved)
            case Combination.DOUBLE_FAULT:
                _tell(second, set_cr2)
                events.append(_DOUBLE_FAULT)
            case Combination.SERIAL if second == event:
                # Only #AC can: benign upon benign, for ever. The processor would never come back.
                raise NotModelled(f"{second}: its delivery raises it again, without end")
            case Combination.SERIAL:
                pass
        event = events[-1]


def _attempt(machine: Machine, event: Event) -> None:
    transaction = Transaction(machine)
    gate = find_gate(transaction, event)
    if gate.kind == TASK_GATE:
        enter_task(machine, event, gate.selector)
        return
    call_handler(transaction, event, gate)
    transaction.commit()


def _tell(event: Event, set_cr2: Callable[[int], None]) -> None:
    if isinstance(event, ProcessorException) and event.linear is not None:
        set_cr2(event.linear)
