"""The model's own record of the exceptions that it delivered."""

from __future__ import annotations

from backends.unicorn_model.delivery.deliver import Outcome
from backends.unicorn_model.delivery.vectors import (
    EXCEPTIONS,
    ProcessorException,
    error_code_of,
)
from conformance.observe.observation import MachineFault

__all__ = ["FaultRecord"]

_MOST = 4096


class FaultRecord:
    """The exceptions whose handlers were entered, software interrupts with their vectors included.

    A guest that faults for ever does not make it grow for ever: a record that would have to be
    incomplete is none.
    """

    def __init__(self) -> None:
        self._faults: list[MachineFault] | None = []

    def add(self, outcome: Outcome) -> None:
        """Record a delivery that came to a handler."""
        event = outcome.events[-1]
        if self._faults is None or event.vector >= len(EXCEPTIONS):
            return
        if len(self._faults) == _MOST:
            self._faults = None
            return
        linear = event.linear if isinstance(event, ProcessorException) else None
        self._faults.append(
            MachineFault(event.vector, error_code_of(event), linear, outcome.return_address)
        )

    @property
    def faults(self) -> tuple[MachineFault, ...] | None:
        """In their order; None if they were too many to keep."""
        return None if self._faults is None else tuple(self._faults)
