"""Reduction: a case that is known, made smaller piece by piece.

Hypothesis shrinks what it has generated itself. A case from a file has no such history, and is
reduced here: regions and operations are left out, in ever smaller pieces, and what remains is made
simpler, for as long as the cause stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from conformance.case.case import Case
from conformance.case.machine import Machine, every_machine
from conformance.case.memory_map import MemoryMap
from conformance.case.program import Operation, Program
from conformance.engine.simplify import lower, pages_moved, simpler_operations

__all__ = ["reduce_case", "without_operations"]

_T = TypeVar("_T")


def reduce_case(case: Case, still_fails: Callable[[Case], bool]) -> Case:
    """The smallest case that leaving things out leads to.

    Args:
        case: for which `still_fails` is true.
        still_fails: the case has the same cause.
    """
    changed = True
    while changed:
        changed = False
        for smaller in _smaller(case):
            if still_fails(smaller):
                case, changed = smaller, True
                break
    return case


def without_operations(program: Program, start: int, end: int) -> Program:
    """The program without operations [start, end), and without each one that refers to them."""
    numbers: dict[int, int] = {}
    kept: list[Operation] = []
    for number, operation in enumerate(program.operations):
        if start <= number < end:
            continue
        earlier = getattr(operation, "operation", number)
        if earlier < number:
            if earlier not in numbers:
                continue
            changes: dict[str, Any] = {"operation": numbers[earlier]}
            operation = replace(operation, **changes)
        numbers[number] = len(kept)
        kept.append(operation)
    return replace(program, operations=tuple(kept))


def _smaller(case: Case) -> Iterator[Case]:
    """Smaller cases, the smallest first: less of everything, then simpler values."""
    if case.memory_map is not None:
        if case.memory_map.cut:
            yield replace(case, memory_map=replace(case.memory_map, cut=0))
        for regions in _shorter(case.memory_map.regions):
            yield replace(case, memory_map=MemoryMap(regions))
    for start, end in _pieces(len(case.program.operations)):
        yield replace(case, program=without_operations(case.program, start, end))
    for names in _shorter(case.state_regions):
        yield replace(case, state_regions=names)
    for machine in _simpler_machines(case.machine):
        yield replace(case, machine=machine)
    for stacks in lower(case.program.stacks):
        yield replace(case, program=replace(case.program, stacks=stacks))
    for operations in pages_moved(case.program.operations):
        yield replace(case, program=replace(case.program, operations=operations))
    for index, operation in enumerate(case.program.operations):
        for simpler in simpler_operations(operation):
            operations = (
                *case.program.operations[:index],
                simpler,
                *case.program.operations[index + 1 :],
            )
            yield replace(case, program=replace(case.program, operations=operations))


def _simpler_machines(machine: Machine) -> Iterator[Machine]:
    """Machines for the same image."""
    known = every_machine(machine.architecture)
    pagings = list(dict.fromkeys(each.paging for each in known))
    for paging in pagings[: pagings.index(machine.paging)]:
        yield replace(machine, paging=paging)
    profiles = list(dict.fromkeys(each.cpu_profile for each in known))
    for cpu_profile in profiles[: profiles.index(machine.cpu_profile)]:
        yield replace(machine, cpu_profile=cpu_profile)
    smallest = Machine().ram_mib
    if machine.ram_mib > smallest:
        yield replace(machine, ram_mib=smallest)


def _shorter(values: tuple[_T, ...]) -> Iterator[tuple[_T, ...]]:
    for start, end in _pieces(len(values)):
        yield values[:start] + values[end:]


def _pieces(length: int) -> Iterator[tuple[int, int]]:
    """Ranges of a sequence to leave out: all of it, its halves, quarters, …, single items."""
    size = length
    while size:
        for start in range(0, length, size):
            yield start, min(start + size, length)
        size //= 2
