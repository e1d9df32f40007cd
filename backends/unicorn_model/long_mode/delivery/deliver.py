"""From an event to the first instruction of its handler, or to shutdown (6.14, 6.15)."""

from __future__ import annotations

from dataclasses import replace

from backends.unicorn_model.delivery.deliver import Outcome, resolve
from backends.unicorn_model.delivery.vectors import Event
from backends.unicorn_model.long_mode.delivery.gates import (
    call_handler,
    find_gate,
    return_address,
)
from backends.unicorn_model.long_mode.delivery.machine import Machine
from backends.unicorn_model.long_mode.delivery.transaction import Transaction

__all__ = ["deliver"]


def deliver(machine: Machine, event: Event) -> Outcome:
    """Deliver an event, and whatever its delivery gives rise to, as `resolve` has it.

    Raises:
        NotModelled: see the package.
    """

    def attempt(event: Event) -> None:
        transaction = Transaction(machine)
        call_handler(transaction, event, find_gate(transaction, event))
        transaction.commit()

    def set_cr2(linear: int) -> None:
        machine.registers = replace(machine.registers, cr2=linear)

    return resolve(event, attempt, set_cr2, lambda event: return_address(event, machine.registers))
