"""The watched instructions, executed by the manual (SDM vol. 2)."""

from __future__ import annotations

from typing import Any

from backends.unicorn_model.control_unit import EFER, ControlUnit
from backends.unicorn_model.delivery.descriptors import Descriptor
from backends.unicorn_model.delivery.flags import IF, IOPL, NT, RF, TF, after_popf
from backends.unicorn_model.delivery.returns import interrupt_return
from backends.unicorn_model.delivery.transaction import Stack, Transaction
from backends.unicorn_model.delivery.vectors import GP, SS, Fault
from backends.unicorn_model.faults import GeneralProtection, NotModelled
from backends.unicorn_model.stopped import StoppedProcessor
from backends.unicorn_model.stopped_state import StoppedState
from backends.unicorn_model.watched import Operation, Watched

__all__ = ["execute", "execute_system", "is_executed"]

_MASK = 0xFFFFFFFF


def is_executed(
    watched: Watched, control: ControlUnit, *, ecx: int, eflags: int, pending: bool
) -> bool:
    """Whether the model executes it; otherwise Unicorn does it just as well.

    Args:
        watched: STI and HLT are looked for only where they matter.
        control: says which registers there are.
        ecx: names the register of WRMSR and RDMSR.
        eflags: before it.
        pending: an interrupt is, and waits for EFLAGS.IF.
    """
    match watched.operation:
        case Operation.INVLPG:
            return False
        case Operation.IRET:
            return pending or bool(eflags & (NT | TF))
        case Operation.POPF:
            return pending or bool(eflags & TF)
        case Operation.WRMSR:
            return ecx == EFER
        case Operation.RDMSR:
            return ecx == EFER and not control.has_efer()
        case _:
            return True


def execute(machine: StoppedProcessor, control: ControlUnit, watched: Watched) -> None:
    """Execute it, and go on behind it.

    Raises:
        Fault, PageFault: to deliver; nothing is changed, unless IRET has come to another task.
    """
    registers = machine.registers
    next_eip = registers.eip + watched.length & _MASK
    if watched.operation is Operation.IRET:
        if not watched.wide:
            raise NotModelled(f"IRET with a 16-bit operand at {registers.eip:#x}")
        interrupt_return(machine, next_eip)
        return
    if watched.operation is Operation.POPF:
        _pop_flags(machine, watched)
        machine.change(eip=next_eip)
        return
    execute_system(machine, control, watched, registers.edx << 32 | registers.eax)


def execute_system(
    machine: StoppedState[Any], control: ControlUnit, watched: Watched, value: int
) -> None:
    """Execute STI, HLT, or what writes a control register or an MSR; in any mode.

    Args:
        machine: stands before it.
        control: the control registers.
        watched: the instruction.
        value: what WRMSR writes.

    Raises:
        Fault: nothing is changed.
    """
    registers = machine.registers
    behind = machine.pointer + watched.length & machine.MASK
    # 17.3.1.1: RF is cleared by every instruction that completes.
    flags = machine.flags & ~RF
    if watched.operation is Operation.STI:
        if registers.cpl > (flags & IOPL) >> 12:
            raise Fault(GP, 0)
        machine.go_on(behind, flags | IF)
        return
    # All of the others are privileged (5.9).
    if registers.cpl:
        raise Fault(GP, 0)
    if watched.operation is not Operation.HLT:
        if watched.register:
            value = getattr(registers, watched.register)
        try:
            _write(control, watched.operation, value, registers.cs.descriptor)
        except GeneralProtection as fault:
            raise Fault(GP, fault.error_code) from fault
        machine.reload_control()
    machine.go_on(behind, flags)


def _pop_flags(machine: StoppedProcessor, watched: Watched) -> None:
    """POPF, with a 32-bit operand."""
    before = machine.registers
    if not watched.wide:
        raise NotModelled(f"POPF with a 16-bit operand at {before.eip:#x}")
    transaction = Transaction(machine)
    overflow = Fault(SS, 0)
    stack = Stack(transaction, before.ss, before.esp, before.cpl, overflow, external=False)
    popped = stack.pop()
    eflags = after_popf(before.eflags, popped, before.cpl)
    transaction.change(esp=stack.pointer, eflags=eflags)
    transaction.commit()


def _write(control: ControlUnit, operation: Operation, value: int, code: Descriptor | None) -> None:
    match operation:
        case Operation.WRMSR:  # of IA32_EFER
            control.write_efer(value)
        case Operation.RDMSR:
            raise GeneralProtection(0)  # is_executed: there is no such register
        case Operation.MOV_TO_CR0:
            control.write_cr0(value, code_is_long=code is not None and code.long)
        case Operation.MOV_TO_CR3:
            control.write_cr3(value)
        case Operation.MOV_TO_CR4:
            control.write_cr4(value)
        case _:
            raise AssertionError(operation)
