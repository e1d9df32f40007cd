"""Unicorn's emulation, up to where the model has to act: its hooks, and why they stopped it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import unicorn.unicorn_const as uc
import unicorn.x86_const as x86
from unicorn.unicorn_py3 import Uc, UcError

from backends.unicorn_model.access_rights import Access, Privilege
from backends.unicorn_model.block_counter import BlockCounter
from backends.unicorn_model.control_unit import ControlUnit
from backends.unicorn_model.delivery.flags import IOPL
from backends.unicorn_model.faults import NonCanonical, NotModelled, PageFault
from backends.unicorn_model.hidden_state import HiddenState
from backends.unicorn_model.mmu import Mmu
from backends.unicorn_model.page_watch import Find, PageWatch, find
from backends.unicorn_model.ports import Ports

__all__ = ["Emulation", "Interrupted", "NowhereAccessed", "Other", "PageFaulted", "Reason"]

_PAGE = 0x1000
_INVALID_OPCODE = 6
_ACCESSES = {
    uc.UC_MEM_READ: Access.READ,
    uc.UC_MEM_WRITE: Access.WRITE,
    uc.UC_MEM_FETCH: Access.FETCH,
}
# In 64-bit mode CPUID clears the upper halves, and what is written to the names of the lower ones
# does not.
_CPUID_ANSWER, _LONG_CPUID_ANSWER = (
    tuple(getattr(x86, f"UC_X86_REG_{size}{letter}X") for letter in "ABCD") for size in "ER"
)


@dataclass(frozen=True, slots=True)
class PageFaulted:
    """A translation failed; Unicorn says of which page, not of which address in it."""

    fault: PageFault
    access: Access


@dataclass(frozen=True, slots=True)
class NowhereAccessed:
    """An address that is not canonical; Unicorn says no more of it than of a page fault's."""

    access: Access


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Unicorn's processor raised an exception, or executed INT n, INT3 or INTO.

    Attributes:
        software: the latter; EIP is behind the instruction.
    """

    vector: int
    software: bool


class Other(Enum):
    """What needs no more words."""

    BEFORE = "before an instruction that the model executes or checks"
    BELL = "the guest rang"
    DEVICE = "behind an OUT that a device has to be looked at for: at the end of its block"
    USED_UP = "before a block for which there was no allowance"
    ENDED = "by itself: the guest halted, or a step is done"


Reason = PageFaulted | NowhereAccessed | Interrupted | Other


class Emulation:
    """One processor's emulation.

    Attributes:
        watch: the instructions before which it may stop.
        last_out: the EIP, or RIP, of the last OUT for which it did.

    Args:
        processor: in its entry state, with guest RAM.
        memory: guest RAM.
        before: asked before each watched instruction, by its linear address: stop there?
        attend: asked after each OUT for a reason to stop.
        find: which instructions are watched; by default those of 32-bit code.
    """

    def __init__(
        self,
        processor: Uc,
        memory: memoryview,
        mmu: Mmu,
        control: ControlUnit,
        hidden: HiddenState,
        ports: Ports,
        before: Callable[[int], bool],
        attend: Callable[[], Other | None],
        find: Find = find,
    ) -> None:
        self._processor = processor
        self._memory = memory
        self._mmu = mmu
        self._control = control
        self._hidden = hidden
        self._ports = ports
        self._attend = attend
        self._before = before
        self._reason: Reason | NotModelled = Other.ENDED
        self._blocks = BlockCounter(processor)
        self._is_long = bool(processor.ctl_get_mode() & uc.UC_MODE_64)
        self._pointer = x86.UC_X86_REG_RIP if self._is_long else x86.UC_X86_REG_EIP
        self.last_out = 0
        self.watch = PageWatch(processor, self._come_to, find)
        processor.hook_add(uc.UC_HOOK_TLB_FILL, self._fill)
        processor.hook_add(uc.UC_HOOK_INTR, self._interrupt)
        processor.hook_add(uc.UC_HOOK_INSN_INVALID, self._invalid)
        processor.hook_add(uc.UC_HOOK_INSN, self._in, aux1=x86.UC_X86_INS_IN)
        processor.hook_add(uc.UC_HOOK_INSN, self._out, aux1=x86.UC_X86_INS_OUT)
        processor.hook_add(uc.UC_HOOK_INSN, self._cpuid, aux1=x86.UC_X86_INS_CPUID)

    def resume(self, eip: int, allowance: int = 0) -> Reason:
        """Go on until something stops it.

        Args:
            eip: where.
            allowance: how many blocks may begin; 0: any number.

        Raises:
            NotModelled: the guest did something that neither Unicorn nor the model has a rule for.
        """
        self._reason = Other.ENDED
        self._blocks.limit(allowance)
        problem = ""
        try:
            self._processor.emu_start(eip, until=0)
        except UcError as error:
            problem = str(error)
        if isinstance(self._reason, NotModelled):
            raise self._reason
        if problem and self._reason is Other.ENDED:
            raise NotModelled(problem)
        if self._reason is Other.ENDED and self._blocks.is_used_up:
            return Other.USED_UP
        return self._reason

    @property
    def allowance_left(self) -> int:
        """How many blocks more might have begun."""
        return self._blocks.left

    def _stop(self, reason: Reason | NotModelled) -> None:
        # The first reason is the one. From some hooks Unicorn goes on to the end of a block.
        if self._reason in (Other.ENDED, Other.DEVICE):
            self._reason = reason
        self._processor.emu_stop()

    def _come_to(self, address: int) -> None:
        try:
            if self._before(address):
                self._stop(Other.BEFORE)
        except NotModelled as error:
            self._stop(error)

    def _fill(self, _: Any, page: int, access: int, entry: Any, __: Any) -> bool:
        kind = _ACCESSES[access]
        privilege = Privilege.USER if self._cpl() == 3 else Privilege.SUPERVISOR
        try:
            translation = self._mmu.translate(self._control.state, page, kind, privilege)
            frame = translation.frame
            if frame >= len(self._memory):
                raise NotModelled(f"there is no memory at physical {translation.physical:#x}")
            if kind is Access.FETCH:
                self.watch.look(page, bytes(self._memory[frame : frame + _PAGE]))
        except PageFault as fault:
            self._stop(PageFaulted(fault, kind))
            return False
        except NonCanonical:
            self._stop(NowhereAccessed(kind))
            return False
        except NotModelled as error:
            self._stop(error)
            return False
        readable = uc.UC_PROT_READ if translation.readable else 0
        writable = uc.UC_PROT_WRITE if translation.writable else 0
        executable = uc.UC_PROT_EXEC if translation.executable else 0
        entry.paddr = frame
        entry.perms = readable | writable | executable
        return True

    def _interrupt(self, _: Any, vector: int, __: Any) -> None:
        self._stop(Interrupted(vector, self._hidden.software_interrupt()))

    def _invalid(self, *_: Any) -> bool:
        self._stop(Interrupted(_INVALID_OPCODE, software=False))
        return False

    def _in(self, _: Any, port: int, size: int, __: Any) -> int:
        if self._may_use_ports():
            try:
                return self._ports.read(port, size)
            except NotModelled as error:
                self._stop(error)
        return 0

    def _out(self, _: Any, port: int, size: int, value: int, __: Any) -> None:
        if self._may_use_ports():
            try:
                self._ports.write(port, size, value)
            except NotModelled as error:
                self._stop(error)
            reason = self._attend()
            if reason is not None:
                self.last_out = self._processor.reg_read(self._pointer)
                self._stop(reason)

    def _cpuid(self, processor: Any, _: Any) -> bool:
        """Answer for Unicorn where it would say something else than the profile; else say False."""
        answer = self._control.cpuid(processor.reg_read(x86.UC_X86_REG_EAX))
        if answer is not None:
            names = _LONG_CPUID_ANSWER if self._is_long else _CPUID_ANSWER
            for register, value in zip(names, answer, strict=True):
                processor.reg_write(register, value)
        return answer is not None

    def _may_use_ports(self) -> bool:
        """SDM vol. 1, 18.5: Unicorn does not ask."""
        cpl = self._cpl()
        if cpl and cpl > (self._processor.reg_read(x86.UC_X86_REG_EFLAGS) & IOPL) >> 12:
            self._stop(NotModelled(f"CPL={cpl}: the I/O permission bit map"))
            return False
        return True

    def _cpl(self) -> int:
        return int(self._processor.reg_read(x86.UC_X86_REG_CS)) & 3
