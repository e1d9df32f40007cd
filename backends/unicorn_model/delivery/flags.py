"""EFLAGS, as events and returns change them."""

from __future__ import annotations

from backends.unicorn_model.delivery.vectors import (
    Event,
    SoftwareInterrupt,
    sets_resume_flag,
)

__all__ = ["after_gate", "after_popf", "after_return", "from_task", "saved_eflags"]

TF, IF, NT, RF, VM = 1 << 8, 1 << 9, 1 << 14, 1 << 16, 1 << 17
IOPL = 3 << 12
_STATUS = 0xCD5 | NT  # CF PF AF ZF SF DF OF
_AC, _VIF, _VIP, _ID = 1 << 18, 1 << 19, 1 << 20, 1 << 21
_FIXED = 1 << 1
_DEFINED = _STATUS | TF | IF | IOPL | RF | VM | _AC | _VIF | _VIP | _ID


def saved_eflags(event: Event, eflags: int) -> int:
    """The image that is pushed, or saved in the TSS of an interrupted task (17.3.1.1).

    Open: for a TSS the manual does not say how RF is. Here it is as it would be on the stack,
    since the return from the task is to the same instruction.
    """
    if sets_resume_flag(event):
        return eflags | RF
    if isinstance(event, SoftwareInterrupt):
        return eflags & ~RF  # "it was cleared at the start of the software interrupt"
    return eflags


def after_gate(eflags: int, *, interrupt_gate: bool) -> int:
    """6.12.1.3: what the handler starts with."""
    cleared = TF | NT | RF | VM
    if interrupt_gate:
        cleared |= IF
    return eflags & ~cleared


def after_return(current: int, popped: int, cpl: int) -> int:
    """IRET, 32-bit operand: which flags the popped image may change at this CPL."""
    changed = _STATUS | TF | RF | _AC | _ID
    if cpl <= (current & IOPL) >> 12:
        changed |= IF
    if cpl == 0:
        changed |= IOPL | _VIF | _VIP
    return current & ~changed | popped & changed


def after_popf(current: int, popped: int, cpl: int) -> int:
    """POPFD in protected mode: RF is cleared; VM, VIF and VIP stay."""
    changed = _STATUS | TF | _AC | _ID
    if cpl <= (current & IOPL) >> 12:
        changed |= IF
    if cpl == 0:
        changed |= IOPL
    return (current & ~changed | popped & changed) & ~RF


def from_task(image: int) -> int:
    """7.3, step 12: EFLAGS out of a TSS; reserved bits have their fixed value (2.3)."""
    return image & _DEFINED | _FIXED
