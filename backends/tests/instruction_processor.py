"""Unicorn, flat and without paging, that says what an instruction accessed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import unicorn.unicorn_const as uc
import unicorn.x86_const as x86
from delivery_machine import CODE, DATA, descriptor
from unicorn.unicorn_py3 import Uc, UcError

from backends.unicorn_model.delivery.descriptors import decode_descriptor
from backends.unicorn_model.delivery.machine import Registers, Segment, Table

MEMORY = 0x40000
TABLE, CODE_PAGE, SCRATCH = 0x3F000, 0x2000, 0x20000
FS_BASE, SS_BASE = 0x3000, 0x5000
SELECTORS = {"cs": 0x08, "ds": 0x10, "es": 0x10, "ss": 0x20, "fs": 0x18, "gs": 0x10}
DESCRIPTORS = (
    bytes(8),
    descriptor(CODE | 1),
    descriptor(DATA | 1),
    descriptor(DATA | 1, base=FS_BASE),
    descriptor(DATA | 1, base=SS_BASE),
    *[bytes(8)] * 7,
)
# Near SCRATCH, so that whatever is added up is inside of MEMORY, by 16 bits too.
VALUES = {
    "eax": 0x21,
    "ecx": 3,
    "edx": 0x55,
    "ebx": SCRATCH + 0x1110,
    "esp": SCRATCH + 0x2220,
    "ebp": SCRATCH + 0x3330,
    "esi": SCRATCH + 0x4440,
    "edi": SCRATCH + 0x5550,
}
_FILLER = b"\x01"


def registers(**changes: Any) -> Registers:
    """The state that `run` starts from."""
    segments: dict[str, Any] = {
        name: Segment(selector, decode_descriptor(DESCRIPTORS[selector >> 3]))
        for name, selector in SELECTORS.items()
    }
    values: dict[str, Any] = {
        **VALUES,
        **segments,
        "eip": CODE_PAGE,
        "eflags": 2,
        "gdtr": Table(TABLE, len(DESCRIPTORS) * 8 - 1),
        "idtr": Table(0, 0),
        "ldtr": Segment(0, None),
        "tr": Segment(0, None),
        "cr0": 0x11,
        "cr2": 0,
        "cr3": 0,
        **changes,
    }
    return Registers(**values)


class SingleInstructions(ABC):
    """Executes single instructions, from the same state each time.

    Attributes:
        MODE: Unicorn's number of the processor's mode.
        SIZE: bytes of memory.
        read, written: the linear addresses of the bytes that the last one accessed.
        length: of the last one, in bytes.
        vector: what interrupted it, or None.
    """

    MODE: ClassVar[int]
    SIZE: ClassVar[int]

    def __init__(self) -> None:
        self.read: set[int] = set()
        self.written: set[int] = set()
        self.length = 0
        processor = self._processor = Uc(uc.UC_ARCH_X86, self.MODE)
        processor.mem_map(0, self.SIZE)
        processor.mem_write(0, _FILLER * self.SIZE)
        self._set_registers()
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
        self._write_registers(values)
        for address in (address for address in self.written if address < self.SIZE):
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

    @abstractmethod
    def _set_registers(self) -> None:
        """Bring the processor into the state that instructions start from."""

    def _write_registers(self, values: dict[str, int]) -> None:
        for name, value in values.items():
            self._processor.reg_write(getattr(x86, f"UC_X86_REG_{name.upper()}"), value)

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


class InstructionProcessor(SingleInstructions):
    """Those of 32-bit code."""

    MODE, SIZE = uc.UC_MODE_32, MEMORY

    def put(self, selector: int, raw: bytes) -> None:
        """Set a descriptor of the GDT."""
        self._processor.mem_write(TABLE + (selector & ~7), raw)

    def _set_registers(self) -> None:
        self._processor.mem_write(TABLE, b"".join(DESCRIPTORS))
        self._processor.reg_write(x86.UC_X86_REG_GDTR, (0, TABLE, len(DESCRIPTORS) * 8 - 1, 0))
        self._write_registers(SELECTORS | VALUES)

    def _access(
        self, _: Any, access: int, address: int, size: int, value: int, found: set[int]
    ) -> None:
        # Loads of segment registers read the table as well, which is no data access.
        if not TABLE <= address < TABLE + 0x1000:
            super()._access(_, access, address, size, value, found)
