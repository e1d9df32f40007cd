"""One run: Unicorn's processor, stopped where the model has to act, and started again.

Unicorn is left to what it does as the processor does. Everything else stops it: a fault, and each
instruction that the model executes itself. Then the processor stands between two instructions
(stopped), the model acts by the manual, and Unicorn goes on.
"""

from __future__ import annotations

from collections.abc import Callable

import unicorn.x86_const as x86
from unicorn.unicorn_py3 import Uc

from backends.unicorn_model.access_rights import Access
from backends.unicorn_model.boundary import Blocking, Boundary, ran_into_hlt
from backends.unicorn_model.control_unit import ControlUnit
from backends.unicorn_model.cpu_profile import CpuProfile
from backends.unicorn_model.delivery.deliver import deliver, exception_of
from backends.unicorn_model.delivery.flags import IF, NT, RF, TF
from backends.unicorn_model.delivery.machine import GENERAL
from backends.unicorn_model.delivery.vectors import DB, Event, Fault
from backends.unicorn_model.emulation import Emulation, Interrupted, Other, PageFaulted, Reason
from backends.unicorn_model.executed import execute, is_executed
from backends.unicorn_model.external_interrupts import ExternalInterrupts
from backends.unicorn_model.fault_record import FaultRecord
from backends.unicorn_model.faults import NotModelled, PageFault
from backends.unicorn_model.hidden_state import HiddenState
from backends.unicorn_model.instructions.access_checks import is_unrestricted
from backends.unicorn_model.instructions.checked_mode import CheckedMode
from backends.unicorn_model.instructions.decode import Instruction, decode
from backends.unicorn_model.instructions.segment_loads import (
    is_segment_load,
    load,
    loads_stack_segment,
    register_moved,
)
from backends.unicorn_model.interruptions import (
    event_of_exception,
    event_of_page_fault,
    event_of_software_interrupt,
)
from backends.unicorn_model.long_mode.run import LongRun
from backends.unicorn_model.messages import End, Stop
from backends.unicorn_model.mmu import Mmu
from backends.unicorn_model.physical_memory import PhysicalMemory
from backends.unicorn_model.ports import DebugPort, Ports
from backends.unicorn_model.register_file import RegisterFile
from backends.unicorn_model.single_step import SingleStep
from backends.unicorn_model.stepper import Stepper
from backends.unicorn_model.stopped import StoppedProcessor
from backends.unicorn_model.tlb import flush_tlb
from backends.unicorn_model.watched import (
    HLT,
    IRET,
    POP_SS,
    POPF,
    STI,
    Operation,
    Watched,
)
from backends.unicorn_model.watched import decode as decode_watched
from conformance.observe.observation import ControlRegisters

__all__ = ["Run"]

_MASK = 0xFFFFFFFF
_CONTROL = {
    name: getattr(x86, f"UC_X86_REG_{name.upper()}") for name in ("cr0", "cr2", "cr3", "cr4")
}


