"""Faults that an access raises before it is translated: segmentation, then alignment.

5.12: "the processor evaluates segment protection first, then evaluates page protection". Where an
instruction has several accesses, or one with several faults, the order is open: "exceptions within
each class are implementation-dependent and may vary from processor to processor" (6.9). Here all
accesses are checked in turn before any is translated; of each access its segment, then its
alignment.
"""

from __future__ import annotations

from collections.abc import Iterable

from backends.unicorn_model.delivery.descriptors import Descriptor, within_limit
from backends.unicorn_model.delivery.machine import Registers
from backends.unicorn_model.delivery.vectors import AC, GP, SS, Fault
from backends.unicorn_model.instructions.accesses import Access

__all__ = ["ALIGNMENT_MASK", "access_fault", "first_fault", "is_unrestricted", "linear_address"]

ALIGNMENT_MASK = 1 << 18
"""CR0.AM"""

_ALIGNMENT_CHECK = 1 << 18  # EFLAGS.AC
_MASK = 0xFFFFFFFF


def first_fault(accesses: Iterable[Access], registers: Registers) -> Fault | None:
    """The fault that the first refused access raises; None if paging decides."""
    for access in accesses:
        fault = access_fault(access, registers)
        if fault is not None:
            return fault
    return None


def access_fault(access: Access, registers: Registers) -> Fault | None:
    """The fault that an access raises; None if paging decides."""
    held = getattr(registers, access.segment).descriptor
    if not _is_allowed(access, held):
        # 6.15, "Interrupt 12" and "Interrupt 13"; error code 0: it is no segment being loaded.
        return Fault(SS if access.segment == "ss" else GP, 0)
    # 6.15, "Interrupt 17": "only at privilege level 3 (user mode)".
    checked = (
        registers.cpl == 3
        and registers.cr0 & ALIGNMENT_MASK
        and registers.eflags & _ALIGNMENT_CHECK
    )
    if checked and linear_address(access, registers) % access.alignment:
        return Fault(AC, 0)
    return None


def linear_address(access: Access, registers: Registers) -> int:
    """Where an access that is allowed begins (3.4)."""
    held = getattr(registers, access.segment).descriptor
    return int(held.base) + access.offset & _MASK


def is_unrestricted(held: Descriptor | None) -> bool:
    """Whether no access to the segment can fail before paging."""
    return (
        held is not None
        and held.is_writable
        and not held.is_expand_down
        and held.limit == 0xFFFFFFFF
    )


def _is_allowed(access: Access, held: Descriptor | None) -> bool:
    if held is None:
        # 5.4.1, for DS, ES, FS and GS. Open: SS, which holds a null selector only after a task
        # switch that failed. Here as beyond its limit.
        return False
    # 5.4 (type checking) of the segment, then 5.3 of the offset: the same error code either way.
    if not (held.is_writable if access.writes else held.is_readable):
        return False
    return within_limit(held, access.offset, access.size)
