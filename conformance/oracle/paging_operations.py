"""The operations that change or read paging-structure entries (kernel/TRACE.md)."""

from __future__ import annotations

from typing import Final

from conformance.case.operation import Rights
from conformance.case.paging_operations import (
    Invalidate,
    Map,
    Protect,
    ReadEntry,
    Unmap,
    WriteEntry,
)
from conformance.case.processor import Feature
from conformance.oracle import rules
from conformance.oracle.address_space import (
    ACCESSED,
    DIRTY,
    EXECUTE_DISABLE,
    LARGE,
    PRESENT,
    USER_MODE,
    WRITABLE,
    entry_address,
    initial_entry,
)
from conformance.oracle.setting import PAGE, Setting
from conformance.oracle.worlds import Performance, World
from conformance.protocol import PROTOCOL

__all__ = [
    "change_protection",
    "has_large_page",
    "invalidate",
    "map_page",
    "read_entry",
    "unmap_page",
    "write_entry",
]

_FRAMES: Final = PROTOCOL.constants["arena_frames"]
_GRANTED: Final = WRITABLE | USER_MODE | EXECUTE_DISABLE
_FLAGS: Final = 0xF7F  # without PS, and with the PAT flag of a PTE among the fixed ones
_UPPER: Final = (1 << 64) - (1 << 40)
_LEGACY_LARGE: Final = 1 << 21
_WIDE_LARGE: Final = (1 << 21) - (1 << 13)
_HUGE: Final = (1 << 30) - (1 << 13)


def map_page(performance: Performance, operation: Map) -> None:
    """`map`."""
    world = performance.world
    setting, address = world.setting, operation.address
    large, huge = Rights.LARGE_PAGE in operation.rights, Rights.HUGE_PAGE in operation.rights
    if not _can_give(setting, operation.rights) or (large and huge):
        return performance.reject("bad_value")
    if not setting.is_probeable(address):
        return performance.reject("bad_address")
    if operation.frame >= _FRAMES or ((large or huge) and operation.frame):
        return performance.reject("bad_frame")
    if (large or huge) and setting.offset_in_slot(address):
        return performance.reject("bad_address")
    if large and not (setting.wide or world.control.page_size_extensions):
        return performance.reject("no_feature")
    if huge and not setting.huge_pages:
        return performance.reject("no_feature")
    obstacle = _mapping_level(world, address)
    level = "pointer_table" if huge else "page_directory" if large else "page_table"
    if obstacle is not None and _is_at_or_above(obstacle, level):
        return performance.reject("already_mapped")
    value = 0 if huge else setting.arena + operation.frame * PAGE
    value |= _granted(operation.rights) | PRESENT | (LARGE if large or huge else 0)
    _write(world, level, address, value)
    return _changed(performance, address, operation.invalidate)


def unmap_page(performance: Performance, operation: Unmap) -> None:
    """`unmap`."""
    world, address = performance.world, operation.address
    if not world.setting.is_probeable(address):
        return performance.reject("bad_address")
    level = _mapping_level(world, address)
    if level is None:
        return performance.reject("not_mapped")
    # Of a large or a huge page, what is put back is the table; page tables are empty at start-up.
    table = initial_entry(world.setting, entry_address(world.setting, level, address))
    _write(world, level, address, table)
    return _changed(performance, address, operation.invalidate)


def change_protection(performance: Performance, operation: Protect) -> None:
    """`protect`."""
    world, address = performance.world, operation.address
    sizes = Rights.LARGE_PAGE | Rights.HUGE_PAGE
    if not _can_give(world.setting, operation.rights) or operation.rights & sizes:
        return performance.reject("bad_value")
    if not world.setting.is_probeable(address):
        return performance.reject("bad_address")
    level = _mapping_level(world, address)
    if level is None:
        return performance.reject("not_mapped")
    kept = _read(world, level, address) & ~_GRANTED
    _write(world, level, address, kept | _granted(operation.rights), ACCESSED | DIRTY)
    return _changed(performance, address, operation.invalidate)


def invalidate(performance: Performance, operation: Invalidate) -> None:
    """`invalidate`."""
    if not performance.world.setting.is_probeable(operation.address):
        return performance.reject("bad_address")
    return _changed(performance, operation.address, True)


