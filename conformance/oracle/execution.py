"""Fetching the one instruction that a probe executes: prefixes, and a return."""

from __future__ import annotations

from typing import Final

from conformance.oracle import rules
from conformance.oracle.accesses import Fault, Part, Reached
from conformance.oracle.arena import RETURN
from conformance.oracle.setting import PAGE
from conformance.oracle.translation import Access
from conformance.oracle.worlds import Performance

__all__ = ["execute"]

_LONGEST: Final = 15
"""Bytes of an instruction; more are a general protection fault (6.15, #GP)."""


def execute(performance: Performance, access: Access, address: int) -> Reached | Fault:
    """Fetch the instruction at an address, from the next page too if it reaches into it."""
    world = performance.world
    fetched: list[Part] = []
    linear, left, rule = address, _LONGEST, rules.PERMITTED
    while left:
        size = min(PAGE - linear % PAGE, left)
        part = Part(performance, access, linear, size)
        fault = part.fault()
        if fault is not None:
            for earlier in fetched:
                earlier.given_up()
            return fault
        fetched.append(part)
        if rule is rules.PERMITTED:
            rule = part.rule
        start = part.physical - world.setting.arena
        # Only the arena is ever executed; what it holds ends in a return.
        if any(world.arena.read(start + count) == RETURN for count in range(size)):
            for each in fetched:
                each.done()
            return Reached((), rule)
        linear, left = linear + size, left - size
    for each in fetched:
        each.done()
    return Fault("general_protection", rules.INSTRUCTION_LENGTH)
