"""The ways in which a task's stack overflows (kernel/TRACE.md, "The task stack pool")."""

from __future__ import annotations

from typing import Final

from conformance.case.stack_operations import Overflow
from conformance.oracle import rules
from conformance.oracle.accesses import Fault, reach
from conformance.oracle.delivery import Place, attempted, deliver, kernel_may_write
from conformance.oracle.setting import PAGE, STACK_SIZE
from conformance.oracle.translation import Access
from conformance.oracle.worlds import Performance, World
from conformance.protocol import PROTOCOL

__all__ = ["overflow_own", "overflow_stack"]

_HALF_A_WORD: Final = 2
_STRING_WORD: Final = 4
_SUPERVISOR_WRITE: Final = Access("write")
_STRING_WRITES: Final = 2048
_SIZES: Final = {"array": (4, 3 * PAGE), "recursion": (8, 1024)}
"""The least and the largest size, where one is needed."""


def overflow_stack(performance: Performance, operation: Overflow, stack: int) -> None:
    """`overflow`, of a stack by its number."""
    how, size = operation.how, operation.size
    if how in _SIZES:
        least, most = _SIZES[how]
        if size % _STRING_WORD or not least <= size <= most:
            return performance.reject("bad_size")
    bottom = performance.world.setting.stack_area + stack * STACK_SIZE + PAGE
    # It may reach over the guard page, into the object below.
    if how == "array" and performance.world.is_of_task(bottom + PAGE - size, _STRING_WORD):
        code = PROTOCOL.code("stack_failure", "used_by_task")
        return performance.show("stack_rejected", address=0, reason=code)
    result = _overflow(performance, how, bottom, size)
    if result is None:
        return attempted(performance, "done", rules.PERMITTED)
    return attempted(performance, "faulted", deliver(performance, *result))


def overflow_own(performance: Performance, stack: int) -> None:
    """`overflow_own`, on a task's stack: from wherever in it, the pushes end at its bottom."""
    result = _pushes(
        performance, "own", performance.world.setting.stack_area + (stack + 1) * STACK_SIZE
    )
    assert result is not None
    return attempted(performance, "faulted", deliver(performance, *result))


Result = tuple[Fault, Place] | None
"""An exception and where it is raised, if there is one."""


def _overflow(performance: Performance, how: str, bottom: int, size: int) -> Result:
    top, probe_top = bottom + PAGE, performance.world.setting.probe_stack[1]
    match how:
        case "recursion":
            return _recursion(performance, top, size)
        case "array":
            return _write(performance, how, top - size, top - size)
        case "interrupt":
            fault = Fault("breakpoint", rules.SOFTWARE_INTERRUPT)
            return fault, _at(performance, how, bottom)
        case "exception":
            fault = Fault("invalid_opcode", rules.RAISED["invalid_opcode"])
            return fault, _at(performance, how, bottom)
        case "string":
            return _string(performance, top, probe_top)
        case "straddle":
            return _write(performance, how, bottom - _HALF_A_WORD, probe_top)
        case _:
            return _pushes(performance, how, top)


def _pushes(performance: Performance, how: str, top: int) -> Result:
    """One push after the other."""
    esp, word = _floor(performance.world, top), performance.world.setting.word
    return _write(performance, how, esp - word, esp, word)


def _recursion(performance: Performance, top: int, size: int) -> Result:
    word = performance.world.setting.word
    esp, floor = top, _floor(performance.world, top)
    while esp - word >= floor:
        esp -= word + size
        if esp < floor:
            return _write(performance, "recursion_touch", esp, esp)
    return _write(performance, "recursion_call", esp - word, esp, word)


def _string(performance: Performance, top: int, esp: int) -> Result:
    lowest = max(_floor(performance.world, top), top - _STRING_WRITES * _STRING_WORD)
    return _write(performance, "string", lowest - _STRING_WORD, esp)


def _floor(world: World, top: int) -> int:
    """How far down from the top of a stack ring 0 may write: pages without a gap."""
    floor = top
    while kernel_may_write(world, floor - 1):
        floor -= PAGE
    return floor


def _at(performance: Performance, how: str, esp: int) -> Place:
    return Place(performance.world.setting.symbol(f"fault_at_overflow_{how}"), esp)


def _write(
    performance: Performance, how: str, address: int, esp: int, size: int = _STRING_WORD
) -> Result:
    """Ring 0 writes."""
    outcome = reach(performance, _SUPERVISOR_WRITE, address, size)
    return (outcome, _at(performance, how, esp)) if isinstance(outcome, Fault) else None
