"""The paging structures, as the kernel lays them out (kernel/TRACE.md, "Address space")."""

from __future__ import annotations

import functools
import struct
from typing import Final

from conformance.oracle.expectation import Rule
from conformance.oracle.setting import PAGE, PROBE, SLOT, STACK_SIZE, STACKS, USER, WINDOW, Setting
from conformance.protocol import PROTOCOL

__all__ = [
    "ACCESSED",
    "DIRTY",
    "EXECUTE_DISABLE",
    "LARGE",
    "PRESENT",
    "USER_MODE",
    "WRITABLE",
    "PagingStructures",
    "entry_address",
    "initial_entry",
]

PRESENT: Final = 1 << 0
WRITABLE: Final = 1 << 1
USER_MODE: Final = 1 << 2
ACCESSED: Final = 1 << 5
DIRTY: Final = 1 << 6
LARGE: Final = 1 << 7
EXECUTE_DISABLE: Final = 1 << 63

_SLOTS: Final = PROTOCOL.constants["probe_slots"]
_WINDOW_SIZE: Final = PROTOCOL.boot["kernel_window_size"]
_STACKS_SIZE: Final = PROTOCOL.constants["maximum_stacks"] * STACK_SIZE
_OPEN_TO_HARDWARE: Final = ACCESSED | DIRTY


class PagingStructures:
    """What the frames of `page_tables` hold, as it changes. Entries go by their physical address.

    A flag can be *open*: the processor was free to set it or not, and has not shown yet what it
    did. It reads as 0.

    Args:
        setting: decides how they begin.
    """

    __slots__ = ("_base", "_changed", "_entry", "_open", "_start")

    def __init__(self, setting: Setting) -> None:
        self._start = setting.tables[0]
        self._base = _initial(setting)
        self._entry = struct.Struct("<Q" if setting.pae else "<I")
        self._changed: dict[int, int] = {}
        self._open: dict[tuple[int, int], Rule] = {}

    def read(self, address: int) -> int:
        """The entry at a physical address."""
        value = self._changed.get(address)
        if value is None:
            (value,) = self._entry.unpack_from(self._base, address - self._start)
        return value

    def write(self, address: int, value: int, keep_open: int = 0) -> None:
        """Software writes an entry; of its flags, those of `keep_open` remain open if they are."""
        self._changed[address] = value
        for flag in (ACCESSED, DIRTY):
            if self._open and not flag & keep_open:
                self._open.pop((address, flag), None)

    def set(self, address: int, flag: int) -> None:
        """The processor sets a flag."""
        self._changed[address] = self.read(address) | flag
        self._open.pop((address, flag), None)

    def leave_open(self, address: int, flag: int, rule: Rule) -> None:
        """The processor may set a flag, by a rule."""
        if not self.read(address) & flag:
            self._open.setdefault((address, flag), rule)

    def open_flags(self, address: int) -> list[tuple[int, Rule]]:
        """The open flags of an entry, and what permits either value."""
        if not self._open:
            return []
        flags = ((flag, self._open.get((address, flag))) for flag in (ACCESSED, DIRTY))
        return [(flag, rule) for flag, rule in flags if rule is not None]

    def settle(self, address: int, flag: int, value: bool) -> None:
        """An open flag has been seen."""
        self._open.pop((address, flag), None)
        if value:
            self.set(address, flag)

    def copy(self) -> PagingStructures:
        """The same, to be changed by itself."""
        twin = object.__new__(PagingStructures)
        twin._start, twin._base, twin._entry = self._start, self._base, self._entry
        twin._changed, twin._open = self._changed.copy(), self._open.copy()
        return twin

    def key(self) -> tuple[object, ...]:
        """Equal exactly where the structures are."""
        return frozenset(self._changed.items()), frozenset(self._open)

    def content(self) -> bytes:
        """The bytes of the frames. Accessed and dirty flags are left out: nobody compares them."""
        patches = []
        for address, value in self._changed.items():
            offset = address - self._start
            (before,) = self._entry.unpack_from(self._base, offset)
            if (value ^ before) & ~_OPEN_TO_HARDWARE:
                patches.append((offset, value & ~_OPEN_TO_HARDWARE))
        if not patches:
            return self._base
        data = bytearray(self._base)
        for offset, value in patches:
            self._entry.pack_into(data, offset, value)
        return bytes(data)


