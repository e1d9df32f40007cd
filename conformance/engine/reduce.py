"""Reduction: a case that is known, made smaller piece by piece.

Hypothesis shrinks what it has generated itself. A case from a file has no such history, and is
reduced here: regions and operations are left out, in ever smaller pieces, and what remains is made
simpler, for as long as the cause stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeVar

from conformance.case.case import Case
from conformance.case.machine import Machine, every_machine
from conformance.case.memory_map import MemoryMap
from conformance.case.program import SCHEDULES, Body, Operation, Program, Spawn
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
    """The program without operations [start, end), and without each one that refers to them.

    What came after a `Body` that goes becomes part of the list before it; who spawned a task with
    that body goes as well.
    """
    markers = _markers(program)
    bodies = [body for body, marker in enumerate(markers) if not start <= marker < end]
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
        if isinstance(operation, Spawn) and operation.body < len(markers):
            if operation.body not in bodies:
                continue
            operation = replace(operation, body=bodies.index(operation.body))
        numbers[number] = len(kept)
        kept.append(operation)
    return replace(program, operations=tuple(kept))


def _markers(program: Program) -> list[int]:
    """The numbers of the operations at which a body begins."""
    return [index for index, one in enumerate(program.operations) if isinstance(one, Body)]


def _smaller(case: Case) -> Iterator[Case]:
    """Smaller cases, the smallest first: less of everything, then simpler values."""
    if case.memory_map is not None:
        if case.memory_map.cut:
            yield replace(case, memory_map=replace(case.memory_map, cut=0))
        for regions in _shorter(case.memory_map.regions):
            yield replace(case, memory_map=MemoryMap(regions))
    markers = _markers(case.program)
    for start, end in pairwise((*markers, len(case.program.operations))):
        yield replace(case, program=without_operations(case.program, start, end))
    for start, end in _pieces(len(case.program.operations)):
        yield replace(case, program=without_operations(case.program, start, end))
    for names in _shorter(case.state_regions):
        yield replace(case, state_regions=names)
    for machine in _simpler_machines(case.machine):
        yield replace(case, machine=machine)
    for program in _simpler_schedules(case.program):
        yield replace(case, program=program)
    for stacks in lower(case.program.stacks):
        yield replace(case, program=replace(case.program, stacks=stacks))
    architecture = case.machine.architecture
    for operations in pages_moved(case.program.operations, architecture):
        yield replace(case, program=replace(case.program, operations=operations))
    for index, operation in enumerate(case.program.operations):
        for simpler in simpler_operations(operation, architecture):
            operations = (
                *case.program.operations[:index],
                simpler,
                *case.program.operations[index + 1 :],
            )
            yield replace(case, program=replace(case.program, operations=operations))


def _simpler_schedules(program: Program) -> Iterator[Program]:
    for schedule in SCHEDULES[: SCHEDULES.index(program.schedule)]:
        yield replace(program, schedule=schedule)
    if program.priorities:
        yield replace(program, priorities=False)
    default = Program().quantum
    if program.quantum != default:
        yield replace(program, quantum=default)
        for less in lower(program.quantum - 1):
            yield replace(program, quantum=1 + less)


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