class Run:
    """A run of a processor.

    Args:
        processor: in its entry state, with guest RAM, its virtual TLB switched on.
        memory: guest RAM.
        profile: what the processor's paging can do.
        in_long_mode: makes another processor, for 64-bit code, with the state of this one.
    """

    def __init__(
        self,
        processor: Uc,
        memory: memoryview,
        profile: CpuProfile,
        in_long_mode: Callable[[Uc], Uc],
    ) -> None:
        physical = PhysicalMemory(memory)
        self._memory = memory
        self._in_long_mode = in_long_mode
        self._mmu = mmu = Mmu(physical, profile)
        self._processor = processor
        self._control = ControlUnit(processor, physical, profile)
        self._hooked = RegisterFile(processor, (*GENERAL, "cs", "eflags"))
        self._hidden = HiddenState(processor)
        self._machine = StoppedProcessor(processor, memory, mmu, self._control, self._hidden)
        self._debug_port = DebugPort()
        self._interrupts = ExternalInterrupts()
        self._boundary = Boundary(self._interrupts)
        self._steps = SingleStep(processor)
        self._ports = Ports(
            {
                DebugPort.PORT: self._debug_port,
                **dict.fromkeys(ExternalInterrupts.PORTS, self._interrupts),
            }
        )
        self._emulation = Emulation(
            processor,
            memory,
            mmu,
            self._control,
            self._hidden,
            self._ports,
            before=self._is_ours,
            attend=self._attend,
        )
        self._stepper = Stepper(processor, _MASK)
        self._record = FaultRecord()
        self._checked = CheckedMode()
        # The linear address of an instruction that was checked and is Unicorn's to execute.
        self._passes: int | None = None
        # The linear address behind the last load of SS that was Unicorn's to execute.
        self._behind_stack_load: int | None = None

    def go(self, address: int) -> Stop:
        """Run from an address to the end."""
        try:
            end, detail = self._go(address)
        except NotModelled as error:
            long = self._control.is_long
            where = self._processor.reg_read(x86.UC_X86_REG_RIP if long else x86.UC_X86_REG_EIP)
            end, detail = End.NOT_MODELLED, f"{error} (at {where:#x})"
        control = {name: self._processor.reg_read(number) for name, number in _CONTROL.items()}
        return Stop(
            end,
            detail,
            console=bytes(self._debug_port.console),
            faults=self._record.faults,
            control=ControlRegisters(**control, efer=self._control.state.efer),
        )

    def _go(self, eip: int) -> tuple[End, str]:
        machine, boundary = self._machine, self._boundary
        while True:
            start = eip
            allowance = self._interrupts.blocks
            if boundary.must_step():
                self._stepper.step_one(machine)
                allowance = 1
            self._steps.begin(eip if machine.registers.eflags & TF else None)
            reason = self._emulation.resume(eip, allowance)
            self._passes = None
            self._control.check()
            if reason is Other.BELL:
                return End.BELL, ""
            machine.load()
            eip = machine.registers.eip
            stepped = self._stepper.finish(machine.linear(eip))
            if stepped or reason in (Other.USED_UP, Interrupted(DB, software=False)):
                # 17.3.1.1: an instruction has completed. (Unicorn leaves RF set up to some branch.)
                machine.change(eflags=machine.registers.eflags & ~RF)
            self._interrupts.executed(allowance - self._emulation.allowance_left)
            if reason is Other.DEVICE:
                boundary.halted = ran_into_hlt(machine, self._emulation.last_out)
            elif reason is Other.ENDED and not stepped:
                boundary.halted = True
            if machine.linear(eip) == self._behind_stack_load:
                boundary.blocking = Blocking.STACK
            elif not (reason is Other.BEFORE and eip == start):
                boundary.blocking = Blocking.NONE
            self._behind_stack_load = None
            went_on = start if reason in (Other.ENDED, Other.USED_UP) else None
            event = self._event(reason) or boundary.interrupt(machine, went_on)
            if event is not None:
                boundary.halted, boundary.blocking = False, Blocking.NONE
                outcome = deliver(machine, event)
                if outcome.shutdown:
                    # All that the last fault has changed.
                    self._processor.reg_write(x86.UC_X86_REG_CR2, machine.registers.cr2)
                    return End.SHUTDOWN, f"vector {event.vector} at {eip:#x}"
                self._record.add(outcome)
            elif boundary.halted:
                return End.HALTED, f"halted at {eip:#x}"
            machine.store()
            self._hidden.forget_exception()
            if self._control.is_long:
                return self._go_long(machine.registers.eip)
            registers = machine.registers
            eip = registers.eip
            self._watch()

    def _watch(self) -> None:
        """Look for the instructions that matter from now on."""
        registers, watch = self._machine.registers, self._emulation.watch
        if registers.eflags & NT:
            watch.watch_opcodes(IRET)
        if self._steps.in_use:
            watch.watch_opcodes(IRET + POPF + POP_SS + HLT)
        if self._interrupts.used:
            watch.watch_opcodes(IRET + POPF + POP_SS + HLT + STI)
        if self._checked.update(registers):
            watch.watch_all(on=self._checked.on)

    def _attend(self) -> Other | None:
        """During emulation, after OUT."""
        if self._debug_port.rang:
            return Other.BELL
        return Other.DEVICE if self._interrupts.has_changed() else None

    def _go_long(self, eip: int) -> tuple[End, str]:
        """IA-32e mode was entered: go on there."""
        self._processor = self._in_long_mode(self._processor)
        self._control.attach(self._processor)
        run = LongRun(
            self._processor,
            self._memory,
            self._mmu,
            self._control,
            self._ports,
            self._attend,
            self._record,
        )
        return run.go(eip)

    def _event(self, reason: Reason) -> Event | None:
        """What is to be delivered; before that, execute what the model executes."""
        machine = self._machine
        match reason:
            case PageFaulted(fault, access):
                if access is Access.FETCH and self._steps_to(fault.linear):
                    return None
                return event_of_page_fault(machine, fault, access)
            case Interrupted(vector, software=True):
                return event_of_software_interrupt(machine, vector)
            case Interrupted(vector, software=False) if vector == DB:
                return self._steps.end(machine)
            case Interrupted(vector, software=False):
                return event_of_exception(machine, vector)
            case Other.BEFORE:
                return self._execute()
            case Other.ENDED if self._boundary.halted and machine.registers.eflags & TF:
                return self._steps.trap()
            case _:
                return None

    def _steps_to(self, page: int) -> bool:
        machine = self._machine
        eip = machine.registers.eip
        instruction = decode(machine.code(eip))
        length = None if instruction is None else instruction.length
        return self._stepper.step(machine.linear(eip), length, page)

    def _is_ours(self, linear: int) -> bool:
        """During emulation: whether the model executes or checks an instruction."""
        if linear == self._passes:
            self._passes = None
            return False
        held = self._hooked.read()
        code = self._machine.code_at(linear, held["cs"] & 3)
        watched = decode_watched(code)
        if watched is None:
            instruction = decode(code)
            if instruction is None:
                return False
            if is_segment_load(instruction):
                return not self._is_reload(instruction, linear, held)
            return self._is_checked(instruction, code)
        if watched.operation is Operation.INVLPG:
            # 4.10.4.1: for all of the page, which may be larger than those that Unicorn keeps.
            flush_tlb(self._processor)
            return False
        if is_executed(
            watched,
            self._control,
            ecx=held["ecx"],
            eflags=held["eflags"],
            pending=self._interrupts.pending,
        ):
            return True
        if self._steps.in_use and watched.operation in (Operation.IRET, Operation.POPF):
            self._steps.foresee(self._machine, watched)
        return False

    def _is_reload(self, instruction: Instruction, linear: int, held: dict[str, int]) -> bool:
        """Whether a load of a segment register is as good as none: an interrupt handler's."""
        moved = register_moved(instruction)
        if moved is None or held["cs"] & 3 or self._checked.on:
            return False
        target, source = moved
        if target == "ss" and held["eflags"] & TF:
            return False
        if not self._machine.holds(target, held[source] & 0xFFFF):
            return False
        if target == "ss":
            self._behind_stack_load = linear + instruction.length & _MASK
        return True

    def _is_checked(self, instruction: Instruction, code: bytes) -> bool:
        if not self._checked.concerns(code):
            return False
        if self._checked.on:
            return True
        name = self._checked.rarely_used(instruction)
        if name is None:
            return False
        return not is_unrestricted(self._hidden.segments()[name].descriptor)

    def _execute(self) -> Event | None:
        """Execute the instruction at EIP, or see what it raises."""
        machine = self._machine
        registers = machine.registers
        code = machine.code(registers.eip)
        instruction = decode(code)
        watched = decode_watched(code)
        traps = bool(registers.eflags & TF)
        try:
            if watched is not None:
                execute(machine, self._control, watched)
                self._note(watched, registers.eflags)
            elif instruction is not None and is_segment_load(instruction):
                load(machine, instruction)
                if loads_stack_segment(instruction):
                    traps &= not self._boundary.load_stack_segment()
                else:
                    self._boundary.blocking = Blocking.NONE
            else:
                fault = self._checked.fault_before(code, registers)
                if fault is not None:
                    raise fault
                self._passes = machine.linear(registers.eip)
                return None
        except (Fault, PageFault) as fault:
            return exception_of(fault)
        return self._steps.trap() if traps else None

    def _note(self, watched: Watched, eflags: int) -> None:
        """What a watched instruction means for the boundary behind it."""
        enables = watched.operation is Operation.STI and not eflags & IF
        self._boundary.blocking = Blocking.STI if enables else Blocking.NONE
        self._boundary.halted = watched.operation is Operation.HLT
