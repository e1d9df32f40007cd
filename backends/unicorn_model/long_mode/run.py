"""A run in IA-32e mode: like that of 32-bit code, with the rules of 64-bit mode.

It begins where paging was turned on, in compatibility mode. Unicorn's processor for 32-bit code
does not show its 64-bit registers; so another one, for 64-bit code, takes over its state.
"""

from __future__ import annotations

from collections.abc import Callable

import unicorn.x86_const as x86
from unicorn.unicorn_py3 import Uc

from backends.unicorn_model.access_rights import Access
from backends.unicorn_model.control_unit import EFER, ControlUnit
from backends.unicorn_model.delivery.deliver import exception_of
from backends.unicorn_model.delivery.flags import TF
from backends.unicorn_model.delivery.vectors import DB, Event, Fault, ProcessorException
from backends.unicorn_model.emulation import (
    Emulation,
    Interrupted,
    NowhereAccessed,
    Other,
    PageFaulted,
    Reason,
)
from backends.unicorn_model.fault_record import FaultRecord
from backends.unicorn_model.faults import NotModelled, PageFault
from backends.unicorn_model.hidden_state import HiddenState
from backends.unicorn_model.instructions.access_checks import ALIGNMENT_MASK
from backends.unicorn_model.long_mode.accesses import (
    accesses,
    first_fault,
    is_checked_for_alignment,
)
from backends.unicorn_model.long_mode.delivery.deliver import deliver
from backends.unicorn_model.long_mode.delivery.machine import GENERAL, Registers
from backends.unicorn_model.long_mode.executed import execute
from backends.unicorn_model.long_mode.instructions import decode
from backends.unicorn_model.long_mode.interruptions import (
    event_of_access_nowhere,
    event_of_exception,
    event_of_page_fault,
    event_of_software_interrupt,
)
from backends.unicorn_model.long_mode.processor import LongProcessor
from backends.unicorn_model.long_mode.segment_loads import check_load, is_segment_load
from backends.unicorn_model.long_mode.watched import Operation, Watched, find
from backends.unicorn_model.long_mode.watched import decode as decode_watched
from backends.unicorn_model.messages import End
from backends.unicorn_model.mmu import Mmu, is_canonical
from backends.unicorn_model.ports import Ports
from backends.unicorn_model.stepper import Stepper
from backends.unicorn_model.tlb import flush_tlb

__all__ = ["LongRun"]

_MASK = (1 << 64) - 1
_NUMBERS = {name: getattr(x86, f"UC_X86_REG_{name.upper()}") for name in GENERAL}


