"""Guest memory by linear addresses, for what the model does itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from unicorn.unicorn_py3 import Uc

from backends.unicorn_model.access_rights import Access, Privilege
from backends.unicorn_model.control_state import ControlState
from backends.unicorn_model.control_unit import ControlUnit
from backends.unicorn_model.delivery.machine import Mode
from backends.unicorn_model.faults import NonCanonical, PageFault
from backends.unicorn_model.mmu import Mmu

__all__ = ["LinearMemory"]

_PAGE = 0x1000
_PRIVILEGES = {
    Mode.USER: Privilege.USER,
    Mode.SUPERVISOR: Privilege.SUPERVISOR,
    Mode.IMPLICIT: Privilege.IMPLICIT,
}


class LinearMemory:
    """Guest memory, as the processor's paging shows it.

    Attributes:
        MASK: of linear addresses.

    Args:
        processor: gets what is written.
        memory: guest RAM.
        mmu: translates all accesses.
        control: the processor's control registers.
    """

    MASK: ClassVar[int]

    def __init__(self, processor: Uc, memory: memoryview, mmu: Mmu, control: ControlUnit) -> None:
        self._processor = processor
        self._memory = memory
        self._mmu = mmu
        self._control = control
        self._state: ControlState | None = None
        self._frames: dict[tuple[int, Access, Privilege, bool], int] = {}

    def read(self, linear: int, size: int, mode: Mode) -> bytes:
        """Read bytes; memory that is not there reads as all ones."""
        data = b""
        for address, count in self.pieces(linear, size):
            data += self._physical(self._translate(address, Access.READ, mode), count)
        return data

    def check_write(self, linear: int, size: int, mode: Mode) -> None:
        """Raise the fault that a write would raise."""
        for address, _ in self.pieces(linear, size):
            self._translate(address, Access.WRITE, mode, check_only=True)

    def write(self, linear: int, data: bytes, mode: Mode) -> None:
        """Write bytes; to memory that is not there they are lost."""
        done = 0
        for address, count in self.pieces(linear, len(data)):
            physical = self._translate(address, Access.WRITE, mode)
            self.forget_translations()  # it may be a paging structure
            if physical + count <= len(self._memory):
                # Through Unicorn, which may have translated instructions that are there.
                self._processor.mem_write(physical, data[done : done + count])
            done += count

    def peek(self, linear: int, size: int, cpl: int, access: Access) -> bytes:
        """The bytes up to the first that cannot be accessed, without any trace."""
        translate, state = self._mmu.translate, self._control.state
        privilege = Privilege.USER if cpl == 3 else Privilege.SUPERVISOR
        data = b""
        for address, count in self.pieces(linear, size):
            try:
                translation = translate(state, address, access, privilege, check_only=True)
            except (PageFault, NonCanonical):
                break
            data += self._physical(translation.physical, count)
        return data

    def pieces(self, linear: int, size: int) -> Iterator[tuple[int, int]]:
        """The parts of an access that lie in one page each: address and size.

        A fault on a page behind the first has the address of its first byte.
        """
        while size:
            count = min(size, _PAGE - linear % _PAGE)
            yield linear, count
            linear, size = linear + count & self.MASK, size - count

    def forget_translations(self) -> None:
        """Paging structures may have been written."""
        self._frames.clear()

    def _translate(
        self, linear: int, access: Access, mode: Mode, *, check_only: bool = False
    ) -> int:
        """The physical address of an access, walked to once until something is written."""
        state = self._control.state
        if state is not self._state:
            self._state = state
            self.forget_translations()
        privilege = _PRIVILEGES[mode]
        key = (linear & -_PAGE, access, privilege, check_only)
        frame = self._frames.get(key)
        if frame is None:
            found = self._mmu.translate(state, linear, access, privilege, check_only=check_only)
            frame = self._frames[key] = found.frame
        return frame | linear & (_PAGE - 1)

    def _physical(self, address: int, size: int) -> bytes:
        return bytes(self._memory[address : address + size]).ljust(size, b"\xff")
