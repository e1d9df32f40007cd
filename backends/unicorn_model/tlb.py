"""Unicorn's TLB, which holds what the page walk answered."""

from __future__ import annotations

import unicorn.unicorn_const as uc
from unicorn.unicorn_py3 import Uc

__all__ = ["flush_tlb"]


def flush_tlb(processor: Uc) -> None:
    """Make Unicorn ask for every translation anew."""
    # Its Python binding has no name for this.
    processor.ctl(uc.UC_CTL_TLB_FLUSH, uc.UC_CTL_IO_WRITE)
