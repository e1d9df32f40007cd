"""A run in IA-32e mode: like that of 32-bit code, with the rules of 64-bit mode.

It begins where paging was turned on, in compatibility mode. Unicorn's processor for 32-bit code
does not show its 64-bit registers; so another one, for 64-bit code, takes over its state.
"""

from __future__ import annotations

from unicorn.unicorn_py3 import Uc

from backends.unicorn_model.board import Board
from backends.unicorn_model.control_unit import ControlUnit
from backends.unicorn_model.delivery.deliver import Outcome, exception_of
from backends.unicorn_model.delivery.flags import IF, TF
from backends.unicorn_model.delivery.vectors import Event, Fault
from backends.unicorn_model.emulation import NowhereAccessed, Reason
from backends.unicorn_model.execution import Execution, Rules
from backends.unicorn_model.faults import NotModelled, PageFault
from backends.unicorn_model.hidden_state import HiddenState
from backends.unicorn_model.instructions.access_checks import ALIGNMENT_MASK
from backends.unicorn_model.long_mode.accesses import (
    accesses,
    first_fault,
    is_checked_for_alignment,
)
from backends.unicorn_model.long_mode.delivery.deliver import deliver
from backends.unicorn_model.long_mode.delivery.machine import GENERAL
from backends.unicorn_model.long_mode.executed import execute, is_executed
from backends.unicorn_model.long_mode.instructions import Instruction, decode
from backends.unicorn_model.long_mode.interruptions import (
    event_of_access_nowhere,
    event_of_exception,
    event_of_page_fault,
    event_of_software_interrupt,
)
from backends.unicorn_model.long_mode.processor import LongProcessor
from backends.unicorn_model.long_mode.segment_loads import (
    check_load,
    is_segment_load,
    load_stack_segment,
)
from backends.unicorn_model.long_mode.watched import Operation, Watched, find
from backends.unicorn_model.long_mode.watched import decode as decode_watched
from backends.unicorn_model.register_file import RegisterFile
from backends.unicorn_model.tlb import flush_tlb
from backends.unicorn_model.watched import HLT, POPF, STI

__all__ = ["LongRun"]

_MASK = (1 << 64) - 1
_RULES = Rules(event_of_page_fault, event_of_software_interrupt, event_of_exception, deliver)


class LongRun(Execution[LongProcessor]):
    """A run of a processor in IA-32e mode.

    Args:
        processor: for 64-bit code, in the state of the one that has entered IA-32e mode.
        board: what is around it.
        control: the control registers, attached to the processor.
    """

    TRACED = POPF + HLT
    INTERRUPTED = STI

    def __init__(self, processor: Uc, board: Board, control: ControlUnit) -> None:
        hidden = HiddenState(processor)
        machine = LongProcessor(processor, board, control, hidden)
        super().__init__(processor, board, control, hidden, machine, find, _RULES)
        self._hooked = RegisterFile(processor, (*GENERAL, "cs", "rflags"))
        self._is_64_bit = False
        self._checks_alignment = False

    def _watch(self) -> None:
        super()._watch()
        # CR0.AM: from now on, look at every instruction.
        checks = bool(self._machine.registers.cr0 & ALIGNMENT_MASK)
        if checks != self._checks_alignment:
            self._checks_alignment = checks
            self._emulation.watch.watch_all(on=checks)

    def _interruption(self, reason: Reason) -> Event | None:
        self._require_64_bit(str(reason))
        if isinstance(reason, NowhereAccessed):
            return event_of_access_nowhere(self._machine, reason.access)
        return super()._interruption(reason)

    def _deliver(self, event: Event) -> Outcome:
        self._require_64_bit(str(event))
        return super()._deliver(event)

    def _require_64_bit(self, what: str) -> None:
        code = self._machine.registers.cs.descriptor
        if code is None or not code.long:
            raise NotModelled(f"{what} in compatibility mode")

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
        held = self._hooked.read()
        cpl = held["cs"] & 3
        watched = decode_watched(self._machine.code_at(linear, cpl))
        if watched is not None:
            if watched.operation is Operation.MOV_TO_SS:
                return not self._is_reload(watched, linear, held)
            if is_executed(watched, held.__getitem__, pending=self._interrupts.pending):
                return True
            if watched.operation is Operation.INVLPG:
                # 4.10.4.1: for all of the page, which may be larger than those that Unicorn keeps.
                flush_tlb(self._processor)
                return False
            if watched.operation is Operation.POPF and self._steps.in_use:
                self._foresee(linear + watched.length & _MASK)
        return self._checks_alignment and cpl == 3

    def _foresee(self, behind: int) -> None:
        """Before POPF: note where the next instruction is, if it sets TF."""
        flags = self._machine.peek_stack()
        if flags is not None:
            self._steps.foresee(behind, flags)

    def _is_reload(self, watched: Watched, linear: int, held: dict[str, int]) -> bool:
        """Whether MOV to SS is as good as none."""
        if not watched.register or held["cs"] & 3 or held["rflags"] & TF:
            return False
        if not self._machine.holds("ss", held[watched.register] & 0xFFFF):
            return False
        self._behind_stack_load = linear + watched.length & _MASK
        return True

    def _execute(self) -> Event | None:
        machine = self._machine
        registers = machine.registers
        code = machine.code()
        watched = decode_watched(code)
        instruction = decode(code)
        traps = bool(registers.rflags & TF)
        try:
            if watched is not None and is_executed(
                watched,
                lambda name: int(getattr(registers, name)),
                pending=self._interrupts.pending,
            ):
                execute(machine, self._control, watched)
                self._boundary.complete(
                    enables=watched.operation is Operation.STI and not registers.rflags & IF,
                    halts=watched.operation is Operation.HLT,
                )
            elif (
                watched is not None
                and watched.operation is Operation.MOV_TO_SS
                and instruction is not None
            ):
                load_stack_segment(machine, instruction)
                traps &= not self._boundary.load_stack_segment()
            else:
                self._check(instruction)
                self._passes = registers.rip
                return None
        except (Fault, PageFault) as fault:
            return exception_of(fault)
        return self._steps.trap() if traps else None

    def _check(self, instruction: Instruction | None) -> None:
        """Raise what Unicorn would not raise: #AC."""
        registers = self._machine.registers
        if instruction is not None and is_segment_load(instruction):
            check_load(self._machine, instruction)
        if instruction is not None and is_checked_for_alignment(registers):
            fault = first_fault(accesses(instruction, registers), registers)
            if fault is not None:
                raise fault
