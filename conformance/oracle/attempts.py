"""The operations that try something which may fault (kernel/TRACE.md, "Operations on paging")."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from conformance.case.attempt_operations import Probe, Segment
from conformance.case.paging_operations import Control
from conformance.oracle import rules
from conformance.oracle.accesses import Fault, Reached, reach
from conformance.oracle.address_space import PRESENT
from conformance.oracle.arena import written
from conformance.oracle.control import (
    CONTROL_FEATURES,
    PDPTE_RESERVED,
    is_bad_pdpte,
    pdptes_in_memory,
)
from conformance.oracle.delivery import Place, attempted, faulted, probe_place, user_place
from conformance.oracle.execution import execute
from conformance.oracle.expectation import Rule
from conformance.oracle.paging_operations import has_large_page
from conformance.oracle.setting import ARENA_SIZE, is_canonical
from conformance.oracle.translation import Access
from conformance.oracle.worlds import Performance

__all__ = [
    "access_memory",
    "access_segment",
    "reload",
    "write_control",
]

_SIZES: Final = (1, 2, 4)
_LONG_SIZES: Final = (*_SIZES, 8)
_GIB_4: Final = 1 << 32


def access_memory(performance: Performance, operation: Probe) -> None:
    """`probe`."""
    setting = performance.world.setting
    address, size, user = operation.address, operation.size, operation.ring == 3
    if operation.access == "execute" and operation.through != "plain":
        return performance.reject("bad_value")
    if size not in (_LONG_SIZES if setting.long_mode else _SIZES):
        return performance.reject("bad_size")
    if operation.ring not in (0, 3):
        return performance.reject("bad_ring")
    nowhere = setting.long_mode and not is_canonical(address)
    reachable = (
        nowhere
        or setting.is_probeable(address, size)
        or (operation.access != "execute" and setting.is_stack(address, size))
        or ((user or operation.access == "read") and setting.is_kernel(address, size))
    )
    taken = operation.access == "write" and performance.world.is_of_task(address, size)
    if taken or not reachable:
        return performance.reject("bad_address")
    access = Access(operation.access, user, operation.alignment_check)
    place = user_place if user else probe_place
    if operation.access == "execute":
        call = place(setting, "fault_at_user_call" if user else "fault_at_call")
        push = Access("write", user, operation.alignment_check)
        pushed = reach(performance, push, call.esp - setting.word, setting.word)
        if nowhere:
            return faulted(performance, _called_nowhere(performance, pushed), call)
        if isinstance(pushed, Fault):
            return _attempt(performance, push, pushed, call)
        # The call has pushed its return address by the time of the fetch.
        at = replace(call, eip=address, esp=call.esp - setting.word)
        return _attempt(performance, access, execute(performance, access, address), at)
    prefix = "fault_at_user_" if user else "fault_at_"
    through = "" if operation.through == "plain" else f"{operation.through}_"
    at = place(setting, f"{prefix}{through}{operation.access}_{size}")
    if nowhere:
        return faulted(performance, _accessed_nowhere(operation), at)
    return _attempt(performance, access, reach(performance, access, address, size), at)


def access_segment(performance: Performance, operation: Segment) -> None:
    """`segment`."""
    setting = performance.world.setting
    size, limit = operation.size, operation.limit
    if setting.long_mode:
        return performance.reject("no_feature")
    if operation.access == "execute":
        return performance.reject("bad_value")
    if size not in _SIZES:
        return performance.reject("bad_size")
    lowest = setting.window + (4 << 20)
    flat = not operation.expand_down and operation.base == 0 and limit >= lowest
    if (limit >= 1 << 20 and limit & 0xFFF != 0xFFF) or (operation.target == "ss" and not flat):
        return performance.reject("bad_segment")
    linear = (operation.base + operation.offset) % _GIB_4
    if not (setting.is_arena_window(linear, size) or setting.is_probeable(linear, size)):
        return performance.reject("bad_address")
    at = probe_place(setting, f"fault_at_{operation.target}_{operation.access}_{size}")
    access = Access(operation.access)
    forbidden = _beyond_limit(performance, operation)
    if forbidden is not None:
        # 6.15: a stack-segment fault for SS, a general protection fault for the others.
        vector = "stack_segment" if operation.target == "ss" else "general_protection"
        return _attempt(performance, access, Fault(vector, forbidden), at)
    return _attempt(performance, access, reach(performance, access, linear, size), at)


def reload(performance: Performance) -> None:
    """`reload`, and the end of `control`: MOV CR3, which loads the PDPTE registers (4.4.1)."""
    rule = _load_pdptes(performance)
    if isinstance(rule, Fault):
        return faulted(performance, rule, probe_place(performance.world.setting, "fault_at_reload"))
    performance.world.caches.flush()
    return attempted(performance, "done", rule)


def write_control(performance: Performance, operation: Control) -> None:
    """`control`."""
    world, bit = performance.world, operation.bit
    if CONTROL_FEATURES[bit] not in world.setting.features:
        return performance.reject("no_feature")
    if bit == "no_execute" and not world.setting.wide:
        return performance.reject("no_feature")
    clears_pse = bit == "page_size_extensions" and not operation.value
    if clears_pse and not world.setting.wide and has_large_page(world):
        return performance.reject("large_page_mapped")
    if bit == "no_execute" and not operation.value and world.task_stacks:
        return performance.reject("used_by_task")
    changes = getattr(world.control, bit) != operation.value
    # 4.4.1: of the bits here, PSE and SMEP load the PDPTE registers where they change.
    if changes and bit in ("page_size_extensions", "supervisor_execution"):
        rule = _load_pdptes(performance)
        if isinstance(rule, Fault):
            at = probe_place(world.setting, "fault_at_control_cr4")
            return faulted(performance, rule, at)
    world.control = world.control.with_bit(bit, operation.value)
    if changes and bit == "supervisor_execution" and operation.value:
        world.caches.flush()
    return reload(performance)


def _accessed_nowhere(operation: Probe) -> Fault:
    """A data access at an address that is not canonical: SS has an exception of its own (6.15)."""
    if operation.through == "plain":
        return Fault("general_protection", rules.NOWHERE)
    return Fault("stack_segment", rules.NOWHERE_ON_STACK)


def _called_nowhere(performance: Performance, pushed: Reached | Fault) -> Fault:
    """A near CALL to an address that is not canonical: its target is checked first.

    In 64-bit mode the manual only lists the exception: what comes first where the push faults as
    well is open.
    """
    fault = Fault("general_protection", rules.CALL_TO_NOWHERE)
    if isinstance(pushed, Fault):
        return performance.decide(rules.ORDER_IN_A_CALL, (fault, pushed))
    return fault


def _attempt(performance: Performance, access: Access, outcome: Reached | Fault, at: Place) -> None:
    """Tell what came of an access, and do it if it was allowed."""
    if isinstance(outcome, Fault):
        return faulted(performance, outcome, at)
    world = performance.world
    offsets = [physical - world.setting.arena for physical in outcome.physical]
    in_arena = all(0 <= offset < ARENA_SIZE for offset in offsets)
    value = 0
    if access.kind == "read" and in_arena:
        data = bytes(world.arena.read(offset) for offset in offsets)
        value = int.from_bytes(data, "little")
    elif access.kind == "write" and in_arena:
        for offset, byte in zip(offsets, written(len(offsets)), strict=True):
            world.arena.write(offset, byte)
    return attempted(performance, "done", outcome.rule, value)


def _beyond_limit(performance: Performance, operation: Segment) -> Rule | None:
    """Does the segment's limit forbid the access (5.3)? By which rule?"""
    last = operation.offset + operation.size - 1
    if operation.expand_down:
        outside = operation.offset <= operation.limit
    else:
        outside = last > operation.limit and operation.limit < _GIB_4 - 1
    if outside:
        return rules.SEGMENT_LIMIT
    if last < _GIB_4:
        return None
    # "These accesses may or may not cause the indicated exceptions."
    return performance.decide(rules.LIMIT_OF_4_GIB, (rules.LIMIT_OF_4_GIB, None))


def _load_pdptes(performance: Performance) -> Rule | Fault:
    """Load the PDPTE registers, if there are any (4.4.1)."""
    world = performance.world
    if not world.setting.pae:
        return rules.CONTROL_LOADED
    entries = pdptes_in_memory(world.setting, world.structures)
    if any(is_bad_pdpte(entry) for entry in entries):
        return Fault("general_protection", rules.PDPTE_LOAD)
    rule = rules.CONTROL_LOADED
    if any(entry & PDPTE_RESERVED and not entry & PRESENT for entry in entries):
        rule = rules.ABSENT_PDPTE
        if performance.decide(rule, ("ignored", "checked")) == "checked":
            return Fault("general_protection", rule)
    world.control = replace(world.control, pdptes=entries)
    return rule