class LongRun:
    """A run of a processor in IA-32e mode.

    Args:
        processor: for 64-bit code, in the state of the one that has entered IA-32e mode.
        memory: guest RAM.
        mmu: translates.
        control: the control registers, attached to the processor.
        ports: the devices.
        attend: asked after each OUT for a reason to stop.
        record: of the exceptions.
    """

    def __init__(
        self,
        processor: Uc,
        memory: memoryview,
        mmu: Mmu,
        control: ControlUnit,
        ports: Ports,
        attend: Callable[[], Other | None],
        record: FaultRecord,
    ) -> None:
        self._processor = processor
        self._control = control
        self._hidden = HiddenState(processor)
        self._machine = LongProcessor(processor, memory, mmu, control, self._hidden)
        self._emulation = Emulation(
            processor,
            memory,
            mmu,
            control,
            self._hidden,
            ports,
            before=self._is_ours,
            attend=attend,
            find=find,
        )
        self._stepper = Stepper(processor, _MASK)
        self._record = record
        self._is_64_bit = False
        self._checks_alignment = False
        # The address of an instruction that was checked and is Unicorn's to execute.
        self._passes: int | None = None

    def go(self, rip: int) -> tuple[End, str]:
        """Run from an address to the end.

        Raises:
            NotModelled: the model has no rule.
        """
        machine = self._machine
        while True:
            reason = self._emulation.resume(rip)
            self._passes = None
            self._control.check()
            if reason is Other.BELL:
                return End.BELL, ""
            if reason is Other.DEVICE:
                raise NotModelled("an interrupt controller or timer in IA-32e mode")
            machine.load()
            rip = machine.registers.rip
            stepped = self._stepper.finish(rip)
            if reason is Other.ENDED and not stepped:
                return End.HALTED, f"halted at {rip:#x}"
            event = self._event(reason)
            if event is not None:
                outcome = deliver(machine, event)
                if outcome.shutdown:
                    # All that the last fault has changed.
                    self._processor.reg_write(x86.UC_X86_REG_CR2, machine.registers.cr2)
                    return End.SHUTDOWN, f"vector {event.vector} at {rip:#x}"
                self._record.add(outcome)
            machine.store()
            self._hidden.forget_exception()
            rip = machine.registers.rip
            self._update(machine.registers.cr0)

    def _event(self, reason: Reason) -> Event | None:
        """What is to be delivered; before that, execute what the model executes."""
        machine = self._machine
        match reason:
            case Other.ENDED:
                return None
            case PageFaulted(fault, Access.FETCH) if self._steps_to(fault.linear):
                return None
        self._require_64_bit(str(reason))
        match reason:
            case PageFaulted(fault, access):
                return event_of_page_fault(machine, fault, access)
            case NowhereAccessed(access):
                return event_of_access_nowhere(machine, access)
            case Interrupted(vector, software=True):
                return event_of_software_interrupt(machine, vector)
            case Interrupted(vector, software=False):
                return event_of_exception(machine, vector)
            case _:
                return self._execute()

    def _require_64_bit(self, what: str) -> None:
        code = self._machine.registers.cs.descriptor
        if code is None or not code.long:
            raise NotModelled(f"{what} in compatibility mode")

    def _steps_to(self, page: int) -> bool:
        instruction = decode(self._machine.code())
        length = None if instruction is None else instruction.length
        return self._stepper.step(self._machine.registers.rip, length, page)

    def _update(self, cr0: int) -> None:
        """CR0.AM: from now on, look at every instruction."""
        checks = bool(cr0 & ALIGNMENT_MASK)
        if checks != self._checks_alignment:
            self._checks_alignment = checks
            self._emulation.watch.watch_all(on=checks)

    def _is_ours(self, linear: int) -> bool:
        """During emulation: whether the model executes or checks an instruction."""
        if linear == self._passes:
            self._passes = None
            return False
        if not self._is_64_bit:
            code = self._hidden.segments()["cs"].descriptor
            self._is_64_bit = code is not None and code.long
            if not self._is_64_bit:
                return False
        read = self._processor.reg_read
        cpl = read(x86.UC_X86_REG_CS) & 3
        code_bytes = self._machine.code_at(linear, cpl)
        watched = decode_watched(code_bytes)
        if watched is None:
            return self._checks_alignment and cpl == 3
        match watched.operation:
            case Operation.INVLPG:
                # 4.10.4.1: for all of the page, which may be larger than those that Unicorn keeps.
                flush_tlb(self._processor)
                return False
            case Operation.WRMSR:
                return bool(read(x86.UC_X86_REG_ECX) == EFER)
            case Operation.BRANCH:
                nowhere = not is_canonical(read(_NUMBERS[watched.register]))
                return nowhere or (self._checks_alignment and cpl == 3)
            case _:
                return True

    def _execute(self) -> Event | None:
        """Execute the instruction at RIP, or see what it raises."""
        machine = self._machine
        registers = machine.registers
        code = machine.code()
        watched = decode_watched(code)
        try:
            if watched is not None and _is_executed(watched, registers):
                execute(machine, self._control, watched)
            else:
                self._check(code)
                self._passes = registers.rip
                return None
        except (Fault, PageFault) as fault:
            return exception_of(fault)
        return ProcessorException(DB) if registers.rflags & TF else None

    def _check(self, code: bytes) -> None:
        """Raise what Unicorn would not raise: #AC, and #GP for a null selector in SS."""
        registers = self._machine.registers
        instruction = decode(code)
        if instruction is not None and is_segment_load(instruction):
            check_load(self._machine, instruction)
        if instruction is not None and is_checked_for_alignment(registers):
            fault = first_fault(accesses(instruction, registers), registers)
            if fault is not None:
                raise fault


def _is_executed(watched: Watched, registers: Registers) -> bool:
    """Whether the model does what it was stopped for, or only looked."""
    if watched.operation is Operation.BRANCH:
        return not is_canonical(getattr(registers, watched.register))
    if watched.operation is Operation.WRMSR:
        return registers.rcx & 0xFFFFFFFF == EFER
    return watched.operation not in (Operation.INVLPG, Operation.MOV_TO_SS)
