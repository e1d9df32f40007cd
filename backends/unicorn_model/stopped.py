"""Unicorn's processor between two instructions, as the delivery of an exception sees it.

It shows where an exception leads. It does not yet enter handlers: the kernel has none, and a guest
that gets as far as its own gate is told apart from one that shuts down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import unicorn.x86_const as x86
from unicorn.unicorn_py3 import Uc

from backends.unicorn_model.access_rights import Access, Privilege
from backends.unicorn_model.delivery.descriptors import decode_descriptor, is_local, is_null
from backends.unicorn_model.delivery.machine import (
    GENERAL,
    SEGMENTS,
    Mode,
    Registers,
    Segment,
    Table,
)
from backends.unicorn_model.faults import NotModelled, PageFault
from backends.unicorn_model.mmu import Translation

__all__ = ["StoppedProcessor"]

_PAGE = 0x1000
_DESCRIPTOR_SIZE = 8
_PRIVILEGES = {
    Mode.USER: Privilege.USER,
    Mode.SUPERVISOR: Privilege.SUPERVISOR,
    Mode.IMPLICIT: Privilege.IMPLICIT,
}

Translate = Callable[[int, Access, Privilege], Translation]
"""Translates a linear address, or raises PageFault."""


class StoppedProcessor:
    """The `delivery.machine.Machine` that Unicorn's registers and guest RAM make.

    Args:
        processor: stopped.
        memory: guest RAM.
        translate: with the processor's control registers as they are.
    """

    def __init__(self, processor: Uc, memory: memoryview, translate: Translate) -> None:
        self._processor = processor
        self._memory = memory
        self._translate = translate
        self._registers = self._read_registers()

    @property
    def registers(self) -> Registers:
        """All registers."""
        return self._registers

    @registers.setter
    def registers(self, value: Registers) -> None:
        if value.eip != self._registers.eip or value.cs != self._registers.cs:
            raise NotModelled(f"the guest's handler at {value.cs.selector:#x}:{value.eip:#x}")
        self._processor.reg_write(x86.UC_X86_REG_CR2, value.cr2)
        self._registers = value

    def read(self, linear: int, size: int, mode: Mode) -> bytes:
        """Read bytes; memory that is not there reads as all ones."""
        data = bytearray()
        while len(data) < size:
            address = linear + len(data) & 0xFFFFFFFF
            count = min(size - len(data), _PAGE - address % _PAGE)
            physical = self._translate(address, Access.READ, _PRIVILEGES[mode]).physical
            data += bytes(self._memory[physical : physical + count]).ljust(count, b"\xff")
        return bytes(data)

    def check_write(self, linear: int, size: int, mode: Mode) -> None:
        """Raise the fault that a write would raise."""
        for address in (linear, linear + size - 1):
            self._translate(address & 0xFFFFFFFF, Access.WRITE, _PRIVILEGES[mode])

    def write(self, linear: int, data: bytes, mode: Mode) -> None:
        """Nothing is written before a handler is entered, which is not done."""

    def check_cr3(self, value: int) -> None:
        """A task switch."""
        raise NotModelled(f"a task switch that loads CR3={value:#x}")

    def load_cr3(self, value: int) -> None:
        """A task switch."""
        raise NotModelled(f"a task switch that loads CR3={value:#x}")

    def _read_registers(self) -> Registers:
        read = self._processor.reg_read
        _, gdt_base, gdt_limit, _ = read(x86.UC_X86_REG_GDTR)
        _, idt_base, idt_limit, _ = read(x86.UC_X86_REG_IDTR)
        general: dict[str, Any] = {
            name: read(getattr(x86, f"UC_X86_REG_{name.upper()}")) for name in GENERAL
        }
        segments: dict[str, Any] = {
            name: self._segment(read(getattr(x86, f"UC_X86_REG_{name.upper()}")), gdt_base)
            for name in SEGMENTS
        }
        return Registers(
            **general,
            **segments,
            eip=read(x86.UC_X86_REG_EIP),
            eflags=read(x86.UC_X86_REG_EFLAGS),
            gdtr=Table(gdt_base, gdt_limit),
            idtr=Table(idt_base, idt_limit),
            ldtr=self._segment(read(x86.UC_X86_REG_LDTR)[0], gdt_base),
            tr=self._segment(read(x86.UC_X86_REG_TR)[0], gdt_base),
            cr0=read(x86.UC_X86_REG_CR0),
            cr2=read(x86.UC_X86_REG_CR2),
            cr3=read(x86.UC_X86_REG_CR3),
        )

    def _segment(self, selector: int, table: int) -> Segment:
        """A segment register; Unicorn hides its hidden part, so it is what the GDT says now."""
        if is_null(selector) or is_local(selector):
            return Segment(selector, None)
        try:
            raw = self.read(table + (selector & ~7), _DESCRIPTOR_SIZE, Mode.IMPLICIT)
        except PageFault:
            return Segment(selector, None)
        return Segment(selector, decode_descriptor(raw))
