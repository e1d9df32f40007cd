"""A machine with one entry at each level, to compare what the walk does with the statement."""

from __future__ import annotations

from collections.abc import Sequence

from paging_statement import FACTS, Circumstances, Outcome

from backends.unicorn_model.access_rights import Access, Privilege
from backends.unicorn_model.control_state import ControlState
from backends.unicorn_model.cpu_profile import CpuProfile
from backends.unicorn_model.faults import PageFault
from backends.unicorn_model.mmu import AccessedOnFault, Mmu, Translation
from backends.unicorn_model.physical_memory import PhysicalMemory

__all__ = ["ACCESSES", "DIRECTORY", "PRIVILEGES", "RAM", "TABLES", "Machine", "control_state"]

RAM = 0x5000
DIRECTORY = 0x1000  # or what else CR3 points to
TABLES = (0x2000, 0x3000, 0x4000)
ACCESSES = {access.value: access for access in Access}
PRIVILEGES = {
    "user": Privilege.USER,
    "supervisor": Privilege.SUPERVISOR,
    "implicit": Privilege.IMPLICIT,
}


def control_state(facts: frozenset[str], linear: int) -> ControlState:
    """The registers in which the facts are true; all that a walk ignores is odd."""
    registers = {"cr0": 0, "cr4": 0, "efer": 0}
    for name in facts - {"AC"}:
        register, position = FACTS[name]
        registers[register] |= 1 << position
    if "PAE" not in facts or "LME" in facts:
        return ControlState(**registers, cr3=DIRECTORY | 0x18, alignment_check="AC" in facts)
    pdptes = [TABLES[0] | 1] * 4
    pdptes[linear // 2**30] = DIRECTORY | 0xE19  # PWT, PCD and what is ignored
    first, second, third, fourth = pdptes
    return ControlState(
        **registers,
        cr3=0x6FE0,
        alignment_check="AC" in facts,
        pdptes=(first, second, third, fourth),
    )


class Machine:
    """Paging structures for one linear address, and the means to access it."""

    def __init__(
        self, profile: CpuProfile, accessed_on_fault: AccessedOnFault = AccessedOnFault.LEAVE
    ) -> None:
        self.ram = bytearray(RAM)
        self.mmu = Mmu(PhysicalMemory(memoryview(self.ram)), profile, accessed_on_fault)

    def place(self, entry_size: int, pde: int, pte: int, linear: int) -> tuple[int, int]:
        """Write the entries to where they belong; returns where that is."""
        entries = 0x1000 // entry_size
        pde_address = DIRECTORY + linear // 0x1000 // entries % entries * entry_size
        self.put(pde_address, entry_size, pde)
        table = pde % 2**63 // 0x1000 * 0x1000
        pte_address = table + linear // 0x1000 % entries * entry_size
        if table in TABLES:
            self.put(pte_address, entry_size, pte)
        return pde_address, pte_address

    def place_four(self, hierarchy: Sequence[int], linear: int) -> tuple[int, ...]:
        """Write PML4E, PDPTE, PDE and PTE to where they belong; those behind a reference that goes
        elsewhere are not written.
        """
        addresses = []
        tables = iter(TABLES)
        table: int | None = DIRECTORY
        for shift, entry in zip((39, 30, 21, 12), hierarchy, strict=True):
            index = linear // 2**shift % 512 * 8
            if table is None:
                addresses.append(RAM)
                continue
            addresses.append(table + index)
            self.put(table + index, 8, entry)
            expected = next(tables, None)
            table = expected if entry % 2**52 // 0x1000 * 0x1000 == expected else None
        return tuple(addresses)

    def put(self, address: int, size: int, value: int) -> None:
        self.ram[address : address + size] = value.to_bytes(size, "little")

    def get(self, address: int, size: int) -> int:
        """An entry, or all ones where there is no memory."""
        return int.from_bytes(self.ram[address : address + size].ljust(size, b"\xff"), "little")

    def access(
        self,
        circumstances: Circumstances,
        entry_size: int,
        linear: int,
        addresses: tuple[int, ...],
    ) -> Outcome:
        """What comes of an access, in the statement's words."""
        state = control_state(circumstances.facts, linear)
        kind = ACCESSES[circumstances.does]
        who = PRIVILEGES[circumstances.who]
        found: PageFault | Translation
        try:
            found = self.mmu.translate(state, linear, kind, who)
        except PageFault as fault:
            found = fault
        entries = tuple(self.get(address, entry_size) for address in addresses)
        if isinstance(found, PageFault):
            used = len(found.left_open)
            assert (found.linear, found.left_open) == (linear, addresses[:used])
            return Outcome(found.error_code, None, None, frozenset(), used, entries)
        rights = {"read": found.readable, "write": found.writable, "fetch": found.executable}
        tlb = frozenset(name for name, given in rights.items() if given)
        return Outcome(None, found.physical, found.page_size, tlb, 0, entries)
