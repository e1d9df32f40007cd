"""Where Bochs' debugger finds guest RAM: it dumps linear memory only, and guests bend page tables.

Whether a piece of RAM is where the kernel maps it, in the kernel window, is read off the entries
that translate those addresses (SDM vol. 3, 4.3 to 4.5).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from conformance.observe.observation import ControlRegisters

__all__ = ["Translation", "control_registers"]

_CR0_PG, _CR4_PAE = 1 << 31, 1 << 5
_PRESENT, _LARGE = 0x1, 0x80
_PAGE = 12  # bits of an address inside a page
_FRAME = 0x000FFFFFFFFFF000  # of an entry

# XCR0 is there as well, on processors that have it.
_REGISTER = re.compile(
    rb"^(CR0|CR2|CR3|CR4|EFER)=(?:page fault laddr=)?0x([0-9a-f]+)", re.MULTILINE
)
_DIRECTORY_ENTRY = re.compile(rb"\bPDE: 0x([0-9a-f]+)")


def control_registers(text: bytes) -> ControlRegisters:
    """The control registers in the answer to `creg`.

    Raises:
        OSError: they are not in it.
    """
    found = {name.decode().lower(): int(value, 16) for name, value in _REGISTER.findall(text)}
    try:
        return ControlRegisters(**found)
    except TypeError as error:
        raise OSError(f"creg: {error}: {text!r}") from error


@dataclass(frozen=True, slots=True)
class Translation:
    """How the guest's linear addresses are translated, as far as it is asked for.

    Attributes:
        window: the linear address of the kernel window.
        control: the control registers.
        page: the debugger's answer to `page` for a linear address. It has the page-directory entry
            that the processor uses: with PAE paging, that is not always what memory leads to, for
            the processor keeps the pointers to the directories in registers (SDM vol. 3, 4.4.1).
        examine: reads words of physical memory: `examine(address, words)`.
    """

    window: int
    control: ControlRegisters
    page: Callable[[int], bytes]
    examine: Callable[[int, int], bytes]

    def linear(self, address: int, size: int) -> int | None:
        """The linear address of [address, address + size), if it is mapped as the kernel does."""
        if not self.control.cr0 & _CR0_PG:
            return address
        linear = address + self.window
        first, end = linear >> _PAGE, (linear + size - 1 >> _PAGE) + 1
        per_table = 512 if self.control.cr4 & _CR4_PAE else 1024
        while first < end:
            count = min(end, (first // per_table + 1) * per_table) - first
            if not self._straight(first, count, per_table, address >> _PAGE):
                return None
            first += count
            address += count << _PAGE
        return linear

    def _straight(self, page: int, count: int, per_table: int, frame: int) -> bool:
        """Whether so many pages, all of one table, lead to frames one after the other."""
        match = _DIRECTORY_ENTRY.search(self.page(page << _PAGE))
        if match is None:
            return False
        directory_entry = int(match[1], 16)
        if not directory_entry & _PRESENT or directory_entry & _LARGE:
            return False
        words = 2 if per_table == 512 else 1
        table = (directory_entry & _FRAME) + page % per_table * words * 4
        entries = struct.iter_unpack(
            "<Q" if words == 2 else "<I", self.examine(table, count * words)
        )
        return all(
            entry & (_FRAME | _PRESENT) == frame + index << _PAGE | _PRESENT
            for index, (entry,) in enumerate(entries)
        )