def write_entry(performance: Performance, operation: WriteEntry) -> None:
    """`write_entry`."""
    world, level, address = performance.world, operation.level, operation.address
    if not world.setting.is_probeable(address):
        return performance.reject("bad_address")
    if not _has_level(world, level, address):
        return performance.reject("bad_level")
    old = _read(world, level, address)
    touched = operation.clear | operation.set
    if touched & ~_writable(world.setting, level, old):
        return performance.reject("bad_bits")
    _write(world, level, address, old & ~operation.clear | operation.set, ~touched)
    return _changed(performance, address, operation.invalidate)


def read_entry(performance: Performance, operation: ReadEntry) -> None:
    """`read_entry`: what was left open about the flags shows itself here."""
    world, level = performance.world, operation.level
    if not world.setting.is_probeable(operation.address):
        return performance.reject("bad_address")
    if not _has_level(world, level, operation.address):
        return performance.reject("bad_level")
    address = entry_address(world.setting, level, operation.address)
    seen = performance.witnessed("entry_read")
    for flag, rule in world.structures.open_flags(address):
        is_set = seen is not None and bool(seen.fields["value"] & flag)
        performance.settle(rule, is_set)
        world.structures.settle(address, flag, is_set)
    return performance.show(
        "entry_read",
        rules.PDPTE_ACCESSED if world.setting.pae and level == "pointer_table" else rules.FLAGS,
        level=PROTOCOL.code("paging_level", level),
        value=world.structures.read(address),
    )


def has_large_page(world: World) -> bool:
    """A PDE of the probe area has PS set, present or not. Only a slot's first one can."""
    slots = world.setting.slots
    return any(_read(world, "page_directory", start) & LARGE for start in slots)


def _can_give(setting: Setting, rights: Rights) -> bool:
    """Is there such a right? `Rights` has no other bits than the protocol's."""
    return Rights.NO_EXECUTE not in rights or (setting.wide and Feature.NX in setting.features)


def _granted(rights: Rights) -> int:
    return (
        (WRITABLE if Rights.WRITABLE in rights else 0)
        | (USER_MODE if Rights.USER in rights else 0)
        | (EXECUTE_DISABLE if Rights.NO_EXECUTE in rights else 0)
    )


def _read(world: World, level: str, address: int) -> int:
    return world.structures.read(entry_address(world.setting, level, address))


def _write(world: World, level: str, address: int, value: int, keep_open: int = 0) -> None:
    world.structures.write(entry_address(world.setting, level, address), value, keep_open)


def _mapping_level(world: World, address: int) -> str | None:
    """Where the entry is that maps the page at an address.

    Without CR4.PSE no present PDE has PS: see `control`.
    """
    large = PRESENT | LARGE
    if world.setting.huge_pages and _read(world, "pointer_table", address) & large == large:
        return "pointer_table"
    if _read(world, "page_directory", address) & large == large:
        return "page_directory"
    return "page_table" if _read(world, "page_table", address) & PRESENT else None


def _is_at_or_above(level: str, other: str) -> bool:
    return PROTOCOL.code("paging_level", level) >= PROTOCOL.code("paging_level", other)


def _has_level(world: World, level: str, address: int) -> bool:
    match level:
        case "root_table":
            return world.setting.long_mode
        case "pointer_table":
            return world.setting.wide
    # Below what maps a page there is nothing.
    mapping = _mapping_level(world, address)
    return mapping is None or _is_at_or_above(level, mapping)


def _writable(setting: Setting, level: str, entry: int) -> int:
    """The bits that programs may change."""
    bits = _FLAGS | _UPPER if setting.wide else _FLAGS
    match level:
        case "root_table":
            bits |= LARGE
        case "pointer_table" if not setting.huge_pages:
            bits |= LARGE
        case "pointer_table" if entry & LARGE:
            bits |= _HUGE
        case "page_directory" if entry & LARGE:
            bits |= _WIDE_LARGE if setting.wide else _LEGACY_LARGE
    return bits


def _changed(performance: Performance, address: int, invalidated: bool) -> None:
    if invalidated:
        performance.world.caches.invalidate_page(address)
    performance.show("changed")
