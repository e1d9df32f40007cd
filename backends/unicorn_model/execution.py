"""Execution in one mode: Unicorn's processor, stopped where the model has to act, and started anew.

Unicorn is left to what it does as the processor does. Everything else stops it: a fault, and each
instruction that the model executes itself. Then the processor stands between two instructions
(stopped), the model acts by the manual, and Unicorn goes on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import unicorn.x86_const as x86
from unicorn.unicorn_py3 import Uc

from backends.unicorn_model.access_rights import Access
from backends.unicorn_model.board import Board
from backends.unicorn_model.boundary import Blocking, Boundary, ran_into_hlt
from backends.unicorn_model.control_unit import ControlUnit
from backends.unicorn_model.delivery.deliver import Outcome
from backends.unicorn_model.delivery.flags import RF, TF
from backends.unicorn_model.delivery.vectors import DB, Event
from backends.unicorn_model.emulation import Emulation, Interrupted, Other, PageFaulted, Reason
from backends.unicorn_model.faults import PageFault
from backends.unicorn_model.hidden_state import HiddenState
from backends.unicorn_model.messages import End
from backends.unicorn_model.page_watch import Find
from backends.unicorn_model.single_step import SingleStep
from backends.unicorn_model.stepper import Stepper
from backends.unicorn_model.stopped_state import StoppedState

__all__ = ["Execution", "Rules"]

M = TypeVar("M", bound=StoppedState[Any])


@dataclass(frozen=True, slots=True)
class Rules(Generic[M]):
    """How a mode has interruptions.

    Attributes:
        page_fault: the event that a page fault is.
        software_interrupt: the one that INT n or the like is.
        exception: the one that another exception is; None if the manual has none.
        deliver: delivers an event.
    """

    page_fault: Callable[[M, PageFault, Access], Event | None]
    software_interrupt: Callable[[M, int], Event]
    exception: Callable[[M, int], Event | None]
    deliver: Callable[[M, Event], Outcome]


class Execution(ABC, Generic[M]):
    """What a processor executes in one mode; the rules of the mode are its subclass's.

    Attributes:
        TRACED: opcodes of one byte that matter once EFLAGS.TF has been seen set.
        INTERRUPTED: and once external interrupts may come.

    Args:
        processor: in the mode.
        board: what is around it.
        control: its control registers.
        hidden: what Unicorn does not show of it.
        machine: the same processor, while it is stopped.
        find: which instructions are watched.
        rules: how the mode has interruptions.
    """

    TRACED: bytes
    INTERRUPTED: bytes

    def __init__(
        self,
        processor: Uc,
        board: Board,
        control: ControlUnit,
        hidden: HiddenState,
        machine: M,
        find: Find,
        rules: Rules[M],
    ) -> None:
        self._rules = rules
        self._processor = processor
        self._board = board
        self._control = control
        self._hidden = hidden
        self._machine = machine
        self._interrupts = board.interrupts
        self._boundary = Boundary(board.interrupts)
        self._steps = SingleStep(processor)
        self._stepper = Stepper(processor)
        self._emulation = Emulation(
            processor,
            board.memory,
            board.mmu,
            control,
            hidden,
            board.ports,
            before=self._is_ours,
            attend=board.attend,
            find=find,
        )
        # The linear address of an instruction that was checked and is Unicorn's to execute.
        self._passes: int | None = None
        # The linear address behind the last load of SS that was Unicorn's to execute.
        self._behind_stack_load: int | None = None

    def execute(self, eip: int) -> tuple[End, str]:
        """Execute from an address to the end of the run, in this mode or another.

        Raises:
            NotModelled: the model has no rule.
        """
        machine, boundary = self._machine, self._boundary
        self._watch()
        while True:
            start = eip
            allowance = self._interrupts.blocks
            if boundary.must_step():
                self._stepper.step_one(machine)
                allowance = 1
            self._steps.begin(eip if machine.flags & TF else None)
            reason = self._emulation.resume(eip, allowance)
            self._passes = None
            self._control.check()
            if reason is Other.BELL:
                return End.BELL, ""
            machine.load()
            eip = machine.pointer
            stepped = self._stepper.finish(machine.linear(eip))
            if stepped or reason in (Other.USED_UP, Interrupted(DB, software=False)):
                # 17.3.1.1: an instruction has completed. (Unicorn leaves RF set up to some branch.)
                machine.change_flags(machine.flags & ~RF)
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
                outcome = self._deliver(event)
                if outcome.shutdown:
                    # All that the last fault has changed.
                    self._processor.reg_write(x86.UC_X86_REG_CR2, machine.registers.cr2)
                    return End.SHUTDOWN, f"vector {event.vector} at {eip:#x}"
                self._board.record.add(outcome)
            elif boundary.halted:
                return End.HALTED, f"halted at {eip:#x}"
            machine.store()
            self._hidden.forget_exception()
            eip = machine.pointer
            elsewhere = self._execute_elsewhere()
            if elsewhere is not None:
                return elsewhere
            self._watch()

    def _event(self, reason: Reason) -> Event | None:
        """What is to be delivered; before that, execute what the model executes."""
        match reason:
            case PageFaulted(fault, Access.FETCH) if self._steps_to(fault.linear):
                return None
            case Interrupted(vector, software=False) if vector == DB:
                return self._steps.end(self._machine)
            case Other.BEFORE:
                return self._execute()
            case Other.ENDED if self._boundary.halted and self._machine.flags & TF:
                return self._steps.trap()
            case Other():
                return None
            case _:
                return self._interruption(reason)

    def _steps_to(self, page: int) -> bool:
        """Whether instructions were fetched from a page too early, and a step goes there."""
        return self._stepper.step(self._machine, page)

    def _watch(self) -> None:
        """Look for the instructions that matter from now on."""
        watch = self._emulation.watch
        if self._steps.in_use:
            watch.watch_opcodes(self.TRACED)
        if self._interrupts.used:
            watch.watch_opcodes(self.TRACED + self.INTERRUPTED)

    def _execute_elsewhere(self) -> tuple[End, str] | None:
        """Go on in another mode, if that was entered; answers how the run ended there."""
        return None

    @abstractmethod
    def _is_ours(self, linear: int) -> bool:
        """During emulation: whether the model executes or checks an instruction."""

    @abstractmethod
    def _execute(self) -> Event | None:
        """Execute the instruction at which it was stopped, or see what it raises."""

    def _interruption(self, reason: Reason) -> Event | None:
        """The event that Unicorn was interrupted by."""
        machine, rules = self._machine, self._rules
        match reason:
            case PageFaulted(fault, access):
                return rules.page_fault(machine, fault, access)
            case Interrupted(vector, software=True):
                return rules.software_interrupt(machine, vector)
            case Interrupted(vector, software=False):
                return rules.exception(machine, vector)
            case _:
                raise AssertionError(reason)

    def _deliver(self, event: Event) -> Outcome:
        return self._rules.deliver(self._machine, event)
