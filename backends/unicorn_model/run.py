"""One run: it begins with 32-bit code, whose rules are here."""

from __future__ import annotations

from collections.abc import Callable

import unicorn.x86_const as x86
from unicorn.unicorn_py3 import Uc

from backends.unicorn_model.board import Board
from backends.unicorn_model.control_unit import ControlUnit
from backends.unicorn_model.cpu_profile import CpuProfile
from backends.unicorn_model.delivery.deliver import deliver, exception_of
from backends.unicorn_model.delivery.flags import IF, NT, TF
from backends.unicorn_model.delivery.machine import GENERAL
from backends.unicorn_model.delivery.vectors import Event, Fault
from backends.unicorn_model.executed import execute, is_executed
from backends.unicorn_model.execution import Execution, Rules
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
from backends.unicorn_model.page_watch import find
from backends.unicorn_model.register_file import RegisterFile
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
_RULES = Rules(event_of_page_fault, event_of_software_interrupt, event_of_exception, deliver)


class Run(Execution[StoppedProcessor]):
    """A run of a processor.

    Args:
        processor: in its entry state, with guest RAM, its virtual TLB switched on.
        memory: guest RAM.
        profile: what the processor's paging can do.
        in_long_mode: makes another processor, for 64-bit code, with the state of this one.
    """

    TRACED = IRET + POPF + POP_SS + HLT
    INTERRUPTED = STI

    def __init__(
        self,
        processor: Uc,
        memory: memoryview,
        profile: CpuProfile,
        in_long_mode: Callable[[Uc], Uc],
    ) -> None:
        board = Board(memory, profile)
        control = ControlUnit(processor, board.physical, profile)
        hidden = HiddenState(processor)
        machine = StoppedProcessor(processor, board, control, hidden)
        super().__init__(processor, board, control, hidden, machine, find, _RULES)
        self._in_long_mode = in_long_mode
        self._hooked = RegisterFile(processor, (*GENERAL, "eip", "cs", "eflags"))
        self._checked = CheckedMode()

    def go(self, address: int) -> Stop:
        """Run from an address to the end."""
        try:
            end, detail = self.execute(address)
        except NotModelled as error:
            long = self._control.is_long
            where = self._processor.reg_read(x86.UC_X86_REG_RIP if long else x86.UC_X86_REG_EIP)
            end, detail = End.NOT_MODELLED, f"{error} (at {where:#x})"
        control = {name: self._processor.reg_read(number) for name, number in _CONTROL.items()}
        return Stop(
            end,
            detail,
            console=bytes(self._board.debug_port.console),
            faults=self._board.record.faults,
            control=ControlRegisters(**control, efer=self._control.state.efer),
        )

    def _watch(self) -> None:
        super()._watch()
        registers, watch = self._machine.registers, self._emulation.watch
        if registers.eflags & NT:
            watch.watch_opcodes(IRET)
        if self._checked.update(registers):
            watch.watch_all(on=self._checked.on)

    def _execute_elsewhere(self) -> tuple[End, str] | None:
        """IA-32e mode, once it was entered."""
        if not self._control.is_long:
            return None
        self._processor = self._in_long_mode(self._processor)
        self._control.attach(self._processor)
        return LongRun(self._processor, self._board, self._control).execute(self._machine.pointer)

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
            self._foresee(watched, held["eip"])
        return False

    def _foresee(self, watched: Watched, eip: int) -> None:
        """Before IRET or POPF: note where the next instruction is, if it sets TF."""
        returns = watched.operation is Operation.IRET
        words = self._machine.peek_stack(3 if returns else 1)
        if words is not None:
            behind = words[0] if returns else eip + watched.length & _MASK
            self._steps.foresee(behind, words[-1])

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
                self._boundary.complete(
                    enables=watched.operation is Operation.STI and not registers.eflags & IF,
                    halts=watched.operation is Operation.HLT,
                )
            elif instruction is not None and is_segment_load(instruction):
                load(machine, instruction)
                if loads_stack_segment(instruction):
                    traps &= not self._boundary.load_stack_segment()
                else:
                    self._boundary.complete()
            else:
                fault = self._checked.fault_before(code, registers)
                if fault is not None:
                    raise fault
                self._passes = machine.linear(registers.eip)
                return None
        except (Fault, PageFault) as fault:
            return exception_of(fault)
        return self._steps.trap() if traps else None
