"""The control registers of Unicorn's processor, as the manual has them written.

Unicorn would take any value. What counts is kept here: each write is checked (SDM vol. 2, MOV to
control registers, WRMSR), loads the PDPTE registers where it should, and is passed on to Unicorn so
that the guest reads back what it wrote.
"""

from __future__ import annotations

from dataclasses import replace

import unicorn.x86_const as x86
from unicorn.unicorn_py3 import Uc

from backends.unicorn_model.control_state import (
    CR0_AM,
    CR0_CD,
    CR0_ET,
    CR0_NE,
    CR0_NW,
    CR0_PE,
    CR0_PG,
    CR0_WP,
    CR4_PAE,
    CR4_SMAP,
    EFER_LMA,
    EFER_LME,
    EFER_NXE,
    EFER_SCE,
    ControlState,
    check_features,
)
from backends.unicorn_model.cpu_profile import CpuProfile
from backends.unicorn_model.faults import GeneralProtection, NotModelled
from backends.unicorn_model.pdptes import ControlWrite, with_pdptes
from backends.unicorn_model.physical_memory import PhysicalMemory
from backends.unicorn_model.register_file import RegisterFile
from backends.unicorn_model.tlb import flush_tlb

__all__ = ["EFER", "ControlUnit"]

EFER = 0xC0000080
"""The number of IA32_EFER (SDM vol. 4, table 2-2)."""

_FEATURES = 0x80000001
_ADDRESS_WIDTHS = 0x80000008
_EFLAGS_AC = 1 << 18
# What only the writes here can change. CLTS, LMSW and task switches change others.
_OWN_CR0 = CR0_PE | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG
_CR0_DEFINED = _OWN_CR0 | 0b111 << 1  # MP, EM, TS
_CHECKED = ("cr0", "cr3", "cr4")


