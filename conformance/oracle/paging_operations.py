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
from conformance.oracle.setting import PAGE, SLOT, Setting
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
_SLOTS: Final = PROTOCOL.constants["probe_slots"]
_GRANTED: Final = WRITABLE | USER_MODE | EXECUTE_DISABLE
_FLAGS: Final = 0xF7F  # without PS, and with the PAT flag of a PTE among the fixed ones
_UPPER: Final = (1 << 64) - (1 << 40)
_LEGACY_LARGE: Final = 1 << 21
_PAE_LARGE: Final = (1 << 21) - (1 << 13)
_POINTER: Final = 0xFFF | _UPPER


def map_page(performance: Performance, operation: Map) -> None:
    """`map`."""
    world = performance.world
    setting, address = world.setting, operation.address
    large = Rights.LARGE_PAGE in operation.rights
    if not _can_give(setting, operation.rights):
        return performance.reject("bad_value")
    if not setting.is_probeable(address):
        return performance.reject("bad_address")
    if operation.frame >= _FRAMES or (large and operation.frame):
        return performance.reject("bad_frame")
    if large and address % SLOT:
        return performance.reject("bad_address")
    if large and not (setting.wide or world.control.page_size_extensions):
        return performance.reject("no_feature")
    if _is_large(world, address) or (not large and _is_mapped(world, address)):
        return performance.reject("already_mapped")
    value = setting.arena + operation.frame * PAGE | _granted(operation.rights) | PRESENT
    if large:
        _write(world, "page_directory", address, value | LARGE)
    else:
        _write(world, "page_table", address, value)
    return _changed(performance, address, operation.invalidate)


def unmap_page(performance: Performance, operation: Unmap) -> None:
    """`unmap`."""
    world, address = performance.world, operation.address
    if not world.setting.is_probeable(address):
        return performance.reject("bad_address")
    if _is_large(world, address):
        table = initial_entry(
            world.setting, entry_address(world.setting, "page_directory", address)
        )
        _write(world, "page_directory", address, table)
    elif _is_mapped(world, address):
        _write(world, "page_table", address, 0)
    else:
        return performance.reject("not_mapped")
    return _changed(performance, address, operation.invalidate)


def change_protection(performance: Performance, operation: Protect) -> None:
    """`protect`."""
    world, address = performance.world, operation.address
    if not _can_give(world.setting, operation.rights) or Rights.LARGE_PAGE in operation.rights:
        return performance.reject("bad_value")
    if not world.setting.is_probeable(address):
        return performance.reject("bad_address")
    if _is_large(world, address):
        level = "page_directory"
    elif _is_mapped(world, address):
        level = "page_table"
    else:
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
        rules.PDPTE_ACCESSED if level == "pointer_table" else rules.FLAGS,
        level=PROTOCOL.code("paging_level", level),
        value=world.structures.read(address),
    )


def has_large_page(world: World) -> bool:
    """A PDE of the probe area has PS set, present or not. Only a slot's first one can."""
    starts = (PROTOCOL.area["probe"] + slot * SLOT for slot in range(_SLOTS))
    return any(_read(world, "page_directory", start) & LARGE for start in starts)


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


def _is_large(world: World, address: int) -> bool:
    """A present PDE with PS. Without CR4.PSE there is none: see `control`."""
    large = PRESENT | LARGE
    return _read(world, "page_directory", address) & large == large


def _is_mapped(world: World, address: int) -> bool:
    return bool(_read(world, "page_table", address) & PRESENT)


def _has_level(world: World, level: str, address: int) -> bool:
    if level == "page_table":
        return not _is_large(world, address)
    return level == "page_directory" or world.setting.pae


def _writable(setting: Setting, level: str, entry: int) -> int:
    """The bits that programs may change."""
    if level == "pointer_table":
        return _POINTER
    bits = _FLAGS | _UPPER if setting.wide else _FLAGS
    if level == "page_directory" and entry & LARGE:
        bits |= _PAE_LARGE if setting.wide else _LEGACY_LARGE
    return bits


def _changed(performance: Performance, address: int, invalidated: bool) -> None:
    if invalidated:
        performance.world.caches.invalidate_page(address)
    performance.show("changed")
