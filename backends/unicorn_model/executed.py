"""The watched instructions, executed by the manual (SDM vol. 2)."""

from __future__ import annotations

from backends.unicorn_model.control_unit import EFER, ControlUnit
from backends.unicorn_model.delivery.flags import NT, RF
from backends.unicorn_model.delivery.machine import Registers
from backends.unicorn_model.delivery.returns import interrupt_return
from backends.unicorn_model.delivery.vectors import GP, Fault
from backends.unicorn_model.faults import GeneralProtection, NotModelled
from backends.unicorn_model.stopped import StoppedProcessor
from backends.unicorn_model.watched import Operation, Watched

__all__ = ["execute", "is_executed"]

_MASK = 0xFFFFFFFF


def is_executed(watched: Watched, control: ControlUnit, *, ecx: int, eflags: int) -> bool:
    """Whether the model executes it; otherwise Unicorn does it just as well."""
    match watched.operation:
        case Operation.INVLPG:
            return False
        case Operation.IRET:
            return bool(eflags & NT)
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
    # All of the others are privileged (5.9).
    if registers.cpl:
        raise Fault(GP, 0)
    try:
        _write(control, watched, registers)
    except GeneralProtection as fault:
        raise Fault(GP, fault.error_code) from fault
    machine.reload_control()
    # 17.3.1.1: RF is cleared by every instruction that completes.
    machine.change(eip=next_eip, eflags=registers.eflags & ~RF)


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
