"""The watched instructions, executed by the manual (SDM vol. 2)."""

from __future__ import annotations

from backends.unicorn_model.control_unit import EFER, ControlUnit
from backends.unicorn_model.delivery.flags import IF, IOPL, NT, RF, TF, after_popf
from backends.unicorn_model.delivery.machine import Registers
from backends.unicorn_model.delivery.returns import interrupt_return
from backends.unicorn_model.delivery.transaction import Stack, Transaction
from backends.unicorn_model.delivery.vectors import GP, SS, Fault
from backends.unicorn_model.faults import GeneralProtection, NotModelled
from backends.unicorn_model.stopped import StoppedProcessor
from backends.unicorn_model.watched import Operation, Watched

__all__ = ["execute", "is_executed"]

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
    if watched.operation is Operation.STI:
        if registers.cpl > (registers.eflags & IOPL) >> 12:
            raise Fault(GP, 0)
        machine.change(eip=next_eip, eflags=registers.eflags & ~RF | IF)
        return
    # All of the others are privileged (5.9).
    if registers.cpl:
        raise Fault(GP, 0)
    if watched.operation is not Operation.HLT:
        try:
            _write(control, watched, registers)
        except GeneralProtection as fault:
            raise Fault(GP, fault.error_code) from fault
        machine.reload_control()
    # 17.3.1.1: RF is cleared by every instruction that completes.
    machine.change(eip=next_eip, eflags=registers.eflags & ~RF)


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


def _write(control: ControlUnit, watched: Watched, registers: Registers) -> None:
    if watched.operation is Operation.WRMSR:
        control.write_efer(registers.edx << 32 | registers.eax)
        return
    if watched.operation is Operation.RDMSR:
        raise GeneralProtection(0)  # is_executed: there is no such register
    value = getattr(registers, watched.register)
    match watched.operation:
        case Operation.MOV_TO_CR0:
            code = registers.cs.descriptor
            control.write_cr0(value, code_is_long=code is not None and code.long)
        case Operation.MOV_TO_CR3:
            control.write_cr3(value)
        case Operation.MOV_TO_CR4:
            control.write_cr4(value)
        case operation:
            raise AssertionError(operation)
