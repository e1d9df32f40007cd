"""Unicorn's processor between two instructions, as the rules of the manual see it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import unicorn.x86_const as x86
from unicorn.unicorn_py3 import Uc

from backends.unicorn_model.access_rights import Access, Privilege
from backends.unicorn_model.control_state import ControlState
from backends.unicorn_model.control_unit import ControlUnit
from backends.unicorn_model.delivery.descriptors import decode_descriptor
from backends.unicorn_model.delivery.machine import (
    GENERAL,
    SEGMENTS,
    Mode,
    Registers,
    Table,
)
from backends.unicorn_model.delivery.vectors import GP, Fault
from backends.unicorn_model.faults import GeneralProtection, PageFault
from backends.unicorn_model.hidden_state import SYSTEM_SEGMENTS, HiddenState
from backends.unicorn_model.mmu import Mmu
from backends.unicorn_model.register_file import RegisterFile
from backends.unicorn_model.segment_registers import SegmentLoader

__all__ = ["StoppedProcessor", "pieces"]

_PAGE = 0x1000
_LONGEST_INSTRUCTION = 15  # SDM vol. 2, 2.3.11
_MASK = 0xFFFFFFFF
_PRIVILEGES = {
    Mode.USER: Privilege.USER,
    Mode.SUPERVISOR: Privilege.SUPERVISOR,
    Mode.IMPLICIT: Privilege.IMPLICIT,
}
_NUMBERS = {
    name: getattr(x86, f"UC_X86_REG_{name.upper()}")
    for name in (*GENERAL, "eip", "eflags", "cr0", "cr2", "cr3")
}
_WRITTEN = (*GENERAL, "eip", "eflags", "cr0", "cr2")
_ALL_SEGMENTS = (*SEGMENTS, *SYSTEM_SEGMENTS)


class StoppedProcessor:
    """The `delivery.machine.Machine` that Unicorn's registers and guest RAM make.

    Registers that are set reach Unicorn with `store`.

    Args:
        processor: whose emulation is stopped.
        memory: guest RAM.
        mmu: translates all accesses.
        control: its control registers.
        hidden: what Unicorn does not show of it.
    """

    def __init__(
        self,
        processor: Uc,
        memory: memoryview,
        mmu: Mmu,
        control: ControlUnit,
        hidden: HiddenState,
    ) -> None:
        self._processor = processor
        self._memory = memory
        self._mmu = mmu
        self._control = control
        self._hidden = hidden
        self._loader = SegmentLoader(processor)
        self._file = RegisterFile(processor, tuple(_NUMBERS))
        self._stack = RegisterFile(processor, ("esp", "cs"))
        self._state: ControlState | None = None
        self._frames: dict[tuple[int, Access, Privilege, bool], int] = {}
        self._held = self.registers = self._read_registers()

    def load(self) -> None:
        """Take over the registers, after emulation."""
        self._frames.clear()
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
            self._loader.load(segments, before=held.cpl, cpl=wanted.cpl)
        for name in _WRITTEN:
            if getattr(wanted, name) != getattr(held, name):
                self._processor.reg_write(_NUMBERS[name], getattr(wanted, name))
        self._held = wanted

    def change(self, **registers: int) -> None:
        """Set some of the registers."""
        self.registers = replace(self.registers, **registers)  # type: ignore[arg-type]

    def reload_control(self) -> None:
        """Take over CR0 and CR3, which were written in the processor itself."""
        read = self._processor.reg_read
        control: dict[str, Any] = {name: read(_NUMBERS[name]) for name in ("cr0", "cr3")}
        self.registers = replace(self.registers, **control)
        self._held = replace(self._held, **control)

    def read(self, linear: int, size: int, mode: Mode) -> bytes:
        """Read bytes; memory that is not there reads as all ones."""
        data = b""
        for address, count in pieces(linear, size):
            data += self._physical(self._translate(address, Access.READ, mode), count)
        return data

    def check_write(self, linear: int, size: int, mode: Mode) -> None:
        """Raise the fault that a write would raise."""
        for address, _ in pieces(linear, size):
            self._translate(address, Access.WRITE, mode, check_only=True)

    def write(self, linear: int, data: bytes, mode: Mode) -> None:
        """Write bytes; to memory that is not there they are lost."""
        done = 0
        for address, count in pieces(linear, len(data)):
            physical = self._translate(address, Access.WRITE, mode)
            self._frames.clear()  # it may be a paging structure
            if physical + count <= len(self._memory):
                # Through Unicorn, which may have translated instructions that are there.
                self._processor.mem_write(physical, data[done : done + count])
            done += count

    def check_cr3(self, value: int) -> None:
        """Raise `Fault` if a task switch cannot load CR3 with it."""
        try:
            self._control.check_task_cr3(value)
        except GeneralProtection as fault:
            raise Fault(GP, fault.error_code) from fault

    def load_cr3(self, value: int) -> None:
        """Load CR3 as a task switch does."""
        self._control.load_task_cr3(value)
        self.registers = replace(self.registers, cr3=value)

    def linear(self, eip: int) -> int:
        """The linear address of an instruction."""
        held = self.registers.cs.descriptor
        return (held.base if held is not None else 0) + eip & _MASK

    def code(self, eip: int, size: int = _LONGEST_INSTRUCTION) -> bytes:
        """The bytes of instructions, up to the first that cannot be fetched.

        They were fetched already, or will be: nothing is changed for it.
        """
        return self.code_at(self.linear(eip), self.registers.cpl, size)

    def code_at(self, linear: int, cpl: int, size: int = _LONGEST_INSTRUCTION) -> bytes:
        """The same, also during emulation, when `registers` are not those of the processor."""
        return self._peek(linear, size, cpl, Access.FETCH)

    def peek_stack(self, count: int) -> tuple[int, ...] | None:
        """The doublewords on top of the stack, also during emulation; None if a read would fault.

        Nothing is changed for it.
        """
        stack = self._hidden.segments()["ss"].descriptor
        if stack is None:
            return None
        esp, cs = self._stack.values()
        pointer = esp & (_MASK if stack.big else 0xFFFF)
        data = self._peek(stack.base + pointer & _MASK, 4 * count, cs & 3, Access.READ)
        return struct.unpack(f"<{count}I", data) if len(data) == 4 * count else None

    def holds(self, name: str, selector: int) -> bool:
        """During emulation at CPL 0: whether a load of a segment register with a selector of the
        GDT would change nothing, neither the register nor the descriptor in memory.
        """
        held = self._hidden.segments()[name]
        if held.selector != selector or held.descriptor is None or selector & 0b111:
            return False
        _, base, limit, _ = self._processor.reg_read(x86.UC_X86_REG_GDTR)
        raw = self._peek(base + selector & _MASK, 8, 0, Access.READ)
        accessed = held.descriptor.kind & 1 and held.descriptor.dpl == 0
        return (
            bool(accessed)
            and selector + 7 <= limit
            and len(raw) == 8
            and decode_descriptor(raw) == held.descriptor
        )

    def _peek(self, linear: int, size: int, cpl: int, access: Access) -> bytes:
        """The bytes up to the first that cannot be accessed, without any trace."""
        translate, state = self._mmu.translate, self._control.state
        privilege = Privilege.USER if cpl == 3 else Privilege.SUPERVISOR
        data = b""
        for address, count in pieces(linear, size):
            try:
                translation = translate(state, address, access, privilege, check_only=True)
            except PageFault:
                break
            data += self._physical(translation.physical, count)
        return data

    def _translate(
        self, linear: int, access: Access, mode: Mode, *, check_only: bool = False
    ) -> int:
        """The physical address of an access, walked to once until something is written."""
        state = self._control.state
        if state is not self._state:
            self._state = state
            self._frames.clear()
        privilege = _PRIVILEGES[mode]
        key = (linear & -_PAGE, access, privilege, check_only)
        frame = self._frames.get(key)
        if frame is None:
            found = self._mmu.translate(state, linear, access, privilege, check_only=check_only)
            frame = self._frames[key] = found.frame
        return frame | linear & (_PAGE - 1)

    def _physical(self, address: int, size: int) -> bytes:
        return bytes(self._memory[address : address + size]).ljust(size, b"\xff")

    def _read_registers(self) -> Registers:
        read = self._processor.reg_read
        _, gdt_base, gdt_limit, _ = read(x86.UC_X86_REG_GDTR)
        _, idt_base, idt_limit, _ = read(x86.UC_X86_REG_IDTR)
        numbers: dict[str, Any] = self._file.read()
        segments: dict[str, Any] = self._hidden.segments()
        return Registers(
            **numbers,
            **segments,
            gdtr=Table(gdt_base, gdt_limit),
            idtr=Table(idt_base, idt_limit),
        )


def pieces(linear: int, size: int) -> Iterator[tuple[int, int]]:
    """The parts of an access that lie in one page each: address and size.

    A fault on a page behind the first has the address of its first byte.
    """
    while size:
        count = min(size, _PAGE - linear % _PAGE)
        yield linear, count
        linear, size = linear + count & _MASK, size - count
