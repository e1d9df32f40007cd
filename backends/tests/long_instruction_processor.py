"""Unicorn in 64-bit mode, flat and without paging, that says what an instruction accessed."""

from __future__ import annotations

from typing import Any

import unicorn.unicorn_const as uc
import unicorn.x86_const as x86
from unicorn.unicorn_py3 import Uc, UcError

from backends.unicorn_model.delivery.descriptors import Descriptor
from backends.unicorn_model.long_mode.delivery.machine import GENERAL, Registers, Segment, Table

MEMORY = 0x80000
CODE_PAGE, SCRATCH = 0x2000, 0x20000
FS_BASE = 0x3000
# Near SCRATCH, so that whatever is added up is inside of MEMORY, by 32 bits too.
VALUES = {
    "rax": 0x21,
    "rcx": 3,
    "rdx": 0x55,
    **{name: SCRATCH + 0x1110 * index for index, name in enumerate(GENERAL[3:], start=1)},
}
_FILLER = b"\x01"
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


class LongInstructionProcessor:
    """Executes single instructions.

    Attributes:
        read, written: the linear addresses of the bytes that the last one accessed.
        length: of the last one, in bytes.
        vector: what interrupted it, or None.
    """

    def __init__(self) -> None:
        self.read: set[int] = set()
        self.written: set[int] = set()
        self.length = 0
        processor = self._processor = Uc(uc.UC_ARCH_X86, uc.UC_MODE_64)
        processor.mem_map(0, MEMORY)
        processor.mem_write(0, _FILLER * MEMORY)
        for name in GENERAL:
            processor.reg_write(getattr(x86, f"UC_X86_REG_{name.upper()}"), VALUES[name])
        processor.reg_write(x86.UC_X86_REG_FS_BASE, FS_BASE)
        self._context = processor.context_save()
        self.vector: int | None = None
        processor.hook_add(uc.UC_HOOK_MEM_READ, self._access, self.read)
        processor.hook_add(uc.UC_HOOK_MEM_WRITE, self._access, self.written)
        processor.hook_add(uc.UC_HOOK_INTR, self._interrupt)
        processor.hook_add(uc.UC_HOOK_CODE, self._code)

    def run(self, code: bytes, **values: int) -> bool:
        """Execute one instruction; says whether that raised no exception."""
        processor = self._processor
        processor.context_restore(self._context)
        for name, value in values.items():
            processor.reg_write(getattr(x86, f"UC_X86_REG_{name.upper()}"), value)
        for address in (address for address in self.written if address < MEMORY):
            processor.mem_write(address, _FILLER)
        processor.mem_write(CODE_PAGE, code.ljust(16, b"\x90"))
        processor.ctl_remove_cache(CODE_PAGE, CODE_PAGE + 0x1000)
        self.read.clear()
        self.written.clear()
        self.vector = None
        try:
            processor.emu_start(CODE_PAGE, until=0, count=1)
        except UcError:
            return False
        return self.vector is None

    def _access(
        self, _: Any, access: int, address: int, size: int, value: int, found: set[int]
    ) -> None:
        found.update(range(address, address + size))

    def _code(self, _: Any, address: int, size: int, __: Any) -> None:
        if address == CODE_PAGE:
            self.length = size

    def _interrupt(self, processor: Any, vector: int, _: Any) -> None:
        self.vector = vector
        processor.emu_stop()
