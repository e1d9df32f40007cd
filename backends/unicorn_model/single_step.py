"""Single-stepping: which instruction EFLAGS.TF traps, and that Unicorn has executed no other.

SDM vol. 3, 17.3.1.4: "a debug exception is generated after the instruction that is executed while
the TF flag was already set at its beginning". So POPF and IRET that set it are not trapped, and
POPF that clears it still is. An interrupt or exception that is delivered clears it first, so INT n
is not trapped. 6.8.3: MOV and POP to SS hold the trap back to the end of the next instruction.

All of these the model executes itself when TF is set. The others Unicorn executes, and stops behind
each while it holds TF. That it was one instruction, or one iteration of a repeated one, is checked.
"""

from __future__ import annotations

from typing import Any

import unicorn.x86_const as x86
from unicorn.unicorn_py3 import Uc

from backends.unicorn_model.delivery.flags import TF
from backends.unicorn_model.delivery.vectors import DB, ProcessorException
from backends.unicorn_model.faults import NotModelled
from backends.unicorn_model.instructions.decoded import DecodedInstruction
from backends.unicorn_model.stopped_state import StoppedState

__all__ = ["SingleStep", "successors"]

_SINGLE_STEP = 1 << 14  # DR6.BS

# Volume 2, table A-2: near branches, by what tells where they lead.
_CONDITIONAL = {*range(0x70, 0x80), *range(0xE0, 0xE4)}
_CONDITIONAL_LONG = range(0x0F80, 0x0F90)
_CALL, _JMP, _JMP_SHORT = 0xE8, 0xE9, 0xEB
# Far and indirect ones, returns, and what changes to another ring.
_ANYWHERE = {0x9A, 0xEA, 0xC2, 0xC3, 0xCA, 0xCB, 0xCF, 0x0F05, 0x0F07, 0x0F34, 0x0F35}
_GROUP_5, _GROUP_5_BRANCHES = 0xFF, range(2, 6)


class SingleStep:
    """The step that is going on.

    Attributes:
        in_use: TF has been seen set. Before that nobody looks for POPF and IRET, and of the first
            instruction behind one that sets TF it is not known where it was.
    """

    def __init__(self, processor: Uc) -> None:
        self._processor = processor
        self._start: int | None = None
        self.in_use = False

    def begin(self, eip: int | None) -> None:
        """Note where the next instruction is, if TF is set."""
        self._start = eip
        self.in_use = self.in_use or eip is not None

    def foresee(self, eip: int, flags: int) -> None:
        """During emulation, before a POPF or IRET that Unicorn executes: where it leads, and the
        flags that it loads.
        """
        if flags & TF:
            self._start = eip

    def end(self, machine: StoppedState[Any]) -> ProcessorException:
        """Unicorn has executed an instruction that began with TF set: the trap.

        Raises:
            NotModelled: it has executed something else.
        """
        start, eip = self._start, machine.pointer
        repeated = False
        if start is not None:
            instruction = machine.instruction(start)
            expected = None if instruction is None else successors(instruction, start)
            if expected is not None and eip not in expected:
                raise NotModelled(f"single-stepping from {start:#x}: Unicorn came to {eip:#x}")
            repeated = instruction is not None and instruction.is_repeated and eip == start
        return self.trap(mid_string=repeated)

    def trap(self, *, mid_string: bool = False) -> ProcessorException:
        """The exception; 17.2.3: DR6.BS is set for it, and nothing there is cleared."""
        self._start = None
        self.in_use = True
        status = self._processor.reg_read(x86.UC_X86_REG_DR6)
        if not status & _SINGLE_STEP:
            self._processor.reg_write(x86.UC_X86_REG_DR6, status | _SINGLE_STEP)
        return ProcessorException(DB, mid_string=mid_string)


def successors(instruction: DecodedInstruction, eip: int) -> frozenset[int] | None:
    """Where EIP (or RIP) can be after the instruction at `eip`; None: anywhere.

    After an iteration of a repeated string instruction it is where it was, until it is over.
    """
    opcode = instruction.opcode
    following = instruction.next_eip(eip)
    if instruction.vector:
        return frozenset({following})
    if opcode in _ANYWHERE:
        return None
    if opcode == _GROUP_5 and instruction.extension in _GROUP_5_BRANCHES:
        return None
    if instruction.is_repeated:
        return frozenset({eip, following})
    if opcode in _CONDITIONAL or opcode in _CONDITIONAL_LONG:
        return frozenset({following, instruction.branch_target(eip)})
    if opcode in (_CALL, _JMP, _JMP_SHORT):
        return frozenset({instruction.branch_target(eip)})
    return frozenset({following})
