"""The log that an engine writes while its guest runs, taken as it comes.

A guest can make an engine write without end: kept in a file, its log would take all memory before
the guest's deadline is over. So it is a pipe, of which whoever waits for the engine keeps what
matters and throws away the rest.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable

from backends.process import TAIL

__all__ = ["LOG_INTERVAL", "LogPipe", "WholeLines"]

LOG_INTERVAL = 0.03
"""Seconds after which a log has to be drained again: what a sound guest causes fits into a pipe."""

_CHUNK = 1 << 20  # bytes: what a pipe holds at most
_LONGEST_LINE = 1 << 12


class LogPipe:
    """A pipe that an engine opens by name, as its log file.

    Args:
        take: gets what the engine has written, in pieces that may end anywhere.
    """

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        # The writing end stays open here too, so that there is never an end of file to deal with.
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.reader, False)
        # The fewer interruptions of the engine the better; the system may not allow it.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, _CHUNK)
        self.tail = b""
        self._closed = False

    @property
    def path(self) -> str:
        """The file's name for a child that inherits `writer`."""
        return f"/proc/self/fd/{self.writer}"

    def drain(self) -> None:
        """Take what is there, up to what a pipe holds: its writer may be faster than its reader."""
        left = 0 if self._closed else _CHUNK
        while left > 0:
            try:
                data = os.read(self.reader, left)
            except BlockingIOError:
                return
            left -= len(data)
            self.tail = (self.tail + data[-TAIL:])[-TAIL:]
            self._take(data)

    def close(self) -> None:
        """Close it; from now on the engine's writing fails, and does not block. May come twice."""
        if not self._closed:
            self._closed = True
            os.close(self.reader)
            os.close(self.writer)


class WholeLines:
    """Cuts what comes in pieces at the ends of lines."""

    def __init__(self) -> None:
        self._rest = b""

    def __call__(self, data: bytes) -> bytes:
        """The lines that are whole by now, in one; a line without end is kept only in part."""
        whole, newline, rest = (self._rest + data).rpartition(b"\n")
        self._rest = rest[:_LONGEST_LINE]
        return whole + newline

    def clear(self) -> None:
        """Forget the beginning of a line."""
        self._rest = b""
