"""The reference machine: Unicorn's processor between our MMU, our exceptions and our ports."""

from __future__ import annotations

import ctypes
import mmap

import unicorn.unicorn_const as uc
import unicorn.x86_const as x86
from unicorn.unicorn_py3 import Uc

from backends.unicorn_model.cpu_profile import CpuProfile
from backends.unicorn_model.hidden_state import layout
from backends.unicorn_model.messages import Entry, Stop
from backends.unicorn_model.run import Run

__all__ = ["Model"]


class Model:
    """A machine whose RAM is a memory map; each run starts with a new processor.

    Args:
        ram: guest RAM, from physical 0.
        cpu: Unicorn's number of the processor model.
        profile: what that processor's paging can do.

    Raises:
        UnknownUnicorn: the model does not know its way about this Unicorn.
    """

    def __init__(self, ram: mmap.mmap, cpu: int, profile: CpuProfile) -> None:
        self._ram = ram
        self._memory = memoryview(ram)
        self._pointer = ctypes.addressof(ctypes.c_char.from_buffer(ram))
        self._cpu = cpu
        self._profile = profile
        layout()

    def run(self, entry: Entry) -> Stop:
        """Run from the entry state until the guest rings or can go no further."""
        processor = self._processor(uc.UC_MODE_32)
        _enter(processor, entry)
        # Only now: loading a segment register reads the GDT, and outside of emulation Unicorn
        # crashes in that read when it has to ask for a translation.
        _let_us_translate(processor)
        run = Run(processor, self._memory, self._profile, self._in_long_mode)
        return run.go(entry.address)

    def _processor(self, mode: int) -> Uc:
        processor = Uc(uc.UC_ARCH_X86, mode)
        processor.ctl_set_cpu_model(self._cpu)
        processor.mem_map_ptr(0, len(self._ram), uc.UC_PROT_ALL, self._pointer)
        return processor

    def _in_long_mode(self, processor: Uc) -> Uc:
        """Another processor with the same state, and with the same RAM, for 64-bit code: one for
        32-bit code does not show its 64-bit registers.
        """
        other = self._processor(uc.UC_MODE_64)
        other.context_restore(processor.context_save())
        _let_us_translate(other)
        return other


def _let_us_translate(processor: Uc) -> None:
    processor.ctl_set_tlb_mode(uc.UC_TLB_VIRTUAL)
    # No address ends a run. (Where there is one, Unicorn looks it up when the run is over, and
    # the look-up of a page that is not mapped would pass for a page fault of the guest.)
    processor.ctl_exits_enabled(True)


def _enter(processor: Uc, entry: Entry) -> None:
    """Set the registers that Multiboot 0.6.96, section 3.2 defines, and those it lets be garbage
    to what a processor has after reset (SDM vol. 3, 10.1.1).
    """
    processor.reg_write(x86.UC_X86_REG_CR0, 0x60000011)
    processor.reg_write(x86.UC_X86_REG_CR4, 0)
    processor.reg_write(x86.UC_X86_REG_EFLAGS, 0x2)
    processor.reg_write(x86.UC_X86_REG_IDTR, (0, 0, 0xFFFF, 0))
    processor.reg_write(x86.UC_X86_REG_GDTR, (0, entry.descriptor_table, 23, 0))
    processor.reg_write(x86.UC_X86_REG_CS, 0x08)
    for segment in ("DS", "ES", "FS", "GS", "SS"):
        processor.reg_write(getattr(x86, f"UC_X86_REG_{segment}"), 0x10)
    processor.reg_write(x86.UC_X86_REG_EAX, entry.magic)
    processor.reg_write(x86.UC_X86_REG_EBX, entry.information)
