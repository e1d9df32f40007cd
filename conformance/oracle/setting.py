"""What stays the same in a run: the paging mode, the processor, and where things are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from conformance.case.case import Case
from conformance.case.processor import Feature
from conformance.errors import ImageError
from conformance.oracle.boot import Layout
from conformance.protocol import PROTOCOL

__all__ = [
    "ARENA_SIZE",
    "PAGE",
    "STACK_SIZE",
    "Setting",
    "is_canonical",
]

PAGE: Final = PROTOCOL.constants["frame_size"]
ARENA_SIZE: Final = PROTOCOL.constants["arena_frames"] * PAGE
STACK_SIZE: Final = PROTOCOL.constants["task_stack_size"]
_SLOTS: Final = PROTOCOL.constants["probe_slots"]


@dataclass(frozen=True, slots=True)
class Setting:
    """The setting of a run. Addresses are physical unless they are said to be linear.

    Attributes:
        paging: the machine's paging mode.
        window: linear address of physical address 0, in the kernel window.
        stack_area: linear address of the first stack object.
        probe_area: linear address of the first slot that programs map.
        slot_size: bytes from one slot to the next.
        user_area: linear address of the page of user-mode code.
        features: what the processor has.
        stacks: how many stacks the pool has.
        tables: [start, end) of the page tables.
        task_stacks: of the first stack object.
        arena: of the first frame of the arena.
        user_code, user_stack: of the frames that ring 3 uses.
        kernel_image: of the kernel's first byte.
        probe_stack: linear [start, end) of the stack that probes run on.
        symbols: the image's, linear.
    """

    paging: str
    window: int
    stack_area: int
    probe_area: int
    slot_size: int
    user_area: int
    features: Feature
    stacks: int
    tables: tuple[int, int]
    task_stacks: int
    arena: int
    user_code: int
    user_stack: int
    kernel_image: int
    probe_stack: tuple[int, int]
    symbols: Mapping[str, int] = field(compare=False)

    @classmethod
    def of(cls, case: Case, image: Layout) -> Setting:
        """The setting of a case on an image.

        Raises:
            ImageError: the image lacks a symbol.
        """
        symbols = MappingProxyType(image.symbols)
        values = PROTOCOL.images[case.machine.architecture]
        window = values.boot["kernel_window"]
        return cls(
            paging=case.machine.paging,
            window=window,
            stack_area=values.area["stacks"],
            probe_area=values.area["probe"],
            slot_size=values.constants["probe_slot_size"],
            user_area=values.area["user"],
            features=case.machine.features,
            stacks=case.program.stacks,
            tables=image.bounds("page_tables"),
            task_stacks=image.bounds("task_stacks")[0],
            arena=image.bounds("probe_arena")[0],
            user_code=_symbol(symbols, "user_code_start") - window,
            user_stack=_symbol(symbols, "user_stack_start") - window,
            kernel_image=image.bounds("kernel_image")[0],
            probe_stack=(
                _symbol(symbols, "probe_stack_start"),
                _symbol(symbols, "probe_stack_end"),
            ),
            symbols=symbols,
        )

    @property
    def pae(self) -> bool:
        """PAE paging, with its registers for the page-directory-pointer table."""
        return self.paging == "pae"

    @property
    def wide(self) -> bool:
        """Paging-structure entries have 64 bits: PAE paging, or 4-level paging."""
        return self.paging != "legacy"

    @property
    def long_mode(self) -> bool:
        """The kernel runs in 64-bit mode."""
        return self.paging == "4-level"

    @property
    def user_stack_top(self) -> int:
        """Linear address behind the stack that ring 3 has."""
        return self.user_area + 2 * PAGE

    @property
    def word(self) -> int:
        """Bytes that a push takes."""
        return 8 if self.long_mode else 4

    @property
    def no_execute(self) -> bool:
        """The kernel sets IA32_EFER.NXE at start-up."""
        return self.wide and Feature.NX in self.features

    @property
    def huge_pages(self) -> bool:
        """PDPTEs can map pages of 1 GiB."""
        return self.long_mode and Feature.HUGE_PAGES in self.features

    @property
    def slots(self) -> tuple[int, ...]:
        """Linear addresses of the slots of the probe area."""
        return tuple(self.probe_area + number * self.slot_size for number in range(_SLOTS))

    @property
    def entry_size(self) -> int:
        """Bytes of a paging-structure entry."""
        return 8 if self.wide else 4

    def symbol(self, name: str) -> int:
        """A symbol's linear address.

        Raises:
            ImageError: the image has no such symbol.
        """
        return _symbol(self.symbols, name)

    def user_symbol(self, name: str) -> int:
        """Where ring 3 sees a symbol of the user-mode code."""
        return self.user_area + self.symbol(name) - self.symbol("user_code_start")

    def is_probeable(self, address: int, size: int = 1) -> bool:
        """The bytes are in one slot of the probe area, and over the arena's frames."""
        offset = self.offset_in_slot(address)
        return self.in_probe_area(address) and offset + size <= ARENA_SIZE

    def in_probe_area(self, address: int) -> bool:
        """Is it in the linear addresses that programs map?"""
        return 0 <= address - self.probe_area < _SLOTS * self.slot_size

    def offset_in_slot(self, address: int) -> int:
        """From the start of the slot of an address in the probe area."""
        return (address - self.probe_area) % self.slot_size

    def is_stack(self, address: int, size: int) -> bool:
        """The bytes are in stack objects of the pool."""
        end = self.stack_area + self.stacks * STACK_SIZE
        return address >= self.stack_area and address + size <= end

    def is_kernel(self, address: int, size: int) -> bool:
        """The bytes are in the kernel's first 4 KiB."""
        start = self.window + self.kernel_image
        return start <= address and address + size <= start + PAGE

    def is_arena_window(self, address: int, size: int) -> bool:
        """The bytes are in the arena, through the kernel's window."""
        start = self.window + self.arena
        return start <= address and address + size <= start + ARENA_SIZE


def _symbol(symbols: Mapping[str, int], name: str) -> int:
    try:
        return symbols[name]
    except KeyError:
        raise ImageError(
            f"the kernel has no symbol {name!r}: was it built from other sources?"
        ) from None


def is_canonical(address: int) -> bool:
    """Bits 63 to 47 of a linear address are all equal (SDM vol. 1, 3.3.7.1)."""
    return address >> 47 in (0, (1 << 17) - 1)
