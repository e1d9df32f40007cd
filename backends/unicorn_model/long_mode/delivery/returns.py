"""IRETQ in 64-bit mode (IRET, IA-32e-MODE)."""

from __future__ import annotations

from backends.unicorn_model.delivery.descriptors import Descriptor, is_null, selector_error
from backends.unicorn_model.delivery.flags import NT, after_return
from backends.unicorn_model.delivery.vectors import GP, NP, SS, Fault
from backends.unicorn_model.faults import NotModelled
from backends.unicorn_model.long_mode.delivery.machine import Machine, Segment
from backends.unicorn_model.long_mode.delivery.transaction import Stack, Transaction
from backends.unicorn_model.mmu import is_canonical

__all__ = ["interrupt_return"]


def interrupt_return(machine: Machine) -> None:
    """Execute an IRETQ.

    Args:
        machine: with its RIP at the instruction.

    Raises:
        Fault, PageFault: to deliver with `exception_of`; the machine is as before it.
        NotModelled: it leads to compatibility mode.
    """
    transaction = Transaction(machine)
    before = transaction.registers
    if before.rflags & NT:  # there are no tasks to return to
        raise Fault(GP, 0)
    stack = Stack(transaction, before.rsp, before.cpl, Fault(SS, 0))
    # SS and RSP are popped unconditionally (6.14.3). Open: whether before the checks of CS. Here
    # all five are.
    rip, selector, rflags = stack.pop(), stack.pop() & 0xFFFF, stack.pop()
    pointer, stack_selector = stack.pop(), stack.pop() & 0xFFFF
    code = _return_segment(transaction, selector)
    privilege = selector & 3
    transaction.change(
        ss=_stack_segment(transaction, stack_selector, privilege, long=code.long), rsp=pointer
    )
    if not code.long:
        raise NotModelled(f"IRETQ to CS={selector:#x}, which is in compatibility mode")
    if not is_canonical(rip):
        raise Fault(GP, 0)
    if privilege > before.cpl:
        _drop_segments(transaction, privilege)
    transaction.change(
        cs=Segment(selector, code),
        rip=rip,
        rflags=after_return(before.rflags, rflags, before.cpl),
    )
    transaction.commit()


def _return_segment(transaction: Transaction, selector: int) -> Descriptor:
    """IRET, PROTECTED-MODE-RETURN."""
    if is_null(selector):
        raise Fault(GP, 0)
    error = selector_error(selector, external=False)
    code = transaction.descriptor(selector, Fault(GP, error))
    privilege = selector & 3
    if not code.is_code or privilege < transaction.registers.cpl:
        raise Fault(GP, error)
    if code.dpl > privilege if code.is_conforming else code.dpl != privilege:
        raise Fault(GP, error)
    # IRET, 64-bit mode exceptions: "has both the D-bit and L-bit set".
    if code.long and code.big:
        raise Fault(GP, error)
    if not code.present:
        raise Fault(NP, error)
    return transaction.mark_accessed(selector, code)


def _stack_segment(
    transaction: Transaction, selector: int, privilege: int, *, long: bool
) -> Segment:
    """IRET, 64-bit mode exceptions: what is loaded into SS; NULL only for 64-bit mode, and not for
    CPL 3.
    """
    if is_null(selector):
        if not long or privilege == 3 or selector & 3 != privilege:
            raise Fault(GP, 0)
        return Segment(selector, None)
    error = selector_error(selector, external=False)
    descriptor = transaction.descriptor(selector, Fault(GP, error))
    if selector & 3 != privilege or not descriptor.is_writable or descriptor.dpl != privilege:
        raise Fault(GP, error)
    if not descriptor.present:
        raise Fault(SS, error)
    return Segment(selector, transaction.mark_accessed(selector, descriptor))


def _drop_segments(transaction: Transaction, privilege: int) -> None:
    """IRET, RETURN-TO-OUTER-PRIVILEGE-LEVEL: what the outer level may not use."""
    for name in ("es", "fs", "gs", "ds"):
        held = getattr(transaction.registers, name).descriptor
        if held is not None and not held.is_conforming and held.dpl < privilege:
            transaction.change(**{name: Segment(0, None)})
