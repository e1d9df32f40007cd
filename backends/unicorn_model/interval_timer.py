"""The 8254 interval timer: counter 0, which is input 0 of the interrupt controller.

From Intel's data sheet of the 8254: modes 2 and 3, which repeat. Others are `NotModelled`. Counters
1 and 2 lead nowhere here: what is written to them is lost, and they read as all ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from backends.unicorn_model.faults import NotModelled

__all__ = ["IntervalTimer"]

_COMMAND = 0x43
_READ_BACK = 0b11
_LATCH, _LOW, _HIGH, _BOTH = range(4)
_RATE, _SQUARE = 2, 3
_COUNTER_0 = 0x02
_NO_COUNT, _NO_STATUS = 0x20, 0x10


@dataclass(frozen=True, slots=True)
class _Control:
    """A control word of counter 0."""

    access: int
    mode: int
    decimal: bool

    @classmethod
    def of(cls, value: int) -> _Control:
        mode = value >> 1 & 7
        # "Don't care bits": X10 is mode 2, X11 is mode 3.
        mode = mode & 3 if mode & 2 else mode
        if mode not in (_RATE, _SQUARE):
            raise NotModelled(f"8254: control word {value:#x}: mode {mode}")
        return cls(value >> 4 & 3, mode, bool(value & 1))


class IntervalTimer:
    """Counter 0, and the time of its own clock (1.193182 MHz on a PC), which `advance` moves."""

    PORTS = (0x40, 0x41, 0x42, 0x43)
    LINE = 0

    def __init__(self) -> None:
        self._control: _Control | None = None
        self._period = 0  # 0: it does not count
        self._next_period = 0
        self._elapsed = 0  # clocks of this period
        self._low: int | None = None  # of a count of two bytes, the first
        self._second_byte = False  # is read next
        self._latched: int | None = None
        self._status: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has been given a mode and a count."""
        return self._period > 0

    @property
    def clocks_to_edge(self) -> int:
        """Until the output goes high next; only while it runs.

        In mode 2 the output is low for the last clock of a period, in mode 3 for its second half.
        """
        return self._period - self._elapsed

    def advance(self, clocks: int) -> int:
        """Let time go by; answers how often the output has gone from low to high."""
        edges = 0
        while self._period and clocks:
            step = min(clocks, self.clocks_to_edge)
            clocks -= step
            self._elapsed += step
            if self._elapsed == self._period:
                # A new count is taken over at the end of a period. (In mode 3 a half would do.)
                self._period, self._elapsed = self._next_period, 0
                edges += 1
        return edges

    def read(self, port: int, size: int) -> int:
        """`in` of a byte."""
        self._require_byte(port, size)
        if port != self.PORTS[0] or self._control is None:
            return 0xFF
        if self._status is not None:
            status, self._status = self._status, None
            return status
        value = self._count() if self._latched is None else self._latched
        high = self._control.access == _HIGH
        if self._control.access == _BOTH:
            high = self._second_byte
            self._second_byte = not high
        if not self._second_byte:
            self._latched = None  # it was read, all of it
        return value >> 8 if high else value & 0xFF

    def write(self, port: int, size: int, value: int) -> None:
        """`out` of a byte.

        Raises:
            NotModelled: another mode.
        """
        self._require_byte(port, size)
        if port == _COMMAND:
            self._command(value)
        elif port == self.PORTS[0] and self._control is not None:
            self._take(value, self._control)

    def _command(self, value: int) -> None:
        counter, access = value >> 6, value >> 4 & 3
        if counter == _READ_BACK:
            if value & _COUNTER_0:
                self._read_back(value)
        elif counter == 0 and access == _LATCH:
            self._latch()
        elif counter == 0:
            # "All control words written to a counter reset" it: it waits for a count.
            self._control = _Control.of(value)
            self._period = self._next_period = self._elapsed = 0
            self._low = self._latched = self._status = None
            self._second_byte = False

    def _read_back(self, value: int) -> None:
        if not value & _NO_COUNT:
            self._latch()
        if not value & _NO_STATUS and self._status is None and self._control is not None:
            control = self._control
            pending = not self._period or self._next_period != self._period
            self._status = (
                self._is_high() << 7
                | pending << 6
                | control.access << 4
                | control.mode << 1
                | control.decimal
            )

    def _latch(self) -> None:
        """A second latch before the first was read is ignored."""
        if self._latched is None and self._control is not None:
            self._latched = self._count()

    def _take(self, value: int, control: _Control) -> None:
        """A byte of a count."""
        if control.access == _BOTH and self._low is None:
            self._low = value
            return
        low = value if control.access == _LOW else self._low or 0
        high = 0 if control.access == _LOW else value
        self._low = None
        count = self._from_digits(high << 8 | low, control)
        if count == 1:
            raise NotModelled(f"8254: a count of 1 in mode {control.mode}")
        self._next_period = count or (10_000 if control.decimal else 0x10000)
        if not self._period:
            self._period, self._elapsed = self._next_period, 0

    def _is_high(self) -> bool:
        if self._control is None or not self._period:
            return True
        if self._control.mode == _RATE:
            return self.clocks_to_edge > 1
        return self._elapsed < (self._period + 1) // 2

    def _count(self) -> int:
        """What the counter shows: 16 bits, a decimal digit in 4 of them if it counts so."""
        assert self._control is not None
        value = self._period - self._elapsed
        if self._control.mode == _SQUARE and self._period:
            # Down by two in each half; an odd count begins at one less, and its first half takes
            # one clock more.
            half = (self._period + 1) // 2
            into = self._elapsed if self._elapsed < half else self._elapsed - half
            value = (self._period & ~1) - 2 * into
        value &= 0xFFFF
        if not self._control.decimal:
            return value
        return int(f"{value % 10_000:04d}", 16)

    @staticmethod
    def _from_digits(value: int, control: _Control) -> int:
        if not control.decimal:
            return value
        digits = f"{value:04x}"
        if not digits.isdecimal():
            raise NotModelled(f"8254: {value:#x} is no decimal count")
        return int(digits)

    @staticmethod
    def _require_byte(port: int, size: int) -> None:
        if size != 1:
            raise NotModelled(f"port {port:#x}: {size} bytes of an 8254")
