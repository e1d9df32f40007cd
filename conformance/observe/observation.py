"""Observations: what one backend did with one case. Bytes stay bytes until decoded."""

from __future__ import annotations

import hashlib
import itertools
import struct
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from conformance.protocol import StateRegion

__all__ = [
    "ControlRegisters",
    "MachineFault",
    "Observation",
    "Outcome",
    "StateDigest",
    "fletcher",
]


class Outcome(StrEnum):
    """How a run ended."""

    COMPLETED = "completed"
    """The kernel ran its whole program and said so."""
    PANICKED = "panicked"
    """The kernel stopped on purpose."""
    TRIPLE_FAULT = "triple-fault"
    """The machine was reset while the kernel was running."""
    GARBLED = "garbled"
    """The kernel came to its exit path, but what it left behind is not a trace."""
    DEADLINE = "deadline"
    """The kernel was still running when its time was over."""
    BACKEND_CRASHED = "backend-crashed"
    """The engine ended, or stopped talking, by itself."""
    REFUSED = "refused"
    """The engine or the ROM would not start the case."""


_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class StateDigest:
    """The final content of a region of guest memory, read from outside.

    Attributes:
        region: the protocol's name for it.
        words: how many 32-bit words it has.
        checksum: as the kernel computes it (kernel/TRACE.md, "Checksums").
        sha256: hexadecimal, over the masked words.
    """

    region: str
    words: int
    checksum: int
    sha256: str

    @classmethod
    def of(cls, region: StateRegion, data: bytes) -> StateDigest:
        """The digest of a region's bytes; a trailing part of a word is ignored."""
        return _digest(region, data)


@lru_cache(maxsize=64)
def _digest(region: StateRegion, data: bytes) -> StateDigest:
    words = len(data) // 4
    mask = int.from_bytes(region.mask.to_bytes(4, "little") * words, "little")
    masked = (int.from_bytes(data[: words * 4], "little") & mask).to_bytes(words * 4, "little")
    return StateDigest(region.name, words, fletcher(masked), hashlib.sha256(masked).hexdigest())


def fletcher(data: bytes) -> int:
    """Fletcher's sum over little-endian 32-bit words, modulo 2^32: `b << 32 | a`.

    Computed by blocks, of which most are alike: bitmaps are long runs of one value.
    """
    total = running = 0
    for offset in range(0, len(data), _BLOCK):
        block = data[offset : offset + _BLOCK]
        block_total, block_running = _block_sums(block)
        running += total * (len(block) // 4) + block_running
        total += block_total
    return (running % (1 << 32)) << 32 | total % (1 << 32)


@lru_cache(maxsize=1024)
def _block_sums(block: bytes) -> tuple[int, int]:
    words = struct.unpack(f"<{len(block) // 4}I", block)
    return sum(words), sum(itertools.accumulate(words))


@dataclass(frozen=True, slots=True)
class MachineFault:
    """An exception whose handler the machine entered, as the engine itself recorded it.

    Software interrupts count; vectors from 32 up do not. What the engine does not say is None.

    Attributes:
        vector: of the handler that was entered: a double fault, not the faults that made it.
        error_code: None also where the vector has none.
        cr2: of a page fault.
        eip: the saved instruction pointer.
    """

    vector: int
    error_code: int | None = None
    cr2: int | None = None
    eip: int | None = None


@dataclass(frozen=True, slots=True)
class ControlRegisters:
    """The control registers at the end, read from outside; None where the engine does not say."""

    cr0: int
    cr2: int
    cr3: int
    cr4: int
    efer: int | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """What one backend did with one case.

    Attributes:
        backend: the instance's name.
        outcome: how the run ended.
        detail: one line about the outcome where there is more to say, else empty.
        trace: the records in the trace buffer, without its header.
        state: digests of the regions the case names, in the protocol's order; empty unless the
            kernel came to its end.
        console: the last bytes the guest printed, bounded; never compared.
        command: the engine's exact command line.
        faults: the machine's own record of the exceptions, in their order; None where the engine
            keeps none.
        control: the control registers at the end; None where they were not read.
    """

    backend: str
    outcome: Outcome
    detail: str = ""
    trace: bytes = b""
    state: tuple[StateDigest, ...] = ()
    console: bytes = b""
    command: tuple[str, ...] = ()
    faults: tuple[MachineFault, ...] | None = None
    control: ControlRegisters | None = None
