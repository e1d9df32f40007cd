"""Machines: what a backend has to provide before an image can run."""

from __future__ import annotations

from dataclasses import dataclass, replace

from conformance.case.processor import (
    CPU_FEATURES,
    CPU_PROFILES,
    LONG_MODE_PROFILES,
    Feature,
)
from conformance.errors import InvalidArgument

__all__ = ["CPU_PROFILES", "PAGING_MODES", "Machine", "every_machine"]

PAGING_MODES = ("legacy", "pae", "4-level")
"""Paging modes: i686 can be asked for 32-bit paging and for PAE paging; x86_64 has the third."""

_ARCHITECTURES = {"legacy": "i686", "pae": "i686", "4-level": "x86_64"}

_RAM_MIB = range(16, 2049)


@dataclass(frozen=True, slots=True)
class Machine:
    """RAM size, processor and paging mode.

    RAM may be far smaller than what the memory map claims: the kernel touches only what it runs in.

    Attributes:
        ram_mib: RAM in MiB, 16 to 2048; the kernel window needs 16.
        cpu_profile: one of CPU_PROFILES.
        paging: one of PAGING_MODES.

    Raises:
        InvalidArgument: a value is not one of those, or the processor lacks the paging mode.
    """

    ram_mib: int = 16
    cpu_profile: str = "pentium3"
    paging: str = "legacy"

    def __post_init__(self) -> None:
        if self.ram_mib not in _RAM_MIB:
            raise InvalidArgument(
                f"ram_mib={self.ram_mib} is outside [{_RAM_MIB.start}, {_RAM_MIB.stop})"
            )
        if self.cpu_profile not in CPU_PROFILES:
            raise InvalidArgument(
                f"no cpu_profile {self.cpu_profile!r}; known: {', '.join(CPU_PROFILES)}"
            )
        if self.paging not in PAGING_MODES:
            raise InvalidArgument(
                f"no paging mode {self.paging!r}; known: {', '.join(PAGING_MODES)}"
            )
        if self.paging == "4-level" and self.cpu_profile not in LONG_MODE_PROFILES:
            raise InvalidArgument(
                f"cpu_profile {self.cpu_profile!r} has no 4-level paging; "
                f"these have: {', '.join(LONG_MODE_PROFILES)}"
            )

    @classmethod
    def smallest(cls, architecture: str) -> Machine:
        """The smallest machine that runs the images of an architecture."""
        if architecture == "x86_64":
            return cls(cpu_profile=LONG_MODE_PROFILES[0], paging="4-level")
        return cls()

    @property
    def architecture(self) -> str:
        """Of the images that run on it."""
        return _ARCHITECTURES[self.paging]

    @property
    def ram_bytes(self) -> int:
        """RAM in bytes."""
        return self.ram_mib << 20

    @property
    def features(self) -> Feature:
        """What the processor has."""
        return CPU_FEATURES[self.cpu_profile]

    @property
    def hardware(self) -> Machine:
        """The machine without what the payload decides: one engine process serves all of these."""
        return replace(self, paging=Machine.smallest(self.architecture).paging)


def every_machine(architecture: str | None = None) -> tuple[Machine, ...]:
    """Every processor with each of its paging modes, with the least RAM; the simplest first.

    Args:
        architecture: of the images that run on them; by default any.
    """
    return tuple(
        Machine(cpu_profile=cpu_profile, paging=paging)
        for paging, runs in _ARCHITECTURES.items()
        for cpu_profile in (LONG_MODE_PROFILES if paging == "4-level" else CPU_PROFILES)
        if architecture in (None, runs)
    )
