"""The control registers and the PDPTE registers (SDM vol. 3, 2.5 and 4.4.1)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from conformance.case.processor import Feature
from conformance.observe.trace import Event
from conformance.oracle.address_space import PRESENT, PagingStructures, entry_address
from conformance.oracle.setting import Setting

__all__ = [
    "CONTROL_FEATURES",
    "PDPTE_RESERVED",
    "ControlRegisters",
    "control_event",
    "is_bad_pdpte",
    "paging_event",
    "pdptes_in_memory",
]

CONTROL_FEATURES: Final = {
    "write_protect": Feature(0),
    "page_size_extensions": Feature.PSE,
    "no_execute": Feature.NX,
    "supervisor_execution": Feature.SMEP,
    "supervisor_access": Feature.SMAP,
}
"""What a processor needs for the control bit of that name."""

# Bits 2:1, 8:5 and 63:MAXPHYADDR (table 4-8). Here and elsewhere MAXPHYADDR is taken for 40:
# programs cannot set the bits 39:36, about which processors differ.
PDPTE_RESERVED: Final = 0b11 << 1 | 0b1111 << 5 | (1 << 64) - (1 << 40)

_CR0_ALWAYS: Final = 1 << 31 | 1 << 0
_CR0_WP: Final = 1 << 16
_CR4_PSE: Final = 1 << 4
_CR4_PAE: Final = 1 << 5
_CR4_SMEP: Final = 1 << 20
_CR4_SMAP: Final = 1 << 21
_EFER_NXE: Final = 1 << 11


@dataclass(frozen=True, slots=True)
class ControlRegisters:
    """The control bits that programs change, under the protocol's names, and the PDPTE registers.

    Attributes:
        pdptes: with PAE paging, what was loaded from the page-directory-pointer table.
    """

    write_protect: bool
    page_size_extensions: bool
    no_execute: bool
    supervisor_execution: bool
    supervisor_access: bool
    pdptes: tuple[int, ...] = ()

    @classmethod
    def initial(cls, setting: Setting, structures: PagingStructures) -> ControlRegisters:
        """As the kernel sets them when it turns paging on."""
        pdptes = pdptes_in_memory(setting, structures) if setting.pae else ()
        return cls(True, False, setting.no_execute, False, False, pdptes)

    def with_bit(self, name: str, value: bool) -> ControlRegisters:
        """The same with one control bit set or cleared."""
        bits: dict[str, Any] = {name: value}
        return replace(self, **bits)


def pdptes_in_memory(setting: Setting, structures: PagingStructures) -> tuple[int, ...]:
    """The page-directory-pointer table."""
    return tuple(
        structures.read(entry_address(setting, "pointer_table", gib << 30)) for gib in range(4)
    )


def is_bad_pdpte(entry: int) -> bool:
    """Loading it is a general protection fault: it is present and sets a reserved bit (4.4.1)."""
    return bool(entry & PRESENT and entry & PDPTE_RESERVED)


def paging_event(setting: Setting) -> Event:
    """Paging is on."""
    return Event(
        "paging",
        {
            "cr0": _CR0_ALWAYS | _CR0_WP,
            "cr3": setting.tables[0],
            "cr4": _CR4_PAE if setting.wide else 0,
            "efer": _EFER_NXE if setting.no_execute else 0,
            "features": int(setting.features),
        },
    )


def control_event(setting: Setting, registers: ControlRegisters) -> Event:
    """The program is over. CR2 is not compared."""
    return Event(
        "control",
        {
            "cr0": _CR0_ALWAYS | (_CR0_WP if registers.write_protect else 0),
            "cr2": 0,
            "cr3": setting.tables[0],
            "cr4": (_CR4_PAE if setting.wide else 0)
            | (_CR4_PSE if registers.page_size_extensions else 0)
            | (_CR4_SMEP if registers.supervisor_execution else 0)
            | (_CR4_SMAP if registers.supervisor_access else 0),
            "efer": _EFER_NXE if registers.no_execute else 0,
        },
    )
