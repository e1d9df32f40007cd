"""Delivering exceptions: what is pushed where, and what becomes of it (SDM vol. 3, chapter 6)."""

from __future__ import annotations

from dataclasses import dataclass

from conformance.oracle import rules
from conformance.oracle.accesses import Fault
from conformance.oracle.expectation import Rule
from conformance.oracle.setting import PAGE, STACK_SIZE, Setting
from conformance.oracle.translation import Access, right, walk
from conformance.oracle.worlds import Performance, World
from conformance.protocol import PROTOCOL

__all__ = [
    "Place",
    "attempted",
    "deliver",
    "faulted",
    "kernel_may_write",
    "probe_place",
    "user_place",
]

_SUPERVISOR_WRITE = Access("write")
_INTERRUPT_STACKS = ("double_fault", "page_fault", "nmi")
"""In x86_64 these have stacks of their own."""


@dataclass(frozen=True, slots=True)
class Place:
    """The machine state that an exception finds.

    Attributes:
        eip: what is saved.
        esp: before anything is pushed.
        cpl: privilege level.
    """

    eip: int
    esp: int
    cpl: int = 0


def probe_place(setting: Setting, symbol: str) -> Place:
    """In ring 0, on the probe stack."""
    return Place(setting.symbol(symbol), setting.probe_stack[1])


def user_place(setting: Setting, symbol: str) -> Place:
    """In ring 3, on its stack."""
    return Place(setting.user_symbol(symbol), setting.user_stack_top, 3)


def kernel_may_write(world: World, address: int) -> bool:
    """May ring 0 push something at an address?"""
    page = walk(world.setting, world.structures, world.control, address).translation
    return page is not None and right(_SUPERVISOR_WRITE, world.control, page)[0]


def deliver(performance: Performance, fault: Fault, place: Place) -> Rule:
    """Run the handler of an exception, or of the double fault that comes of it.

    Software interrupts are exceptions here too: they push the same.

    Returns:
        What decides the event.
    """
    world = performance.world
    page_faults = [fault.cr2] if fault.vector == "page_fault" else []
    while (missing := _failing_push(world, fault, place)) is not None:
        page_faults.append(missing)
        if fault.vector == "page_fault":
            # A page fault while one is delivered (table 6-5). Each of them has written CR2.
            latest_first = list(dict.fromkeys(reversed(page_faults)))
            cr2 = performance.decide(rules.DOUBLE_FAULT_CR2, latest_first)
            fault = Fault("double_fault", rules.PAGE_FAULT_TWICE, cr2=cr2)
            break
        # Any other exception is forgotten: the instruction will raise it again.
        fault = Fault("page_fault", rules.NOT_PRESENT, _PUSH_NOT_PRESENT, missing)
    kind, number = _stack(world.setting, place.esp)
    performance.show(
        "fault",
        fault.rule,
        vector=PROTOCOL.code("exception", fault.vector),
        error_code=fault.error_code,
        cr2=fault.cr2,
        eip=place.eip,
        esp=place.esp,
        cpl=place.cpl,
        stack=PROTOCOL.code("stack_kind", kind),
        stack_number=number,
    )
    return fault.rule


_PUSH_NOT_PRESENT = 1 << 1
"""Error code of a supervisor's write where there is no page."""


def attempted(performance: Performance, outcome: str, rule: Rule, value: int = 0) -> None:
    """The attempt is over."""
    code = PROTOCOL.code("attempt", outcome)
    performance.show("attempted", rule, outcome=code, value=value)


def faulted(performance: Performance, fault: Fault, place: Place) -> None:
    """The attempt ends with an exception."""
    attempted(performance, "faulted", deliver(performance, fault, place))


def _failing_push(world: World, fault: Fault, place: Place) -> int | None:
    """Where the first push faults, if it does.

    What is pushed, up to 48 bytes, never begins in one page and ends in another: ring 0 runs out
    of a stack at a page's start, or is in a page where nothing can be pushed.
    """
    start, end = world.setting.probe_stack
    if world.setting.long_mode and fault.vector in _INTERRUPT_STACKS:
        return None
    if place.cpl or start < place.esp <= end:
        # Ring 3 changes to a kernel stack, and that and the probe stack are always there.
        return None
    setting = world.setting
    # In 64-bit mode the stack is aligned first (6.14.2).
    aligned = place.esp & -16 if setting.long_mode else place.esp
    first = aligned - setting.word
    return None if kernel_may_write(world, first) else first


def _stack(setting: Setting, esp: int) -> tuple[str, int]:
    """Which stack a stack pointer is in: above an object's start, up to its end."""
    offset = esp - setting.stack_area
    if 0 < offset <= setting.stacks * STACK_SIZE:
        return "task", (offset - 1) // STACK_SIZE
    if PAGE < esp - setting.user_area <= 2 * PAGE:
        return "user", 0
    start, end = setting.probe_stack
    return ("probe" if start < esp <= end else "kernel"), 0
