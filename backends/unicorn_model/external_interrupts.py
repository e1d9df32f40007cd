"""External interrupts, and the time that goes by for the timer that asks for them.

Time is counted in blocks of instructions, so that a case always runs the same way. It goes by only
while it can make a difference: from when the guest has started the timer and unmasked its input.
"""

from __future__ import annotations

from backends.unicorn_model.interrupt_controller import ControllerPair
from backends.unicorn_model.interval_timer import IntervalTimer

__all__ = ["ExternalInterrupts"]

_CLOCKS_PER_BLOCK = 2
"""Clocks of the timer: a tick of the kernel's is some hundreds of blocks, which is long enough for
its handler, and short enough to come often."""


class ExternalInterrupts:
    """The interrupt controllers and the timer.

    It is the device at all of their ports.

    Attributes:
        used: one of them was written to.
    """

    PORTS = ControllerPair.PORTS + IntervalTimer.PORTS

    def __init__(self) -> None:
        self._controllers = ControllerPair()
        self._timer = IntervalTimer()
        self._noticed = (False, False, False)
        self.used = False

    def read(self, port: int, size: int) -> int:
        """`in`: what the timer shows of its count is as of the last stop."""
        return self._at(port).read(port, size)

    def write(self, port: int, size: int, value: int) -> None:
        """`out`."""
        self.used = True
        self._at(port).write(port, size, value)

    def has_changed(self) -> bool:
        """Since it was asked last: whether what a run goes by has."""
        before = self._noticed
        self._noticed = (self.used, self.blocks > 0, self.pending)
        return self._noticed != before

    @property
    def blocks(self) -> int:
        """How many may be executed until the timer asks for an interrupt; 0 if it never will."""
        if not (self._timer.is_running and self._controllers.can_interrupt(IntervalTimer.LINE)):
            return 0
        return -(-self._timer.clocks_to_edge // _CLOCKS_PER_BLOCK)

    @property
    def pending(self) -> bool:
        """Whether the processor is asked to take an interrupt."""
        return self._controllers.pending

    def executed(self, blocks: int) -> None:
        """Let the time of some blocks go by."""
        if self.blocks:
            self._advance(blocks * _CLOCKS_PER_BLOCK)

    def wait(self) -> bool:
        """HLT: let time go by until an interrupt is asked for; answers whether one ever is."""
        if not self.pending and self.blocks:
            self._advance(self._timer.clocks_to_edge)
        return self.pending

    def acknowledge(self) -> int:
        """The processor takes the interrupt: its vector."""
        return self._controllers.acknowledge()

    def _advance(self, clocks: int) -> None:
        if self._timer.advance(clocks):
            self._controllers.request(IntervalTimer.LINE)

    def _at(self, port: int) -> ControllerPair | IntervalTimer:
        return self._timer if port in IntervalTimer.PORTS else self._controllers
