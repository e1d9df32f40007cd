"""What the manual says of exception vectors (SDM vol. 3, table 6-1), for reading engines' logs."""

from __future__ import annotations

__all__ = ["DELIVERY_FAULTS", "NOT_BENIGN", "PAGE_FAULT", "RECORDED", "error_code_of"]

PAGE_FAULT = 14

RECORDED = range(32)
"""Vectors of exceptions; the others are interrupts."""

DELIVERY_FAULTS = range(10, 15)
"""#TS, #NP, #SS, #GP and #PF: what delivering an interrupt or exception can raise."""

NOT_BENIGN = frozenset({0, 8, 10, 11, 12, 13, 14})
"""Vectors of contributory exceptions, page faults and double faults (table 6-4)."""

_WITH_ERROR_CODE = frozenset({8, 10, 11, 12, 13, 14, 17, 21})


def error_code_of(vector: int, error_code: int) -> int | None:
    """The error code of an exception, or None where its vector has none."""
    return error_code if vector in _WITH_ERROR_CODE else None
