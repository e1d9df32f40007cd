"""The watched instructions of 64-bit code, executed by the manual (SDM vol. 2)."""

from __future__ import annotations

from backends.unicorn_model.control_unit import ControlUnit
from backends.unicorn_model.delivery.flags import RF
from backends.unicorn_model.delivery.vectors import GP, Fault
from backends.unicorn_model.faults import GeneralProtection
from backends.unicorn_model.long_mode.delivery.machine import Registers
from backends.unicorn_model.long_mode.delivery.returns import interrupt_return
from backends.unicorn_model.long_mode.processor import LongProcessor
from backends.unicorn_model.long_mode.watched import Operation, Watched

__all__ = ["execute"]

_MASK, _MASK_32 = (1 << 64) - 1, (1 << 32) - 1


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
    # All of the others are privileged (5.9).
    if registers.cpl:
        raise Fault(GP, 0)
    try:
        _write(control, watched, registers)
    except GeneralProtection as fault:
        raise Fault(GP, fault.error_code) from fault
    machine.reload_control()
    # 17.3.1.1: RF is cleared by every instruction that completes.
    machine.change(rip=registers.rip + watched.length & _MASK, rflags=registers.rflags & ~RF)


def _write(control: ControlUnit, watched: Watched, registers: Registers) -> None:
    if watched.operation is Operation.WRMSR:  # of IA32_EFER
        control.write_efer((registers.rdx & _MASK_32) << 32 | registers.rax & _MASK_32)
        return
    value = getattr(registers, watched.register)
    match watched.operation:
        case Operation.MOV_TO_CR0:
            control.write_cr0(value, code_is_long=True)
        case Operation.MOV_TO_CR3:
            control.write_cr3(value)
        case Operation.MOV_TO_CR4:
            control.write_cr4(value)
        case operation:
            raise AssertionError(operation)
