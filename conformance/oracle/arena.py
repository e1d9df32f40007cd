"""The bytes of the arena, which probes read, write and execute (kernel/TRACE.md)."""

from __future__ import annotations

import functools
from typing import Final

from conformance.oracle.setting import ARENA_SIZE, PAGE

__all__ = ["RETURN", "Arena", "written"]

RETURN: Final = 0xC3
_PREFIXES: Final = (0x26, 0x2E, 0x36, 0x3E)
_WRITTEN: Final = bytes((*[0x2E] * 7, RETURN))


def written(size: int) -> bytes:
    """What a write of so many bytes writes."""
    return _WRITTEN[-size:]


@functools.cache
def _initial() -> bytes:
    frames = ARENA_SIZE // PAGE
    content = bytearray()
    for number in range(frames):
        frame = bytearray([RETURN]) * PAGE
        frame[4:8] = (_PREFIXES[number >> 2 * digit & 3] for digit in range(4))
        if number < frames - 1:
            frame[-3:] = _WRITTEN[:3]
        content += frame
    return bytes(content)


class Arena:
    """The arena's content, by offset from its start."""

    __slots__ = ("_changed",)

    def __init__(self) -> None:
        self._changed: dict[int, int] = {}

    def read(self, offset: int) -> int:
        """One byte."""
        initial = _initial()[offset]
        return self._changed.get(offset, initial) if self._changed else initial

    def write(self, offset: int, value: int) -> None:
        """One byte."""
        self._changed[offset] = value

    def copy(self) -> Arena:
        """The same, to be changed by itself."""
        twin = Arena()
        twin._changed = self._changed.copy()
        return twin

    def key(self) -> object:
        """Equal exactly where the content is."""
        initial = _initial()
        return frozenset(
            (offset, value) for offset, value in self._changed.items() if initial[offset] != value
        )

    def content(self) -> bytes:
        """All of it."""
        if not self._changed:
            return _initial()
        data = bytearray(_initial())
        for offset, value in self._changed.items():
            data[offset] = value
        return bytes(data)