class ControlUnit:
    """CR0, CR3, CR4, IA32_EFER and the PDPTE registers of one processor.

    Args:
        processor: in its entry state.
        memory: holds the page-directory-pointer table.
        profile: which control bits it has.
    """

    def __init__(self, processor: Uc, memory: PhysicalMemory, profile: CpuProfile) -> None:
        self._processor = processor
        self._memory = memory
        self._profile = profile
        self._registers = RegisterFile(processor, _CHECKED)
        self._state = ControlState(
            cr0=processor.reg_read(x86.UC_X86_REG_CR0),
            cr3=processor.reg_read(x86.UC_X86_REG_CR3),
            cr4=processor.reg_read(x86.UC_X86_REG_CR4),
        )

    @property
    def state(self) -> ControlState:
        """What a translation depends on, as it is now."""
        if self._state.cr4 & CR4_SMAP:
            eflags = self._processor.reg_read(x86.UC_X86_REG_EFLAGS)
            return replace(self._state, alignment_check=bool(eflags & _EFLAGS_AC))
        return self._state

    @property
    def is_long(self) -> bool:
        """IA32_EFER.LMA: IA-32e mode is active."""
        return bool(self._state.efer & EFER_LMA)

    def attach(self, processor: Uc) -> None:
        """Go on with another processor, which holds the same."""
        self._processor = processor
        self._registers = RegisterFile(processor, _CHECKED)

    def has_efer(self) -> bool:
        """Whether the processor has IA32_EFER (vol. 4, table 2-2: "if CPUID.80000001H:EDX[20] or
        EDX[29]", NX and IA-32e mode; the profiles have both or neither).
        """
        return self._profile.has_nx

    def write_cr0(self, value: int, *, code_is_long: bool = False) -> None:
        """MOV to CR0.

        Args:
            value: of 64 bits in 64-bit mode.
            code_is_long: CS.L.

        Raises:
            GeneralProtection: SDM vol. 2, MOV to control registers.
            NotModelled: IA-32e mode is left.
        """
        if value >> 32:
            raise GeneralProtection(0)
        # Vol. 3, 2.5: reserved bits of CR0 are ignored here, and ET is hard-wired to 1.
        value = value & _CR0_DEFINED | CR0_ET
        if value & CR0_PG and not value & CR0_PE:
            raise GeneralProtection(0)
        if value & CR0_NW and not value & CR0_CD:
            raise GeneralProtection(0)
        efer = self._efer_with(value, code_is_long=code_is_long)
        self._take(replace(self._state, cr0=value, efer=efer), ControlWrite.MOV_TO_CR0)
        self._processor.reg_write(x86.UC_X86_REG_CR0, value)
        self._flush()

    def write_cr3(self, value: int) -> None:
        """MOV to CR3.

        Raises:
            GeneralProtection: 4.4.1; with 4-level paging, a bit from MAXPHYADDR up (table 4-12).
        """
        if value >> self._profile.maxphyaddr:
            raise GeneralProtection(0)
        self._take(replace(self._state, cr3=value), ControlWrite.MOV_TO_CR3)
        self._processor.reg_write(x86.UC_X86_REG_CR3, value)
        self._flush()

    def write_cr4(self, value: int) -> None:
        """MOV to CR4.

        Raises:
            GeneralProtection: a reserved bit, or one of a feature that there is not.
        """
        after = replace(self._state, cr4=value)
        check_features(self._profile, after)
        if self.is_long and not value & CR4_PAE:
            raise GeneralProtection(0)
        self._take(after, ControlWrite.MOV_TO_CR4)
        self._processor.reg_write(x86.UC_X86_REG_CR4, value)
        self._flush()

    def write_efer(self, value: int) -> None:
        """WRMSR to IA32_EFER.

        Raises:
            GeneralProtection: a reserved bit, or one of a feature that there is not.
        """
        # LMA is read-only (2.2.1): what is written to it is ignored.
        value = value & ~EFER_LMA | self._state.efer & EFER_LMA
        if not self.has_efer() or value & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE):
            raise GeneralProtection(0)
        if (value ^ self._state.efer) & EFER_LME and self._state.cr0 & CR0_PG:
            raise GeneralProtection(0)
        after = replace(self._state, efer=value)
        check_features(self._profile, after)
        self._state = after
        self._processor.reg_write(x86.UC_X86_REG_MSR, (EFER, value))
        self._flush()

    def cpuid(self, leaf: int) -> tuple[int, int, int, int] | None:
        """What CPUID answers in EAX, EBX, ECX and EDX, where Unicorn knows no better.

        4.1.4: MAXPHYADDR is in the lowest byte of leaf 80000008H, and the width of linear addresses
        in the next. Processors without 64-bit mode have no such leaf. What else the profile has is
        in leaf 80000001H.
        """
        if leaf == _FEATURES:
            return self._profile.cpuid_features
        if leaf != _ADDRESS_WIDTHS or not self._profile.has_nx:
            return None
        return 48 << 8 | self._profile.maxphyaddr, 0, 0, 0

    def check_task_cr3(self, value: int) -> None:
        """Raise GeneralProtection if a task switch cannot load CR3 with a value (4.4.1)."""
        self._with(replace(self._state, cr3=value), ControlWrite.TASK_SWITCH)

    def load_task_cr3(self, value: int) -> None:
        """Load CR3 as a task switch does."""
        self._take(replace(self._state, cr3=value), ControlWrite.TASK_SWITCH)
        self._processor.reg_write(x86.UC_X86_REG_CR3, value)
        self._flush()

    def check(self) -> None:
        """Check that Unicorn holds what is kept here.

        Raises:
            NotModelled: something was written unseen, or Unicorn does not take it.
        """
        cr0, cr3, cr4 = self._registers.values()
        cr0 &= _OWN_CR0
        state = self._state
        if (cr0, cr3, cr4) != (state.cr0 & _OWN_CR0, state.cr3, state.cr4):
            raise NotModelled(
                f"control registers: Unicorn holds CR0={cr0:#x} CR3={cr3:#x} CR4={cr4:#x},"
                f" the model CR0={state.cr0 & _OWN_CR0:#x} CR3={state.cr3:#x} CR4={state.cr4:#x}"
            )

    def _efer_with(self, cr0: int, *, code_is_long: bool) -> int:
        """IA32_EFER after a write to CR0 (vol. 3, 9.8.5: IA-32e mode is entered and left)."""
        efer = self._state.efer
        if cr0 & CR0_PG and efer & EFER_LME and not efer & EFER_LMA:
            if not self._state.cr4 & CR4_PAE or code_is_long:
                raise GeneralProtection(0)
            return efer | EFER_LMA
        if not cr0 & CR0_PG and efer & EFER_LMA:
            if code_is_long:
                raise GeneralProtection(0)
            raise NotModelled(f"CR0={cr0:#x}: IA-32e mode is left")
        return efer

    def _with(self, after: ControlState, write: ControlWrite) -> ControlState:
        return with_pdptes(self._memory, self._profile, self._state, after, write)

    def _take(self, after: ControlState, write: ControlWrite) -> None:
        self._state = self._with(after, write)

    def _flush(self) -> None:
        # 4.10.4.1 asks for less (global pages, MOV to CR0 that changes neither PG nor WP), and
        # 4.10.3.1 lets a processor drop whatever it likes.
        flush_tlb(self._processor)
