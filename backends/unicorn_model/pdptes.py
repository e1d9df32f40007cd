"""The PDPTE registers of PAE paging: when they are loaded, and what is checked (SDM vol. 3, 4.4.1).

A translation uses the registers. The table in memory is read here and nowhere else, and is never
written: PDPTEs have no accessed flag (4.8), bit 5 is reserved.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

from backends.unicorn_model.control_state import (
    CR0_CD,
    CR0_NW,
    CR0_PG,
    CR4_PAE,
    CR4_PGE,
    CR4_PSE,
    CR4_SMEP,
    ControlState,
    PagingMode,
    PdpteRegisters,
    paging_mode,
)
from backends.unicorn_model.cpu_profile import CpuProfile
from backends.unicorn_model.faults import GeneralProtection
from backends.unicorn_model.paging_entries import PRESENT, bits, pdpte_kind
from backends.unicorn_model.physical_memory import PhysicalMemory

__all__ = ["ControlWrite", "load_pdptes", "loads_pdptes", "with_pdptes"]


class ControlWrite(Enum):
    """What writes the control registers."""

    MOV_TO_CR0 = "mov to cr0"
    MOV_TO_CR3 = "mov to cr3"
    MOV_TO_CR4 = "mov to cr4"
    TASK_SWITCH = "task switch"


_CR0_LOADS = CR0_CD | CR0_NW | CR0_PG
_CR4_LOADS = CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP
_ENTRY_SIZE = 8


def loads_pdptes(before: ControlState, after: ControlState, write: ControlWrite) -> bool:
    """Does a write load the PDPTE registers? (4.4.1)."""
    if paging_mode(after) is not PagingMode.PAE:
        return False
    match write:
        case ControlWrite.MOV_TO_CR0:
            return bool((before.cr0 ^ after.cr0) & _CR0_LOADS)
        case ControlWrite.MOV_TO_CR4:
            return bool((before.cr4 ^ after.cr4) & _CR4_LOADS)
        case ControlWrite.MOV_TO_CR3:
            return True
        case ControlWrite.TASK_SWITCH:
            return before.cr3 != after.cr3


def with_pdptes(
    memory: PhysicalMemory,
    profile: CpuProfile,
    before: ControlState,
    after: ControlState,
    write: ControlWrite,
) -> ControlState:
    """The state after a write, with the PDPTE registers that are then in force.

    Args:
        memory: holds the page-directory-pointer table.
        profile: the processor.
        before: the state that the write finds.
        after: the same with the new register; its `pdptes` do not matter.
        write: what the writer is.

    Raises:
        GeneralProtection: an entry sets a reserved bit; `before` remains in force.
    """
    loads = loads_pdptes(before, after, write)
    pdptes = load_pdptes(memory, profile, after.cr3) if loads else before.pdptes
    return replace(after, pdptes=pdptes)


def load_pdptes(memory: PhysicalMemory, profile: CpuProfile, cr3: int) -> PdpteRegisters:
    """Read and check the page-directory-pointer table (4.4.1, tables 4-7 and 4-8).

    Raises:
        GeneralProtection: an entry sets the P flag and a reserved bit.
    """
    table = cr3 & bits(31, 5)
    first, second, third, fourth = (
        memory.read(table + index * _ENTRY_SIZE, _ENTRY_SIZE) for index in range(4)
    )
    registers = (first, second, third, fourth)
    reserved = pdpte_kind(profile).reserved
    for entry in registers:
        # 4.4.1, footnote: on some processors, reserved bits are checked even if P is 0.
        if entry & reserved and (entry & PRESENT or profile.checks_absent_pdptes):
            raise GeneralProtection(0)
    return registers
