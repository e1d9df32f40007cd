"""The page walk, from the Intel SDM, volume 3, chapter 4 (Paging).

Unicorn asks here for every translation its TLB does not hold. What is returned is what the TLB may
keep: a page that was only read is handed out as not writable, so that the first write comes here
again and sets the dirty flag.

The parts: which registers count (control_state), what entries look like (paging_entries), who may
do what (access_rights), what a fault says (page_fault_code), when the PDPTE registers are loaded
(pdptes). Section numbers are those of
the chapter when it is the fourth; editions that have it as the fifth keep the rest of each number.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from backends.unicorn_model.access_rights import (
    Access,
    Privilege,
    may_fetch,
    may_read,
    may_write,
)
from backends.unicorn_model.control_state import (
    CR0_PG,
    CR4_PAE,
    CR4_PSE,
    EFER_LME,
    EFER_NXE,
    ControlState,
    PagingMode,
    paging_mode,
)
from backends.unicorn_model.cpu_profile import CpuProfile
from backends.unicorn_model.faults import NonCanonical, PageFault
from backends.unicorn_model.page_fault_code import FaultCause, page_fault_code
from backends.unicorn_model.paging_entries import (
    ACCESSED,
    DIRTY,
    EXECUTE_DISABLE,
    PRESENT,
    USER,
    WRITABLE,
    PagingFormat,
    four_level_format,
    legacy_format,
    pae_format,
    pdpte_kind,
)
from backends.unicorn_model.physical_memory import PhysicalMemory

__all__ = ["AccessedOnFault", "Mmu", "Translation", "is_canonical"]

_SMALL_PAGE = 1 << 12
_TOP_HALF = 1 << 47  # of the linear addresses with 4-level paging


class AccessedOnFault(Enum):
    """What becomes of the accessed flags of entries on the way to a page fault.

    The manual leaves that open. "Whenever the processor uses a paging-structure entry as part of
    linear-address translation, it sets the accessed flag" (4.8) does not say if that goes for a
    translation that then ends at an entry below, or whose rights do not permit the access. The
    processor may cache entries on the way, and translations for accesses that are never made, and
    sets accessed flags before it does (4.10.2.3, 4.10.3.1).

    Open are the entries used: those with P = 1 and no reserved bit set, at which the walk did not
    stop. An entry that ends it "is used neither to reference another paging-structure entry nor to
    map a page" (4.3, 4.4.2) and keeps its flag. So does each dirty flag: there was no write (4.8).
    """

    LEAVE = "leave"
    SET = "set"


@dataclass(frozen=True, slots=True)
class Translation:
    """A translation that the access was allowed to use.

    The rights are those that a TLB may keep for accesses of the same privilege, while control
    registers and EFLAGS.AC remain what they are.

    Attributes:
        physical: the physical address; up to MAXPHYADDR bits.
        page_size: bytes of the page.
        readable: reads need no new walk.
        writable: nor do writes; the dirty flag is set by now.
        executable: nor do instruction fetches.
    """

    physical: int
    page_size: int
    readable: bool
    writable: bool
    executable: bool

    @property
    def frame(self) -> int:
        """Address of the 4 KiB frame, which is a part of the page if the page is larger."""
        return self.physical & -_SMALL_PAGE


def is_canonical(linear: int) -> bool:
    """Whether bits 63:47 of an address of 64 bits are all equal (vol. 1, 3.3.7.1)."""
    return (linear + _TOP_HALF) >> 48 in (0, 1 << 16)


class Mmu:
    """The memory management unit of one processor.

    Args:
        memory: holds the paging structures; their accessed and dirty flags are set in it.
        profile: the processor.
        accessed_on_fault: one of the behaviours that the manual permits.
    """

    def __init__(
        self,
        memory: PhysicalMemory,
        profile: CpuProfile,
        accessed_on_fault: AccessedOnFault = AccessedOnFault.LEAVE,
    ) -> None:
        self._memory = memory
        self._profile = profile
        self._accessed_on_fault = accessed_on_fault
        self._page_directory_of = pdpte_kind(profile).physical
        self._formats: dict[int, PagingFormat] = {}

    def translate(
        self,
        state: ControlState,
        linear: int,
        access: Access,
        privilege: Privilege,
        *,
        check_only: bool = False,
    ) -> Translation:
        """Translate the linear address of an access that lies in one page.

        Args:
            state: the control registers; their features are checked where they are written.
            linear: below 2**32, or with 4-level paging below 2**64.
            access: what the access does.
            privilege: whose it is.
            check_only: the access may not be made in the end: no flag is set for it.

        Raises:
            PageFault: there is no translation, or it does not permit the access.
            NonCanonical: with 4-level paging, the address is no linear address at all. Segmentation
                sees to that (vol. 1, 3.3.7.1), before paging is asked.
        """
        if not state.cr0 & CR0_PG:
            # 4.1.1: linear addresses are treated as physical addresses, and all may be accessed.
            return Translation(linear, _SMALL_PAGE, True, True, True)
        paging = self._format(state)
        memory, size = self._memory, paging.entry_size
        used: list[int] = []  # addresses of the entries that take part in the translation

        if paging.mode is PagingMode.FOUR_LEVEL and not is_canonical(linear):
            raise NonCanonical(linear)

        # 4.3, 4.4.2, 4.5: where the walk begins.
        if paging.mode is PagingMode.PAE:
            # Bits 31:30 select a PDPTE register. The table in memory is not looked at.
            register = state.pdptes[linear >> 30]
            if not register & PRESENT:
                raise self._fault(state, linear, access, privilege, FaultCause.NOT_PRESENT, used)
            table = self._page_directory_of(register)
        else:
            table = state.cr3 & paging.root

        # 4.2: down the hierarchy, until an entry maps a page.
        in_all, in_any = -1, 0
        for level in paging.levels:
            address = table + (linear >> level.shift & level.index_mask) * size
            entry = memory.read(address, size)
            # 4.3, 4.4.2, 4.5: if P is 0 or a reserved bit is set, there is no translation; and if P
            # is 0, no bit is reserved.
            if not entry & PRESENT:
                raise self._fault(state, linear, access, privilege, FaultCause.NOT_PRESENT, used)
            kind = level.kinds[entry >> 7 & 1]
            if entry & kind.reserved:
                raise self._fault(state, linear, access, privilege, FaultCause.RESERVED_BIT, used)
            used.append(address)
            in_all &= entry
            in_any |= entry
            if kind.maps_page:
                break
            table = kind.physical(entry)
        page_size = 1 << level.shift
        physical = kind.physical(entry) | linear & page_size - 1

        # 4.6.1: a right has to be given by every entry, and XD takes it away in any.
        user_page = bool(in_all & USER)
        readable = may_read(state, privilege, user_page=user_page)
        writable = may_write(
            state, privilege, user_page=user_page, writable=bool(in_all & WRITABLE)
        )
        executable = may_fetch(
            state, privilege, user_page=user_page, execute_disable=bool(in_any & EXECUTE_DISABLE)
        )
        if access is Access.READ:
            permitted = readable
        elif access is Access.WRITE:
            permitted = writable
        else:
            permitted = executable
        if not permitted:
            raise self._fault(state, linear, access, privilege, FaultCause.RIGHTS, used)

        # 4.8: accessed in every entry used; dirty in the one that maps the page, for a write.
        if not check_only:
            for address in used:
                memory.set_bits(address, size, ACCESSED)
            if access is Access.WRITE:
                memory.set_bits(used[-1], size, DIRTY)
        # 4.8, 4.10.2.2: the TLB knows the dirty flag, and a write through a clean entry sets it.
        dirty = access is Access.WRITE or bool(entry & DIRTY)
        return Translation(physical, page_size, readable, writable and dirty, executable)

    def _fault(
        self,
        state: ControlState,
        linear: int,
        access: Access,
        privilege: Privilege,
        cause: FaultCause,
        used: list[int],
    ) -> PageFault:
        if self._accessed_on_fault is AccessedOnFault.SET:
            for address in used:
                self._memory.set_bits(address, self._format(state).entry_size, ACCESSED)
        code = page_fault_code(state, access, privilege, cause)
        return PageFault(linear, code, tuple(used))

    def _format(self, state: ControlState) -> PagingFormat:
        key = state.cr4 & (CR4_PSE | CR4_PAE) | state.efer & (EFER_NXE | EFER_LME)
        paging = self._formats.get(key)
        if paging is None:
            paging = self._formats[key] = self._new_format(state)
        return paging

    def _new_format(self, state: ControlState) -> PagingFormat:
        match paging_mode(state):
            case PagingMode.LEGACY:
                return legacy_format(self._profile, pse=bool(state.cr4 & CR4_PSE))
            case PagingMode.PAE:
                return pae_format(self._profile, nxe=bool(state.efer & EFER_NXE))
            case PagingMode.FOUR_LEVEL:
                return four_level_format(self._profile, nxe=bool(state.efer & EFER_NXE))
            case PagingMode.OFF:
                raise AssertionError("nothing is walked without paging")
