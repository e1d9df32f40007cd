"""Giving Unicorn's processor segment registers, with the hidden parts that they are to have.

Unicorn takes a selector and reads the descriptor itself, from the table that GDTR or LDTR names. So
a table is built for the moment, in physical memory where the guest has none, whose entries are just
the descriptors that are wanted.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import unicorn.unicorn_const as uc
import unicorn.x86_const as x86
from unicorn.unicorn_py3 import Uc, UcError

from backends.unicorn_model.control_state import CR0_PG
from backends.unicorn_model.delivery.descriptors import Descriptor
from backends.unicorn_model.delivery.flags import VM
from backends.unicorn_model.delivery.machine import Segment
from backends.unicorn_model.faults import NotModelled
from backends.unicorn_model.tlb import flush_tlb

__all__ = ["TABLE", "TABLE_SIZE", "SegmentLoader", "descriptor_words"]

TABLE, TABLE_SIZE = 0xFFFE0000, 0x10000
"""Physical memory that is not the guest's; every selector has its place in it."""

_CR0_PE = 1
_INDEX = 0xFFF8
_PRESENT = 1 << 15
_SYSTEM = {
    "ldtr": x86.UC_X86_REG_LDTR,
    "tr": x86.UC_X86_REG_TR,
}
# In this order: SS decides on the CPL, which the others are checked against.
_REGISTERS = {
    name: getattr(x86, f"UC_X86_REG_{name.upper()}")
    for name in ("ss", "cs", "ds", "es", "fs", "gs")
}


class SegmentLoader:
    """Loads segment registers of one processor, which has to be stopped."""

    def __init__(self, processor: Uc) -> None:
        self._processor = processor
        self._has_table = False

    def load(self, segments: Mapping[str, Segment], *, before: int, cpl: int) -> None:
        """Load some of them, named as in `delivery.machine.Registers`.

        Args:
            before: the CPL that is left.
            cpl: the CPL that is entered; if it is another one, SS and CS are among the segments.

        Raises:
            NotModelled: Unicorn cannot be brought to hold them.
        """
        for name in segments.keys() & _SYSTEM.keys():
            self._load_system(_SYSTEM[name], segments[name])
        wanted = {name: segments[name] for name in _REGISTERS if name in segments}
        if not wanted:
            return
        processor = self._processor
        if not self._has_table:
            processor.mem_map(TABLE, TABLE_SIZE)
            self._has_table = True
        cr0 = processor.reg_read(x86.UC_X86_REG_CR0)
        gdtr = processor.reg_read(x86.UC_X86_REG_GDTR)
        ldtr = processor.reg_read(x86.UC_X86_REG_LDTR)
        # Without paging, and with Unicorn's own TLB: out of emulation it cannot ask for a
        # translation.
        processor.ctl_set_tlb_mode(uc.UC_TLB_CPU)
        try:
            if cpl != before:
                self._change_privilege(cr0, cpl)
            processor.reg_write(x86.UC_X86_REG_CR0, cr0 & ~CR0_PG)
            processor.reg_write(x86.UC_X86_REG_GDTR, (0, TABLE, TABLE_SIZE - 1, 0))
            processor.reg_write(x86.UC_X86_REG_LDTR, (0, TABLE, TABLE_SIZE - 1, _PRESENT))
            for name, segment in wanted.items():
                if segment.descriptor is not None:
                    descriptor = struct.pack("<II", *descriptor_words(segment.descriptor))
                    processor.mem_write(TABLE + (segment.selector & _INDEX), descriptor)
                processor.reg_write(_REGISTERS[name], segment.selector)
        except UcError as error:
            raise NotModelled(f"segment registers {wanted}: {error}") from error
        finally:
            processor.reg_write(x86.UC_X86_REG_GDTR, gdtr)
            processor.reg_write(x86.UC_X86_REG_LDTR, ldtr)
            processor.reg_write(x86.UC_X86_REG_CR0, cr0)
            processor.ctl_set_tlb_mode(uc.UC_TLB_VIRTUAL)
            flush_tlb(processor)

    def _change_privilege(self, cr0: int, cpl: int) -> None:
        """Unicorn's CPL is the DPL in SS: out of protected mode 0, or 3 with the VM flag."""
        if cpl not in (0, 3):
            raise NotModelled(f"CPL={cpl}")
        processor = self._processor
        eflags = processor.reg_read(x86.UC_X86_REG_EFLAGS)
        processor.reg_write(x86.UC_X86_REG_CR0, cr0 & ~(CR0_PG | _CR0_PE))
        processor.reg_write(x86.UC_X86_REG_EFLAGS, eflags | VM if cpl == 3 else eflags & ~VM)
        processor.reg_write(x86.UC_X86_REG_SS, 0)
        processor.reg_write(x86.UC_X86_REG_EFLAGS, eflags)

    def _load_system(self, register: int, segment: Segment) -> None:
        held = segment.descriptor
        if held is None:
            self._processor.reg_write(register, (segment.selector, 0, 0, 0))
            return
        _, high = descriptor_words(held)
        self._processor.reg_write(register, (segment.selector, held.base, held.limit, high))


def descriptor_words(descriptor: Descriptor) -> tuple[int, int]:
    """The two halves of a descriptor (SDM vol. 3, figure 3-8)."""
    limit, pages = descriptor.limit, 0
    if limit > 0xFFFFF:
        limit, pages = limit >> 12, 1 << 23
    low = limit & 0xFFFF | (descriptor.base & 0xFFFF) << 16
    high = (
        descriptor.base >> 16 & 0xFF
        | descriptor.kind << 8
        | descriptor.dpl << 13
        | descriptor.present << 15
        | limit & 0xF0000
        | descriptor.long << 21
        | descriptor.big << 22
        | pages
        | descriptor.base & 0xFF000000
    )
    return low, high
