"""Exceptions, from the Intel SDM, volume 3, chapter 6 (Interrupt and Exception Handling).

The kernel does not load an interrupt descriptor table yet, so all there is to model is where an
exception leads without one.
"""

from __future__ import annotations

import struct

__all__ = ["GateNotModelled", "leads_to_shutdown"]

_GATE_SIZE = 8
_GATE_PRESENT = 1 << 47
_DOUBLE_FAULT = 8


class GateNotModelled(Exception):
    """The guest has a gate for the exception; delivery through gates is not modelled."""


def leads_to_shutdown(memory: memoryview, base: int, limit: int, vector: int) -> bool:
    """Whether an exception ends in the shutdown state (SDM 6.15, "Interrupt 8").

    A vector beyond the table's limit is a general-protection fault, a gate that is not present a
    segment-not-present fault; either, met while an exception is being delivered, makes a double
    fault, and met while that one is being delivered, the processor shuts down: a triple fault.

    Args:
        memory: guest RAM.
        base, limit: the IDTR, its base as a physical address.
        vector: of the first exception.

    Raises:
        GateNotModelled: there is a present gate.
    """
    for number in (vector, _DOUBLE_FAULT):
        start = base + number * _GATE_SIZE
        if number * _GATE_SIZE + _GATE_SIZE - 1 > limit or start + _GATE_SIZE > len(memory):
            continue
        (gate,) = struct.unpack_from("<Q", memory, start)
        if gate & _GATE_PRESENT:
            raise GateNotModelled(f"vector={number} gate={gate:#x}")
    return True
