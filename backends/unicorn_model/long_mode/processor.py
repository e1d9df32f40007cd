"""Unicorn's processor in 64-bit mode, between two instructions, as the manual's rules see it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import unicorn.x86_const as x86
from unicorn.unicorn_py3 import Uc

from backends.unicorn_model.access_rights import Access, Privilege
from backends.unicorn_model.control_unit import ControlUnit
from backends.unicorn_model.delivery.machine import SEGMENTS, Mode, Table
from backends.unicorn_model.faults import NonCanonical, PageFault
from backends.unicorn_model.hidden_state import SYSTEM_SEGMENTS, HiddenState
from backends.unicorn_model.long_mode.delivery.machine import GENERAL, Registers
from backends.unicorn_model.mmu import Mmu

__all__ = ["LongProcessor", "pieces"]

_PAGE = 0x1000
_LONGEST_INSTRUCTION = 15  # SDM vol. 2, 2.3.11
_MASK = (1 << 64) - 1
_PRIVILEGES = {
    Mode.USER: Privilege.USER,
    Mode.SUPERVISOR: Privilege.SUPERVISOR,
    Mode.IMPLICIT: Privilege.IMPLICIT,
}
_NUMBERS = {
    name: getattr(x86, f"UC_X86_REG_{name.upper()}")
    for name in (*GENERAL, "rip", "rflags", "cr0", "cr2", "cr3")
}
_WRITTEN = (*GENERAL, "rip", "rflags", "cr2")
_ALL_SEGMENTS = (*SEGMENTS, *SYSTEM_SEGMENTS)


class LongProcessor:
    """The `long_mode.delivery.machine.Machine` that Unicorn's registers and guest RAM make.

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
        self._held = self.registers = self._read_registers()

    def load(self) -> None:
        """Take over the registers, after emulation."""
        self._held = self.registers = self._read_registers()

    def store(self) -> None:
        """Put the registers that were set into the processor."""
        wanted, held = self.registers, self._held
        segments = {
            name: getattr(wanted, name)
            for name in _ALL_SEGMENTS
            if getattr(wanted, name) != getattr(held, name)
        }
        if segments:
            self._hidden.load_in_long_mode(segments, wanted.cpl)
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
        translate, state = self._mmu.translate, self._control.state
        data = b""
        for address, count in pieces(linear, size):
            translation = translate(state, address, Access.READ, _PRIVILEGES[mode])
            data += self._physical(translation.physical, count)
        return data

    def check_write(self, linear: int, size: int, mode: Mode) -> None:
        """Raise the fault that a write would raise."""
        translate, state = self._mmu.translate, self._control.state
        for address, _ in pieces(linear, size):
            translate(state, address, Access.WRITE, _PRIVILEGES[mode], check_only=True)

    def write(self, linear: int, data: bytes, mode: Mode) -> None:
        """Write bytes; to memory that is not there they are lost."""
        translate, state = self._mmu.translate, self._control.state
        done = 0
        for address, count in pieces(linear, len(data)):
            physical = translate(state, address, Access.WRITE, _PRIVILEGES[mode]).physical
            if physical + count <= len(self._memory):
                # Through Unicorn, which may have translated instructions that are there.
                self._processor.mem_write(physical, data[done : done + count])
            done += count

    def code_at(self, linear: int, cpl: int, size: int = _LONGEST_INSTRUCTION) -> bytes:
        """The bytes of instructions, up to the first that cannot be fetched. Also during emulation,
        when `registers` are not those of the processor.

        They were fetched already, or will be: nothing is changed for it.
        """
        translate, state = self._mmu.translate, self._control.state
        privilege = Privilege.USER if cpl == 3 else Privilege.SUPERVISOR
        data = b""
        for address, count in pieces(linear, size):
            try:
                translation = translate(state, address, Access.FETCH, privilege, check_only=True)
            except (PageFault, NonCanonical):
                break
            data += self._physical(translation.physical, count)
        return data

    def code(self) -> bytes:
        """The bytes of the instruction at RIP, and what follows it."""
        return self.code_at(self.registers.rip, self.registers.cpl)

    def _physical(self, address: int, size: int) -> bytes:
        return bytes(self._memory[address : address + size]).ljust(size, b"\xff")

    def _read_registers(self) -> Registers:
        read = self._processor.reg_read
        _, gdt_base, gdt_limit, _ = read(x86.UC_X86_REG_GDTR)
        _, idt_base, idt_limit, _ = read(x86.UC_X86_REG_IDTR)
        values = self._processor.reg_read_batch(list(_NUMBERS.values()))
        numbers: dict[str, Any] = dict(zip(_NUMBERS, values, strict=True))
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
