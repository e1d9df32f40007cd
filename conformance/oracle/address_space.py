"""The paging structures, as the kernel lays them out (kernel/TRACE.md, "Address space")."""

from __future__ import annotations

import functools
import struct
from typing import Final

from conformance.oracle.expectation import Rule
from conformance.oracle.setting import PAGE, STACK_SIZE, Setting
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

_WINDOW_SIZE: Final = PROTOCOL.boot["kernel_window_size"]
_STACKS_SIZE: Final = PROTOCOL.constants["maximum_stacks"] * STACK_SIZE
_PHYSICAL_MAP: Final = PROTOCOL.images["x86_64"].area["physical_map"]
_OPEN_TO_HARDWARE: Final = ACCESSED | DIRTY
_TABLES: Final = {"legacy": (1, 5, 7, 9), "pae": (5, 13, 17, 21), "4-level": (10, 18, 22, 24)}
"""By paging mode: the first frame of the tables of window, stacks, probe area and user area."""
_MAP_POINTERS: Final = 3
_MAP_DIRECTORY: Final = 9
"""With 4-level paging: the frames of the upper structures of the physical map."""


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
        self._entry = struct.Struct("<Q" if setting.wide else "<I")
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
    if level != "page_table":
        frame, index = _UPPER_LEVELS[setting.paging](setting, level, linear)
        return start + frame * PAGE + index * setting.entry_size
    for area, size, frame in _areas(setting):
        if area <= linear < area + size:
            return start + frame * PAGE + (linear - area) // PAGE * setting.entry_size
    raise AssertionError(f"{linear:#x} has no table")


def _legacy(_: Setting, __: str, linear: int) -> tuple[int, int]:
    """Frame of the structure at a level above the page tables, and number of the entry in it."""
    return 0, linear >> 22


def _pae(_: Setting, level: str, linear: int) -> tuple[int, int]:
    if level == "pointer_table":
        return 0, linear >> 30
    return 1 + (linear >> 30), linear >> 21 & 0x1FF


def _four_level(setting: Setting, level: str, linear: int) -> tuple[int, int]:
    if level == "root_table":
        return 0, linear >> 39 & 0x1FF
    if linear >> 47:
        pointers, directory = 2, 8
    elif linear >= setting.user_area:
        pointers, directory = 4, 7
    else:
        pointers, directory = 1, 5 + (linear - setting.probe_area) // setting.slot_size
    if level == "pointer_table":
        return pointers, linear >> 30 & 0x1FF
    return directory, linear >> 21 & 0x1FF


_UPPER_LEVELS: Final = {"legacy": _legacy, "pae": _pae, "4-level": _four_level}


def initial_entry(setting: Setting, address: int) -> int:
    """What an entry, by its physical address, was at start-up."""
    offset = address - setting.tables[0]
    return int.from_bytes(_initial(setting)[offset : offset + setting.entry_size], "little")


def _areas(setting: Setting) -> list[tuple[int, int, int]]:
    """Linear start, size, and number of the first frame of tables, of what is mapped."""
    window, stacks, probe, user = _TABLES[setting.paging]
    reach = _table_reach(setting)
    # With 4-level paging only the beginning of a slot has a table.
    tables = 1 if setting.long_mode else setting.slot_size // reach
    return [
        (setting.window, _WINDOW_SIZE, window),
        (setting.stack_area, _STACKS_SIZE, stacks),
        *(
            (slot, tables * reach, probe + number * tables)
            for number, slot in enumerate(setting.slots)
        ),
        (setting.user_area, 2 * PAGE, user),
    ]


def _table_reach(setting: Setting) -> int:
    """Bytes that one page table maps."""
    return PAGE * (PAGE // setting.entry_size)


@functools.lru_cache(maxsize=64)
def _initial(setting: Setting) -> bytes:
    start, end = setting.tables
    size = setting.entry_size
    data_only = EXECUTE_DISABLE if setting.no_execute else 0
    kernel, user = PRESENT | WRITABLE, PRESENT | WRITABLE | USER_MODE
    content = bytearray(end - start)

    def put(address: int, value: int) -> None:
        content[address - start : address - start + size] = value.to_bytes(size, "little")

    def put_structure(level: str, linear: int, frame: int, flags: int) -> None:
        put(entry_address(setting, level, linear), start + PAGE * frame | flags)

    # Upper levels: the table for each stretch that one table maps.
    reach = _table_reach(setting)
    ring3_areas = (*setting.slots, setting.user_area)
    for area, length, frame in _areas(setting):
        flags = user if area in ring3_areas else kernel
        for number in range(-(-length // reach)):
            put_structure("page_directory", area + number * reach, frame + number, flags)
    if setting.pae:
        for gib in range(4):
            put_structure("pointer_table", gib << 30, 1 + gib, PRESENT)
    elif setting.wide:
        upper = [(area, user) for area in ring3_areas] + [(setting.window, kernel)]
        for linear, flags in upper:
            directory, _ = _four_level(setting, "page_directory", linear)
            pointers, _ = _four_level(setting, "pointer_table", linear)
            put_structure("pointer_table", linear, directory, flags)
            put_structure("root_table", linear, pointers, flags)
        # The physical map: its own upper levels over the window's tables, without execution.
        put_structure("root_table", _PHYSICAL_MAP, _MAP_POINTERS, kernel | data_only)
        put(start + _MAP_POINTERS * PAGE, start + _MAP_DIRECTORY * PAGE | kernel)
        first = _TABLES[setting.paging][0]
        for number in range(_WINDOW_SIZE // reach):
            table = start + (first + number) * PAGE
            put(start + _MAP_DIRECTORY * PAGE + number * 8, table | kernel)

    # Lower levels, one page after the other from each area's start.
    window, stacks, ring3 = (
        entry_address(setting, "page_table", area)
        for area in (setting.window, setting.stack_area, setting.user_area)
    )
    for page in range(_WINDOW_SIZE // PAGE):
        put(window + page * size, page * PAGE | kernel)
    for stack in range(setting.stacks):
        offset = stack * STACK_SIZE + PAGE
        put(stacks + offset // PAGE * size, setting.task_stacks + offset | kernel | data_only)
    put(ring3, setting.user_code | PRESENT | USER_MODE)
    put(ring3 + size, setting.user_stack | user | data_only)
    return bytes(content)
