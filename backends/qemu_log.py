r"""QEMU's own record of exceptions: what `-d int` logs, read as faults.

TCG logs each *attempt* to deliver an interrupt or exception, in protected mode:

    check_exception old: 0xffffffff new 0xe
         3: v=0e e=0002 i=0 cpl=0 IP=0008:c0101234 pc=c0101234 SP=0010:c0105ed0 CR2=00b00123
    EAX=...

`i=1` is a software interrupt, and its IP that of the instruction; otherwise IP is the instruction
pointer that is saved. An attempt may fail, and then leads to the next one: its handler was not
entered. `check_exception old:` names the one that failed, but only where it counts for a double
fault (contributory ones, page faults, double faults; SDM vol. 3, table 6-5). After others, the next
exception tells it by coming from the very same place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from backends.log_pipe import WholeLines
from backends.vectors import DELIVERY_FAULTS, NOT_BENIGN, PAGE_FAULT, RECORDED, error_code_of
from conformance.observe.observation import ControlRegisters, MachineFault

__all__ = ["QemuLog", "control_registers"]

_LIMIT = 4096
"""Attempts that are kept of one run: a record that would have to be incomplete is none."""

_LINE = re.compile(
    rb"^(?: *\d+: v=(?P<vector>[0-9a-f]{2,8}) e=(?P<error>[0-9a-f]{4,8}) i=(?P<software>[01])"
    rb" cpl=[0-3] IP=(?P<place>[0-9a-f]{4}:[0-9a-f]{8,16}) pc=(?P<linear>[0-9a-f]{8,16})"
    rb" SP=(?P<stack>[0-9a-f]{4}:[0-9a-f]{8,16}) (?:CR2=(?P<cr2>[0-9a-f]{8,16})|env->)"
    rb"|check_exception old: 0x(?P<old>[0-9a-f]{1,8}) "
    rb"|Servicing hardware INT=)",
    re.MULTILINE,
)
_REGISTER = re.compile(r"\b(CR0|CR2|CR3|CR4|EFER)=([0-9a-f]{8,16})\b")
_NOTHING = 0xFFFFFFFF

_INT, _INT3, _INTO = 0xCD, 0xCC, 0xCE


@dataclass(slots=True)
class _Attempt:
    """One attempt to deliver; `failed` where it led to another exception."""

    vector: int
    error_code: int
    software: bool
    hardware: bool
    place: tuple[bytes, bytes]
    linear: int
    cr2: int | None
    failed: bool = False

    def leads_to(self, other: _Attempt) -> bool:
        """Whether the other one, which came next, is an exception during this one's delivery.

        Only asked of what `check_exception` does not name: an instruction that faults again and
        again with one exception looks just the same. Of the others it could also be that this one's
        handler has returned to the very instruction that was interrupted, and that it faults in
        another way: no handler here does that.
        """
        if not (self.software or self.hardware) and self.vector in NOT_BENIGN:
            return False
        return not other.software and other.vector in DELIVERY_FAULTS and other.place == self.place


class QemuLog:
    """The record of one run at a time.

    Args:
        code: reads guest memory at a linear address, or says b"" where it can not: the length of a
            software interrupt's instruction is not in the log.
    """

    def __init__(self, code: Callable[[int, int], bytes]) -> None:
        self._code = code
        self._lines = WholeLines()
        self._attempts: list[_Attempt] = []
        self._full = False
        self._hardware = False

    def clear(self) -> None:
        """Forget everything: another run begins."""
        self._lines.clear()
        self._attempts = []
        self._full = False
        self._hardware = False

    def feed(self, data: bytes) -> None:
        """Read on; what comes in pieces may be cut anywhere."""
        if self._full:
            return
        for match in _LINE.finditer(self._lines(data)):
            if match["vector"]:
                self._full = not self._attempt(match)
                if self._full:
                    return
            elif match["old"]:
                if int(match["old"], 16) != _NOTHING and self._attempts:
                    self._attempts[-1].failed = True
            else:
                self._hardware = True

    def _attempt(self, match: re.Match[bytes]) -> bool:
        """Take an attempt; whether there was room for it."""
        attempt = _Attempt(
            vector=int(match["vector"], 16),
            error_code=int(match["error"], 16),
            software=match["software"] == b"1",
            hardware=self._hardware,
            place=(match["place"], match["stack"]),
            linear=int(match["linear"], 16),
            cr2=int(match["cr2"], 16) if match["cr2"] else None,
        )
        self._hardware = False
        if self._attempts and self._attempts[-1].leads_to(attempt):
            self._attempts[-1].failed = True
        if len(self._attempts) == _LIMIT:
            return False
        self._attempts.append(attempt)
        return True

    def faults(self) -> tuple[MachineFault, ...] | None:
        """The exceptions whose handler was entered, so far; None if they were too many to keep."""
        if self._full:
            return None
        return tuple(
            self._fault(attempt)
            for attempt in self._attempts
            if attempt.vector in RECORDED and not attempt.failed and not attempt.hardware
        )

    def _fault(self, attempt: _Attempt) -> MachineFault:
        eip = int(attempt.place[0].partition(b":")[2], 16)
        if attempt.software:
            length = self._length(attempt)
            return MachineFault(attempt.vector, eip=eip + length if length else None)
        return MachineFault(
            attempt.vector,
            error_code_of(attempt.vector, attempt.error_code),
            attempt.cr2 if attempt.vector == PAGE_FAULT else None,
            eip,
        )

    def _length(self, attempt: _Attempt) -> int:
        """The length of the instruction behind a software interrupt, or 0."""
        code = self._code(attempt.linear, 2)
        if code == bytes([_INT, attempt.vector]):
            return 2
        return 1 if code[:1] in (bytes([_INT3]), bytes([_INTO])) else 0


def control_registers(text: str) -> ControlRegisters | None:
    """The control registers in what the monitor's `info registers` says; None if they are not."""
    found = {name.lower(): int(value, 16) for name, value in _REGISTER.findall(text)}
    if not {"cr0", "cr2", "cr3", "cr4"} <= found.keys():
        return None
    return ControlRegisters(**found)