def entry_address(setting: Setting, level: str, linear: int) -> int:
    """Physical address of the entry for a linear address, where it was at start-up."""
    start = setting.tables[0]
    if level == "pointer_table":
        return start + (linear >> 30) * 8
    if level == "page_directory":
        # With PAE paging the four directories follow one another: they are one of 2048 entries.
        return start + PAGE + (linear >> 21) * 8 if setting.pae else start + (linear >> 22) * 4
    for area, size, frame in _areas(setting):
        if area <= linear < area + size:
            return start + frame * PAGE + (linear - area) // PAGE * setting.entry_size
    raise AssertionError(f"{linear:#x} has no table")


def initial_entry(setting: Setting, address: int) -> int:
    """What an entry, by its physical address, was at start-up."""
    offset = address - setting.tables[0]
    return int.from_bytes(_initial(setting)[offset : offset + setting.entry_size], "little")


def _areas(setting: Setting) -> list[tuple[int, int, int]]:
    """Linear start, size, and number of the first frame of tables, of what is mapped."""
    frames = (5, 13, 17, 21) if setting.pae else (1, 5, 7, 9)
    window, stacks, probe, user = frames
    return [
        (WINDOW, _WINDOW_SIZE, window),
        (STACKS, _STACKS_SIZE, stacks),
        (PROBE, _SLOTS * SLOT, probe),
        (USER, 2 * PAGE, user),
    ]


def _initial(setting: Setting) -> bytes:
    start, end = setting.tables
    return _initial_tables(
        setting.pae,
        setting.no_execute,
        setting.stacks,
        start,
        end,
        (setting.task_stacks, setting.user_code, setting.user_stack),
        tuple(_areas(setting)),
    )


@functools.lru_cache(maxsize=64)
def _initial_tables(
    pae: bool,
    no_execute: bool,
    stacks: int,
    start: int,
    end: int,
    frames: tuple[int, int, int],
    areas: tuple[tuple[int, int, int], ...],
) -> bytes:
    task_stacks, user_code, user_stack = frames
    size = 8 if pae else 4
    data_only = EXECUTE_DISABLE if no_execute else 0
    kernel, user = PRESENT | WRITABLE, PRESENT | WRITABLE | USER_MODE
    entries: list[int] = [0] * ((end - start) // size)

    # Upper levels: the table for each stretch that one table maps.
    reach = PAGE * (PAGE // size)
    directory = PAGE // size if pae else 0
    if pae:
        for gib in range(4):
            entries[gib] = start + PAGE * (1 + gib) | PRESENT
    for area, length, frame in areas:
        flags = user if area in (PROBE, USER) else kernel
        for number in range(-(-length // reach)):
            entries[directory + area // reach + number] = start + PAGE * (frame + number) | flags

    # Lower levels, one page after the other from each area's start.
    tables = {area: frame * PAGE // size for area, _, frame in areas}
    for page in range(_WINDOW_SIZE // PAGE):
        entries[tables[WINDOW] + page] = page * PAGE | kernel
    for stack in range(stacks):
        guard = stack * STACK_SIZE
        page = (guard + PAGE) // PAGE
        entries[tables[STACKS] + page] = task_stacks + guard + PAGE | kernel | data_only
    entries[tables[USER]] = user_code | PRESENT | USER_MODE
    entries[tables[USER] + 1] = user_stack | user | data_only
    return struct.pack(f"<{len(entries)}{'Q' if pae else 'I'}", *entries).ljust(end - start, b"\0")
