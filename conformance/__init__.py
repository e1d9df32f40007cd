"""A differential conformance test harness: one kernel image on several hardware backends.

The names here are the public interface for tests in other projects; see `differential`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conformance.case.case import Case
    from conformance.case.memory_map import MemoryMap, Region, RegionType
    from conformance.case.program import (
        Allocate,
        AllocateRun,
        Count,
        Dump,
        Exhaust,
        Free,
        FreeAddress,
        Program,
    )
    from conformance.case.strategies import cases, memory_maps, programs, regions
    from conformance.engine.runner import Result
    from conformance.pytest_plugin import differential

__all__ = [
    "Allocate",
    "AllocateRun",
    "Case",
    "Count",
    "Dump",
    "Exhaust",
    "Free",
    "FreeAddress",
    "MemoryMap",
    "Program",
    "Region",
    "RegionType",
    "Result",
    "cases",
    "differential",
    "memory_maps",
    "programs",
    "regions",
]

_HOMES = {
    "case.case": ("Case",),
    "case.memory_map": ("MemoryMap", "Region", "RegionType"),
    "case.program": (
        "Allocate",
        "AllocateRun",
        "Count",
        "Dump",
        "Exhaust",
        "Free",
        "FreeAddress",
        "Program",
    ),
    "case.strategies": ("cases", "memory_maps", "programs", "regions"),
    "engine.runner": ("Result",),
    "pytest_plugin": ("differential",),
}


def __getattr__(name: str) -> Any:
    # Imported when used: the worker of the reference model must not wait for Hypothesis.
    import importlib

    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
