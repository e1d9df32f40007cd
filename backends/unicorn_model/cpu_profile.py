"""What a processor's paging can do: the answers of CPUID (SDM vol. 3, 4.1.4)."""

from __future__ import annotations

from dataclasses import dataclass

# SDM vol. 3, 2.5: VME PVI TSD DE, MCE PGE PCE OSFXSR OSXMMEXCPT; then those of later processors.
_P6_CR4 = 0x7CF
_VMXE, _FSGSBASE, _OSXSAVE = 1 << 13, 1 << 16, 1 << 18

__all__ = ["PROFILES", "CpuProfile"]


@dataclass(frozen=True, slots=True)
class CpuProfile:
    """A processor, as far as paging can tell it from another one.

    Attributes:
        maxphyaddr: width of a physical address, the manual's MAXPHYADDR and M.
        has_pse: CR4.PSE may be set: 4 MiB pages with 32-bit paging.
        has_pse36: 4 MiB pages may lie above 4 GiB.
        has_pae: CR4.PAE may be set.
        has_pat: PTE bit 7, and bit 12 of a PDE that maps a page, choose a memory type; without the
            PAT they are reserved.
        has_nx: IA32_EFER.NXE may be set.
        has_long_mode: IA32_EFER.LME may be set.
        has_1gib_pages: with 4-level paging, PDPTEs may map pages.
        has_smep: CR4.SMEP may be set.
        has_smap: CR4.SMAP may be set.
        other_cr4: bits of CR4 that may be set besides PSE, PAE, SMEP and SMAP.
        checks_absent_pdptes: loading the PDPTE registers checks the reserved bits of entries that
            are not present, too. The manual leaves that open (4.4.1, footnote: "on some
            processors").
        cpuid_features: what CPUID answers in EAX, EBX, ECX and EDX for leaf 80000001H; None where
            Unicorn's processor of that name says what the profile has.
    """

    maxphyaddr: int = 36
    has_pse: bool = True
    has_pse36: bool = True
    has_pae: bool = True
    has_pat: bool = True
    has_nx: bool = True
    has_long_mode: bool = True
    has_1gib_pages: bool = False
    has_smep: bool = False
    has_smap: bool = False
    other_cr4: int = _P6_CR4
    checks_absent_pdptes: bool = False
    cpuid_features: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        # 4.1.4: at most 52; no processor has less than the 32 bits of 32-bit paging.
        if not 32 <= self.maxphyaddr <= 52:
            raise ValueError(f"maxphyaddr: expected 32 to 52, got {self.maxphyaddr!r}")


PROFILES = {
    "pentium3": CpuProfile(has_nx=False, has_long_mode=False),
    "core2duo": CpuProfile(other_cr4=_P6_CR4 | _VMXE),
    "broadwell": CpuProfile(
        maxphyaddr=39,
        has_1gib_pages=True,
        has_smep=True,
        has_smap=True,
        other_cr4=_P6_CR4 | _VMXE | _FSGSBASE | _OSXSAVE,
        # Unicorn's, and bit 26 of EDX: 1-GByte pages.
        cpuid_features=(0x306D2, 0, 0x21, 0x28100800 | 1 << 26),
    ),
}
"""By the harness's name of the CPU profile."""
