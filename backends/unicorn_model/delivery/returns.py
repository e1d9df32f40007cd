"""IRETD in protected mode (IRET; 6.12.1, 7.4)."""

from __future__ import annotations

from backends.unicorn_model.delivery.descriptors import (
    Descriptor,
    is_null,
    selector_error,
    within_limit,
)
from backends.unicorn_model.delivery.flags import NT, VM, after_return
from backends.unicorn_model.delivery.machine import Machine, NotModelled, Segment
from backends.unicorn_model.delivery.tasks import return_to_task
from backends.unicorn_model.delivery.transaction import Stack, Transaction
from backends.unicorn_model.delivery.vectors import GP, NP, SS, Fault

__all__ = ["interrupt_return"]


def interrupt_return(machine: Machine, next_eip: int) -> None:
    """Execute an IRETD.

    Args:
        machine: with its EIP at the instruction.
        next_eip: the EIP behind it, where a nested task goes on if it is entered again.

    Raises:
        Fault, PageFault: to deliver with `exception_of`; the machine is as before it, or, for a
            fault in the context of the task returned to, in that task.
    """
    transaction = Transaction(machine)
    before = transaction.registers
    if before.eflags & VM:
        raise NotModelled("IRET in virtual-8086 mode")
    if before.eflags & NT:
        return_to_task(machine, next_eip)
        return
    stack = Stack(transaction, before.ss, before.esp, before.cpl, Fault(SS, 0), external=False)
    stack.require_present(3)
    eip, selector, eflags = stack.pop(), stack.pop() & 0xFFFF, stack.pop()
    if eflags & VM and before.cpl == 0:
        raise NotModelled("IRET to virtual-8086 mode")
    code = _return_segment(transaction, selector)
    if selector & 3 > before.cpl:
        _return_to_outer_level(transaction, stack, selector & 3)
    else:
        transaction.change(esp=stack.pointer)
    if not within_limit(code, eip, 1):
        raise Fault(GP, 0)
    transaction.change(
        cs=Segment(selector, code),
        eip=eip,
        eflags=after_return(before.eflags, eflags, before.cpl),
    )
    transaction.commit()


def _return_segment(transaction: Transaction, selector: int) -> Descriptor:
    """IRET, PROTECTED-MODE-RETURN."""
    if is_null(selector):
        raise Fault(GP, 0)
    error = selector_error(selector, external=False)
    address = transaction.locate(selector)
    if address is None:
        raise Fault(GP, error)
    code = transaction.descriptor_at(address)
    privilege = selector & 3
    if not code.is_code or privilege < transaction.registers.cpl:
        raise Fault(GP, error)
    # The second half is in the list of exceptions of IRET, not in its Operation section.
    if code.dpl > privilege if code.is_conforming else code.dpl != privilege:
        raise Fault(GP, error)
    if not code.present:
        raise Fault(NP, error)
    return transaction.mark_accessed(address, code)


def _return_to_outer_level(transaction: Transaction, stack: Stack, privilege: int) -> None:
    """IRET, RETURN-TO-OUTER-PRIVILEGE-LEVEL: SS and ESP are on the stack as well."""
    stack.require_present(2)
    pointer, selector = stack.pop(), stack.pop() & 0xFFFF
    if is_null(selector):
        raise Fault(GP, 0)
    error = selector_error(selector, external=False)
    address = transaction.locate(selector)
    if address is None:
        raise Fault(GP, error)
    descriptor = transaction.descriptor_at(address)
    if selector & 3 != privilege or not descriptor.is_writable or descriptor.dpl != privilege:
        raise Fault(GP, error)
    if not descriptor.present:
        raise Fault(SS, error)
    descriptor = transaction.mark_accessed(address, descriptor)
    if not descriptor.big:
        # Open: the upper half of ESP, when the stack segment is a 16-bit one. Here it is kept, as
        # every processor is known to do.
        pointer = stack.pointer & 0xFFFF0000 | pointer & 0xFFFF
    transaction.change(ss=Segment(selector, descriptor), esp=pointer)
    # "FOR each of segment register (ES, FS, GS, and DS)": what the outer level may not use.
    for name in ("es", "fs", "gs", "ds"):
        held = getattr(transaction.registers, name).descriptor
        if held is not None and not held.is_conforming and held.dpl < privilege:
            transaction.change(**{name: Segment(0, None)})
