"""Simpler operands: what an operation can be replaced by when a case is reduced.

Every operand has a rank, and a replacement has a lower one, so that reduction comes to an end: an
operand's default is the simplest; otherwise smaller numbers are, fewer bits, and earlier names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields, replace
from typing import Any

from conformance.case.case import Case
from conformance.case.machine import Machine
from conformance.case.operation import Operation, Rights
from conformance.case.program import SCHEDULES, Program
from conformance.protocol import PROTOCOL, Field

__all__ = ["case_rank", "lower", "pages_moved", "simpler_operations"]

_PAGE = PROTOCOL.constants["frame_size"]
_ADDRESSES = ("address", "base")
_BITS = ("rights", "clear", "set")


def lower(number: int) -> Iterator[int]:
    """Smaller numbers, the smallest first: 0, then steps that get ever shorter."""
    step = number
    while step:
        yield number - step
        step //= 2


def case_rank(case: Case) -> tuple[int, int, int, int]:
    """What makes a case small: regions, operations, how it runs, and then the numbers."""
    regions = () if case.memory_map is None else case.memory_map.regions
    operations = case.program.operations
    numbers = sum(region.base + region.length for region in regions) + case.program.stacks
    numbers += sum(
        _rank(operation, field)
        for operation in operations
        for field in PROTOCOL.operations[operation.name].operands.fields
    )
    program = case.program
    if program.quantum != Program().quantum:
        numbers += 1 + program.quantum
    setting = int(case.machine != Machine.smallest(case.machine.architecture))
    setting += SCHEDULES.index(program.schedule) + int(program.priorities)
    return len(regions), len(operations), setting, numbers


def simpler_operations(operation: Operation, architecture: str) -> Iterator[Operation]:
    """The operation with one operand simpler.

    Args:
        operation: what is made simpler.
        architecture: of the image, which decides where its areas are.
    """
    areas = tuple(PROTOCOL.images[architecture].area.values())
    for field in PROTOCOL.operations[operation.name].operands.fields:
        rank = _rank(operation, field)
        for value in _candidates(operation, field, areas):
            changes: dict[str, Any] = {field.name: value}
            simpler = replace(operation, **changes)
            if _rank(simpler, field) < rank:
                yield simpler


def pages_moved(
    operations: tuple[Operation, ...], architecture: str
) -> Iterator[tuple[Operation, ...]]:
    """The operations with one page of the probe area replaced by an earlier one, everywhere."""
    values = PROTOCOL.images[architecture]
    first, size = values.area["probe"], values.constants["probe_slot_size"]
    end = first + values.constants["probe_slots"] * size
    pages = sorted({page for operation in operations for page in _pages(operation, first, end)})
    for page in pages:
        slot = page - (page - first) % size
        for target in dict.fromkeys((first, slot, first + page - slot)):
            if target < page and target not in pages:
                yield tuple(_with_page(operation, page, target) for operation in operations)


def _addresses(operation: Operation) -> Iterator[tuple[str, int]]:
    for name in _ADDRESSES:
        value = getattr(operation, name, None)
        if isinstance(value, int):
            yield name, value


def _pages(operation: Operation, start: int, end: int) -> Iterator[int]:
    for _, value in _addresses(operation):
        if start <= value < end:
            yield value - value % _PAGE


def _with_page(operation: Operation, page: int, target: int) -> Operation:
    changes: dict[str, Any] = {
        name: target + value - page
        for name, value in _addresses(operation)
        if page <= value < page + _PAGE
    }
    return replace(operation, **changes)


def _default(operation: Operation, field: Field) -> Any:
    return next(each.default for each in fields(operation) if each.name == field.name)


def _rank(operation: Operation, field: Field) -> int:
    if getattr(operation, field.name) == _default(operation, field):
        return 0
    number = operation.operands()[field.name]
    return 1 + (number.bit_count() if field.name in _BITS else number)


def _candidates(operation: Operation, field: Field, areas: tuple[int, ...]) -> Iterator[Any]:
    value, default = getattr(operation, field.name), _default(operation, field)
    if default is not MISSING:
        yield default
    if field.name == "operation":
        return  # which operation is meant stays the same
    if field.enum is not None:
        yield from field.enum.values()
    elif isinstance(value, bool):
        yield False
    elif field.name in _BITS:
        kind = Rights if isinstance(value, Rights) else int
        yield from (kind(value & ~(1 << bit)) for bit in range(field.bits) if value >> bit & 1)
    elif field.name in _ADDRESSES:
        area = max((start for start in areas if start <= value), default=0)
        yield from (area, area + value % _PAGE, value - value % _PAGE)
    else:
        yield from lower(value)
