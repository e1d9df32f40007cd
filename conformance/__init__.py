"""A differential conformance test harness: one kernel image on several hardware backends.

The names here are the public interface for tests in other projects; see `differential`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conformance.case.case import Case
    from conformance.case.machine import Machine
    from conformance.case.memory_map import MemoryMap, Region, RegionType
    from conformance.case.program import (
        Allocate,
        AllocateRun,
        Control,
        Count,
        Dump,
        Exhaust,
        Free,
        FreeAddress,
        Interrupt,
        Invalidate,
        Map,
        Operation,
        Overflow,
        Probe,
        Program,
        Protect,
        Raise,
        ReadEntry,
        Reload,
        Rights,
        Segment,
        StackAllocate,
        StackFree,
        StackFreeAddress,
        TripleFault,
        Unmap,
        WriteEntry,
    )
    from conformance.case.strategies import (
        cases,
        fault_cases,
        guard_page_cases,
        machines,
        memory_maps,
        paging_programs,
        programs,
        regions,
        stack_programs,
    )
    from conformance.engine.runner import Result
    from conformance.pytest_plugin import differential

__all__ = [
    "Allocate",
    "AllocateRun",
    "Case",
    "Control",
    "Count",
    "Dump",
    "Exhaust",
    "Free",
    "FreeAddress",
    "Interrupt",
    "Invalidate",
    "Machine",
    "Map",
    "MemoryMap",
    "Operation",
    "Overflow",
    "Probe",
    "Program",
    "Protect",
    "Raise",
    "ReadEntry",
    "Region",
    "RegionType",
    "Reload",
    "Result",
    "Rights",
    "Segment",
    "StackAllocate",
    "StackFree",
    "StackFreeAddress",
    "TripleFault",
    "Unmap",
    "WriteEntry",
    "cases",
    "differential",
    "fault_cases",
    "guard_page_cases",
    "machines",
    "memory_maps",
    "paging_programs",
    "programs",
    "regions",
    "stack_programs",
]

_HOMES = {
    "case.case": ("Case",),
    "case.machine": ("Machine",),
    "case.memory_map": ("MemoryMap", "Region", "RegionType"),
    "case.program": (
        "Allocate",
        "AllocateRun",
        "Control",
        "Count",
        "Dump",
        "Exhaust",
        "Free",
        "FreeAddress",
        "Interrupt",
        "Invalidate",
        "Map",
        "Operation",
        "Overflow",
        "Probe",
        "Program",
        "Protect",
        "Raise",
        "ReadEntry",
        "Reload",
        "Rights",
        "Segment",
        "StackAllocate",
        "StackFree",
        "StackFreeAddress",
        "TripleFault",
        "Unmap",
        "WriteEntry",
    ),
    "case.strategies": (
        "cases",
        "fault_cases",
        "guard_page_cases",
        "machines",
        "memory_maps",
        "paging_programs",
        "programs",
        "regions",
        "stack_programs",
    ),
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
