"""The errors of the harness: one tree, each with the values that explain it."""

from __future__ import annotations

__all__ = [
    "BackendError",
    "BuildError",
    "ConformanceError",
    "ImageError",
    "InvalidArgument",
    "InvalidInput",
    "ProtocolError",
]


class ConformanceError(Exception):
    """Base of every error that this package raises on purpose.

    The message is one line: what was wrong, where, which value, what to do.
    """


class InvalidArgument(ConformanceError, ValueError):
    """A value handed to a function or an option is outside what it accepts."""


class InvalidInput(ConformanceError):
    """A file or text from outside (case, map, configuration, boot log) is malformed."""


class ImageError(ConformanceError):
    """A kernel image is missing, unreadable or lacks a symbol the harness needs."""


class BuildError(ConformanceError):
    """The kernel could not be built."""


class ProtocolError(ConformanceError):
    """kernel/protocol.toml contradicts itself."""


class BackendError(ConformanceError):
    """An engine could not be started, or a call came in the wrong state.

    Attributes:
        command: the full command line, as a tuple of words; empty where there was none.
        output: the last bytes the engine printed.
    """

    def __init__(self, message: str, *, command: tuple[str, ...] = (), output: bytes = b"") -> None:
        super().__init__(message)
        self.command = command
        self.output = output
