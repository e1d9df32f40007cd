"""The registers that paging depends on (SDM vol. 3, 4.1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from backends.unicorn_model.cpu_profile import CpuProfile
from backends.unicorn_model.faults import GeneralProtection

__all__ = [
    "CR0_AM",
    "CR0_CD",
    "CR0_ET",
    "CR0_NE",
    "CR0_NW",
    "CR0_PE",
    "CR0_PG",
    "CR0_WP",
    "CR4_PAE",
    "CR4_PGE",
    "CR4_PSE",
    "CR4_SMAP",
    "CR4_SMEP",
    "EFER_LMA",
    "EFER_LME",
    "EFER_NXE",
    "EFER_SCE",
    "ControlState",
    "PagingMode",
    "PdpteRegisters",
    "check_features",
    "paging_mode",
]

CR0_PE, CR0_ET, CR0_NE = 1 << 0, 1 << 4, 1 << 5
CR0_WP, CR0_AM, CR0_NW, CR0_CD, CR0_PG = 1 << 16, 1 << 18, 1 << 29, 1 << 30, 1 << 31
CR4_PSE, CR4_PAE, CR4_PGE, CR4_SMEP, CR4_SMAP = 1 << 4, 1 << 5, 1 << 7, 1 << 20, 1 << 21
EFER_SCE, EFER_LME, EFER_LMA, EFER_NXE = 1 << 0, 1 << 8, 1 << 10, 1 << 11

PdpteRegisters = tuple[int, int, int, int]
"""The processor's copies of the four entries of the page-directory-pointer table (4.4.1)."""


class PagingMode(Enum):
    """How linear addresses are translated (4.1.1)."""

    OFF = "off"
    LEGACY = "32-bit"
    PAE = "PAE"
    FOUR_LEVEL = "4-level"


@dataclass(frozen=True, slots=True)
class ControlState:
    """The registers that a translation depends on.

    Attributes:
        cr0, cr3, cr4, efer: as their names say; `efer` is IA32_EFER.
        alignment_check: EFLAGS.AC, which with CR4.SMAP lets the supervisor at user pages.
        pdptes: the PDPTE registers; they mean something with PAE paging only.
    """

    cr0: int
    cr3: int
    cr4: int
    efer: int = 0
    alignment_check: bool = False
    pdptes: PdpteRegisters = (0, 0, 0, 0)


def paging_mode(state: ControlState) -> PagingMode:
    """The paging mode that the control bits choose (4.1.1)."""
    if not state.cr0 & CR0_PG:
        return PagingMode.OFF
    if not state.cr4 & CR4_PAE:
        return PagingMode.LEGACY
    return PagingMode.FOUR_LEVEL if state.efer & EFER_LME else PagingMode.PAE


def check_features(profile: CpuProfile, state: ControlState) -> None:
    """Check a state that MOV to CR4 or WRMSR is about to bring about (4.1.4).

    A translation takes this for granted: it does not ask again if the processor has SMEP.

    Raises:
        GeneralProtection: a control bit is set for a feature that the processor does not have, or
            a reserved bit of CR4 (2.5).
    """
    if state.cr4 & ~(CR4_PSE | CR4_PAE | CR4_SMEP | CR4_SMAP | profile.other_cr4):
        raise GeneralProtection(0)
    features = (
        (state.cr4 & CR4_PSE, profile.has_pse),
        (state.cr4 & CR4_PAE, profile.has_pae),
        (state.cr4 & CR4_SMEP, profile.has_smep),
        (state.cr4 & CR4_SMAP, profile.has_smap),
        (state.efer & EFER_NXE, profile.has_nx),
        (state.efer & EFER_LME, profile.has_long_mode),
    )
    if any(wanted and not there for wanted, there in features):
        raise GeneralProtection(0)
