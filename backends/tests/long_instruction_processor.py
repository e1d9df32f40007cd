"""Unicorn in 64-bit mode, flat and without paging, that says what an instruction accessed."""

from __future__ import annotations

from typing import Any

import unicorn.unicorn_const as uc
from instruction_processor import CODE_PAGE, FS_BASE, SCRATCH, SingleInstructions

from backends.unicorn_model.delivery.descriptors import Descriptor
from backends.unicorn_model.long_mode.delivery.machine import GENERAL, Registers, Segment, Table

MEMORY = 0x80000
# Near SCRATCH, so that whatever is added up is inside of MEMORY, by 32 bits too.
VALUES = {
    "rax": 0x21,
    "rcx": 3,
    "rdx": 0x55,
    **{name: SCRATCH + 0x1110 * index for index, name in enumerate(GENERAL[3:], start=1)},
}
_FLAT = Descriptor(0, 0xFFFFFFFF, 0x13, 0, present=True, big=True)


def registers(**changes: Any) -> Registers:
    """The state that `run` starts from."""
    flat = Segment(0x10, _FLAT)
    fs = Segment(0x18, Descriptor(FS_BASE, 0xFFFFFFFF, 0x13, 0, present=True, big=True))
    code = Segment(0x08, Descriptor(0, 0xFFFFFFFF, 0x1B, 0, True, big=False, long=True))
    values: dict[str, Any] = {
        **VALUES,
        **dict.fromkeys(("es", "ss", "ds", "gs"), flat),
        "cs": code,
        "fs": fs,
        "rip": CODE_PAGE,
        "rflags": 2,
        "gdtr": Table(0, 0),
        "idtr": Table(0, 0),
        "ldtr": Segment(0, None),
        "tr": Segment(0, None),
        "cr0": 0x80000011,
        "cr2": 0,
        "cr3": 0,
        **changes,
    }
    return Registers(**values)


class LongInstructionProcessor(SingleInstructions):
    """Those of 64-bit code."""

    MODE, SIZE = uc.UC_MODE_64, MEMORY

    def _set_registers(self) -> None:
        self._write_registers(VALUES | {"fs_base": FS_BASE})
