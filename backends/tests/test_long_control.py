"""What keeps a processor out of IA-32e mode, and in it: writes to its control registers."""

from __future__ import annotations

import pytest
import unicorn.unicorn_const as uc
import unicorn.x86_const as x86
from unicorn.unicorn_py3 import Uc

from backends.unicorn_model.control_state import (
    CR0_ET,
    CR0_PE,
    CR0_PG,
    CR4_PAE,
    EFER_LMA,
    EFER_LME,
    EFER_NXE,
    PagingMode,
    paging_mode,
)
from backends.unicorn_model.control_unit import ControlUnit
from backends.unicorn_model.cpu_profile import CpuProfile
from backends.unicorn_model.faults import GeneralProtection, NotModelled
from backends.unicorn_model.physical_memory import PhysicalMemory

ON = CR0_PE | CR0_ET | CR0_PG


def unit(profile: CpuProfile | None = None) -> ControlUnit:
    processor = Uc(uc.UC_ARCH_X86, uc.UC_MODE_32)
    processor.ctl_set_cpu_model(x86.UC_CPU_X86_BROADWELL)
    processor.reg_write(x86.UC_X86_REG_CR0, CR0_PE | CR0_ET)
    processor.reg_write(x86.UC_X86_REG_CR4, 0)
    return ControlUnit(
        processor, PhysicalMemory(memoryview(bytearray(0x1000))), profile or CpuProfile()
    )


def entered() -> ControlUnit:
    made = unit()
    made.write_cr4(CR4_PAE)
    made.write_efer(EFER_LME | EFER_NXE)
    made.write_cr0(ON)
    return made


def test_ia_32e_mode_is_entered_with_paging() -> None:
    made = unit()
    made.write_cr4(CR4_PAE)
    made.write_efer(EFER_LME)
    assert not made.is_long
    made.write_cr0(ON)
    assert made.is_long
    assert made.state.efer == EFER_LME | EFER_LMA
    assert paging_mode(made.state) is PagingMode.FOUR_LEVEL
    made.check()


@pytest.mark.parametrize("pae", [False, True])
@pytest.mark.parametrize("code_is_long", [False, True])
def test_what_is_checked_before(pae: bool, code_is_long: bool) -> None:
    """SDM vol. 3, 9.8.5: CR4.PAE has to be set, and CS.L clear."""
    made = unit()
    made.write_cr4(CR4_PAE if pae else 0)
    made.write_efer(EFER_LME)
    if pae and not code_is_long:
        made.write_cr0(ON, code_is_long=False)
        return
    with pytest.raises(GeneralProtection):
        made.write_cr0(ON, code_is_long=code_is_long)
    assert not made.is_long
    assert not made.state.cr0 & CR0_PG


def test_a_processor_without_it() -> None:
    made = unit(CpuProfile(has_long_mode=False))
    with pytest.raises(GeneralProtection):
        made.write_efer(EFER_LME)
    made.write_efer(EFER_NXE)
    assert made.state.efer == EFER_NXE


def test_it_is_not_left_unseen() -> None:
    made = entered()
    with pytest.raises(GeneralProtection):
        made.write_cr0(ON & ~CR0_PG, code_is_long=True)
    with pytest.raises(NotModelled, match="IA-32e mode is left"):
        made.write_cr0(ON & ~CR0_PG)
    with pytest.raises(GeneralProtection):
        made.write_cr4(0)
    with pytest.raises(GeneralProtection):
        made.write_efer(EFER_NXE)
    assert made.is_long
    made.write_efer(EFER_LME)
    assert made.state.efer == EFER_LME | EFER_LMA


@pytest.mark.parametrize("maxphyaddr", [36, 39, 52])
def test_the_bits_of_cr3(maxphyaddr: int) -> None:
    made = unit(CpuProfile(maxphyaddr))
    made.write_cr3((1 << maxphyaddr) - 1)
    with pytest.raises(GeneralProtection):
        made.write_cr3(1 << maxphyaddr)
    with pytest.raises(GeneralProtection):
        made.write_cr3(1 << 63)
