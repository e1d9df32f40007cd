"""The watched instructions of 64-bit code, executed by the manual (SDM vol. 2)."""

from __future__ import annotations

from collections.abc import Callable

from backends.unicorn_model.control_unit import EFER, ControlUnit
from backends.unicorn_model.delivery.flags import TF, after_popf
from backends.unicorn_model.delivery.vectors import GP, SS, Fault
from backends.unicorn_model.executed import execute_system
from backends.unicorn_model.faults import NotModelled
from backends.unicorn_model.long_mode.delivery.returns import interrupt_return
from backends.unicorn_model.long_mode.delivery.transaction import Stack, Transaction
from backends.unicorn_model.long_mode.processor import LongProcessor
from backends.unicorn_model.long_mode.watched import Operation, Watched
from backends.unicorn_model.mmu import is_canonical

__all__ = ["execute", "is_executed"]

_MASK, _MASK_32 = (1 << 64) - 1, (1 << 32) - 1


def is_executed(watched: Watched, value: Callable[[str], int], *, pending: bool) -> bool:
    """Whether `execute` is for it; otherwise Unicorn does it just as well, or it loads SS.

    Args:
        watched: STI and HLT are looked for only where they matter.
        value: of a register before it.
        pending: an interrupt is, and waits for RFLAGS.IF.
    """
    match watched.operation:
        case Operation.INVLPG | Operation.MOV_TO_SS:
            return False
        case Operation.WRMSR:
            return value("rcx") & _MASK_32 == EFER
        case Operation.BRANCH:
            return not is_canonical(value(watched.register))
        case Operation.POPF:
            return pending or bool(value("rflags") & TF)
        case _:
            return True


def execute(machine: LongProcessor, control: ControlUnit, watched: Watched) -> None:
    """Execute it, and go on behind it.

    Raises:
        Fault, PageFault: to deliver; nothing is changed.
    """
    registers = machine.registers
    if watched.operation is Operation.IRETQ:
        interrupt_return(machine)
        return
    if watched.operation is Operation.BRANCH:
        # CALL, JMP: #GP(0) "if the target … is non-canonical"; it is stopped at for that alone.
        raise Fault(GP, 0)
    if watched.operation is Operation.POPF:
        _pop_flags(machine, watched)
        machine.change(rip=registers.rip + watched.length & _MASK)
        return
    value = (registers.rdx & _MASK_32) << 32 | registers.rax & _MASK_32
    execute_system(machine, control, watched, value)


def _pop_flags(machine: LongProcessor, watched: Watched) -> None:
    """POPFQ: the upper half of what is popped means nothing."""
    before = machine.registers
    if not watched.wide:
        raise NotModelled(f"POPF with a 16-bit operand at {before.rip:#x}")
    transaction = Transaction(machine)
    stack = Stack(transaction, before.rsp, before.cpl, Fault(SS, 0))
    rflags = after_popf(before.rflags, stack.pop(), before.cpl)
    transaction.change(rsp=stack.pointer, rflags=rflags)
    transaction.commit()
