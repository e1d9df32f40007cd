"""Unicorn's processor between two instructions: what is the same in every mode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Generic, TypeVar

import unicorn.x86_const as x86
from unicorn.unicorn_py3 import Uc

from backends.unicorn_model.access_rights import Access
from backends.unicorn_model.board import Board
from backends.unicorn_model.control_unit import ControlUnit
from backends.unicorn_model.delivery.descriptors import decode_descriptor
from backends.unicorn_model.delivery.machine import SEGMENTS, Registers, Segment, Table
from backends.unicorn_model.hidden_state import SYSTEM_SEGMENTS, HiddenState
from backends.unicorn_model.instructions.decoded import LONGEST, DecodedInstruction
from backends.unicorn_model.linear_memory import LinearMemory
from backends.unicorn_model.long_mode.delivery.machine import Registers as LongRegisters
from backends.unicorn_model.register_file import RegisterFile

__all__ = ["StoppedState"]

_ALL_SEGMENTS = (*SEGMENTS, *SYSTEM_SEGMENTS)
_CONTROL = {name: getattr(x86, f"UC_X86_REG_{name.upper()}") for name in ("cr0", "cr3")}

R = TypeVar("R", bound=Registers | LongRegisters)


class StoppedState(LinearMemory, ABC, Generic[R]):
    """The registers of a processor that is stopped, and its memory.

    Registers that are set reach Unicorn with `store`.

    Attributes:
        GENERAL: the names of the general registers.
        STACK_POINTER: that of the stack pointer.
        POINTER: that of the instruction pointer.
        FLAGS: that of the flags.
        registers: as they are now.

    Args:
        processor: whose emulation is stopped.
        board: what is around it.
        control: its control registers.
        hidden: what Unicorn does not show of it.
    """

    GENERAL: ClassVar[tuple[str, ...]]
    STACK_POINTER: ClassVar[str]
    POINTER: ClassVar[str]
    FLAGS: ClassVar[str]

    registers: R

    def __init__(
        self, processor: Uc, board: Board, control: ControlUnit, hidden: HiddenState
    ) -> None:
        super().__init__(processor, board.memory, board.mmu, control)
        self._hidden = hidden
        self._stack = RegisterFile(processor, (self.STACK_POINTER, "cs"))
        written = (*self.GENERAL, self.POINTER, self.FLAGS, "cr0", "cr2")
        self._written = {name: getattr(x86, f"UC_X86_REG_{name.upper()}") for name in written}
        self._file = RegisterFile(processor, (*written, "cr3"))
        self._held = self.registers = self._read_registers()

    @property
    def pointer(self) -> int:
        """EIP or RIP."""
        return int(getattr(self.registers, self.POINTER))

    @property
    def flags(self) -> int:
        """EFLAGS or RFLAGS."""
        return int(getattr(self.registers, self.FLAGS))

    def load(self) -> None:
        """Take over the registers, after emulation."""
        self.forget_translations()
        self._held = self.registers = self._read_registers()

    def store(self) -> None:
        """Put the registers that were set into the processor.

        Raises:
            NotModelled: Unicorn cannot be brought to hold them.
        """
        wanted, held = self.registers, self._held
        if wanted is held:
            return
        segments = {
            name: getattr(wanted, name)
            for name in _ALL_SEGMENTS
            if getattr(wanted, name) != getattr(held, name)
        }
        if segments:
            self._load_segments(segments, wanted.cpl)
        for name, number in self._written.items():
            if getattr(wanted, name) != getattr(held, name):
                self._processor.reg_write(number, getattr(wanted, name))
        self._held = wanted

    def change(self, **registers: int) -> None:
        """Set some of the registers."""
        self.registers = replace(self.registers, **registers)  # type: ignore[arg-type]

    def change_flags(self, flags: int) -> None:
        """Set EFLAGS or RFLAGS."""
        self.change(**{self.FLAGS: flags})

    def go_on(self, eip: int, flags: int) -> None:
        """Set EIP or RIP, and the flags."""
        self.change(**{self.POINTER: eip, self.FLAGS: flags})

    def reload_control(self) -> None:
        """Take over CR0 and CR3, which were written in the processor itself."""
        read = self._processor.reg_read
        control: dict[str, Any] = {name: read(number) for name, number in _CONTROL.items()}
        self.registers = replace(self.registers, **control)
        self._held = replace(self._held, **control)

    def linear(self, eip: int) -> int:
        """The linear address of an instruction."""
        held = self.registers.cs.descriptor
        return (held.base if held is not None else 0) + eip & self.MASK

    def code(self, eip: int | None = None, size: int = LONGEST) -> bytes:
        """The bytes of instructions, up to the first that cannot be fetched.

        They were fetched already, or will be: nothing is changed for it.

        Args:
            eip: where; by default that of the next instruction.
            size: how many, at most.
        """
        linear = self.linear(self.pointer if eip is None else eip)
        return self.code_at(linear, self.registers.cpl, size)

    def code_at(self, linear: int, cpl: int, size: int = LONGEST) -> bytes:
        """The same, also during emulation, when `registers` are not those of the processor."""
        return self.peek(linear, size, cpl, Access.FETCH)

    @abstractmethod
    def instruction(self, eip: int) -> DecodedInstruction | None:
        """The instruction at an address; None if there is none."""

    def holds(self, name: str, selector: int) -> bool:
        """During emulation at CPL 0: whether a load of a segment register with a selector of the
        GDT would change nothing, neither the register nor the descriptor in memory.
        """
        held = self._hidden.segments()[name]
        if held.selector != selector or held.descriptor is None or selector & 0b111:
            return False
        _, base, limit, _ = self._processor.reg_read(x86.UC_X86_REG_GDTR)
        raw = self.peek(base + selector & self.MASK, 8, 0, Access.READ)
        accessed = held.descriptor.kind & 1 and held.descriptor.dpl == 0
        return (
            bool(accessed)
            and selector + 7 <= limit
            and len(raw) == 8
            and decode_descriptor(raw) == held.descriptor
        )

    @abstractmethod
    def _load_segments(self, segments: Mapping[str, Segment], cpl: int) -> None:
        """Load segment registers, which bring a privilege level about."""

    @abstractmethod
    def _make(self, **registers: Any) -> R:
        """The registers of this mode."""

    def _read_registers(self) -> R:
        read = self._processor.reg_read
        _, gdt_base, gdt_limit, _ = read(x86.UC_X86_REG_GDTR)
        _, idt_base, idt_limit, _ = read(x86.UC_X86_REG_IDTR)
        return self._make(
            **self._file.read(),
            **self._hidden.segments(),
            gdtr=Table(gdt_base, gdt_limit),
            idtr=Table(idt_base, idt_limit),
        )
