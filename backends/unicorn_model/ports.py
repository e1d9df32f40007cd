"""The ports of the reference machine: only what the kernel uses."""

from __future__ import annotations

from typing import Protocol

__all__ = ["DebugPort", "Device", "Ports"]

_BELL = 0x04
_CONSOLE_LIMIT = 4096


class Device(Protocol):
    """Something behind one or more ports."""

    def read(self, port: int, size: int) -> int:
        """What `in` of `size` bytes gives."""

    def write(self, port: int, size: int, value: int) -> None:
        """What `out` of `size` bytes does."""


class DebugPort:
    """Port 0xE9: keeps the last bytes printed; the byte 0x04 rings (kernel/TRACE.md)."""

    PORT = 0xE9

    def __init__(self) -> None:
        self.console = bytearray()
        self.rang = False

    def read(self, port: int, size: int) -> int:
        """The port's own number, which is how guests find out that it is there."""
        return self.PORT

    def write(self, port: int, size: int, value: int) -> None:
        """Print a byte."""
        self.console.append(value & 0xFF)
        del self.console[:-_CONSOLE_LIMIT]
        self.rang = self.rang or value & 0xFF == _BELL


class Ports:
    """The port space; where no device is, reads give all ones and writes are lost."""

    def __init__(self, devices: dict[int, Device]) -> None:
        self._devices = devices

    def read(self, port: int, size: int) -> int:
        """`in`."""
        device = self._devices.get(port)
        return (1 << 8 * size) - 1 if device is None else device.read(port, size)

    def write(self, port: int, size: int, value: int) -> None:
        """`out`."""
        device = self._devices.get(port)
        if device is not None:
            device.write(port, size, value)
