"""Processors: what the profiles have that the kernel's paging depends on."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag

__all__ = ["CPU_FEATURES", "CPU_PROFILES", "LONG_MODE_PROFILES", "Feature"]


class Feature(IntFlag):
    """What CPUID says of a processor: the bits of `features` in the event `paging`."""

    PSE = 1 << 0
    PAE = 1 << 1
    NX = 1 << 2
    SMEP = 1 << 3
    SMAP = 1 << 4
    HUGE_PAGES = 1 << 5
    """Pages of 1 GiB, with 4-level paging."""


CPU_FEATURES: Mapping[str, Feature] = {
    "pentium3": Feature.PSE | Feature.PAE,
    "core2duo": Feature.PSE | Feature.PAE | Feature.NX,
    "broadwell": (
        Feature.PSE | Feature.PAE | Feature.NX | Feature.SMEP | Feature.SMAP | Feature.HUGE_PAGES
    ),
}
"""The features of each profile; the simplest processor first."""

CPU_PROFILES = tuple(CPU_FEATURES)
"""Processor models that every built-in backend knows, by the harness's name for them."""

LONG_MODE_PROFILES = ("core2duo", "broadwell")
"""Those that have long mode."""
