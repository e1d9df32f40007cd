r"""Bochs' own record of exceptions: what its processor logs for debugging, read as faults.

With `debug: action=ignore, cpu0=report` the processor logs, each line with the time in
instructions:

    00000721753d[CPU0  ] page fault for address 0000000000b00123 @ 000000000080019c
    00000721753d[CPU0  ] exception(0x0e): error_code=0002
    00000721753d[CPU0  ] interrupt(): vector = 0e, TYPE = 3, EXT = 1

The last line is an *attempt* to deliver. An attempt may fail, and then leads to an exception at the
same time: no instruction of a handler has been executed. The saved instruction pointer is nowhere
in the log (the `@` of a page fault is where the processor had got to, often past the instruction).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from backends.log_pipe import WholeLines
from backends.vectors import PAGE_FAULT, RECORDED, error_code_of
from conformance.observe.observation import MachineFault

__all__ = ["BochsLog"]

_LIMIT = 4096
"""Attempts that are kept of one run: a record that would have to be incomplete is none."""

_LINE = re.compile(
    rb"^(?P<time>\d{1,20})d\[CPU0 *\] (?:"
    rb"page fault for address (?P<cr2>[0-9a-f]{16}) @"
    rb"|exception\(0x(?P<exception>[0-9a-f]{2})\): error_code=(?P<error>[0-9a-f]{4,8})"
    rb"|interrupt\(\): vector = (?P<vector>[0-9a-f]{2}), TYPE = (?P<type>\d), EXT = [01])",
    re.MULTILINE,
)
_EXTERNAL, _HARDWARE = 0, 3  # TYPE: of an interrupt from a device, of an exception


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One attempt to deliver, and when."""

    time: int
    type: int
    fault: MachineFault


class BochsLog:
    """The record of one run at a time."""

    def __init__(self) -> None:
        self._lines = WholeLines()
        self._attempts: list[_Attempt] = []
        self._full = False
        # Of the exception that an attempt to deliver will come of.
        self._cr2: int | None = None
        self._error_code: int | None = None

    def clear(self) -> None:
        """Forget everything: another run begins."""
        self._lines.clear()
        self._attempts = []
        self._full = False
        self._cr2 = self._error_code = None

    def feed(self, data: bytes) -> None:
        """Read on; what comes in pieces may be cut anywhere."""
        if self._full:
            return
        for match in _LINE.finditer(self._lines(data)):
            time = int(match["time"])
            if match["cr2"]:
                self._cr2 = int(match["cr2"], 16)
                continue
            if self._attempts and self._attempts[-1].time == time:
                self._attempts.pop()
            if match["exception"]:
                self._error_code = int(match["error"], 16)
            elif len(self._attempts) < _LIMIT:
                self._attempts.append(self._attempt(time, match))
            else:
                self._full = True
                return

    def _attempt(self, time: int, match: re.Match[bytes]) -> _Attempt:
        vector, kind = int(match["vector"], 16), int(match["type"])
        error_code, cr2 = self._error_code, self._cr2
        self._cr2 = self._error_code = None
        if kind != _HARDWARE or error_code is None:
            return _Attempt(time, kind, MachineFault(vector))
        return _Attempt(
            time,
            kind,
            MachineFault(
                vector,
                error_code_of(vector, error_code),
                cr2 if vector == PAGE_FAULT else None,
            ),
        )

    def faults(self) -> tuple[MachineFault, ...] | None:
        """The exceptions whose handler was entered, so far; None if they were too many to keep."""
        if self._full:
            return None
        return tuple(
            attempt.fault
            for attempt in self._attempts
            if attempt.fault.vector in RECORDED and attempt.type != _EXTERNAL
        )
