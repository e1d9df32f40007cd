"""What is where when the kernel starts: the boot loader's part and the image's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from conformance.case.case import Case
from conformance.case.payload import encode_program
from conformance.observe.trace import Event
from conformance.protocol import PROTOCOL

__all__ = ["Layout", "entry_event", "reserved_bytes"]

_INFORMATION_SIZE = 116
"""Bytes of the Multiboot information structure (Multiboot 0.6.96, section 3.3)."""

_MODULE_ENTRY_SIZE = 16
"""Bytes of one entry of the module list (the same)."""

_PROTECTION_ENABLE = 1 << 0


class Layout(Protocol):
    """What the oracle asks of an image: where its parts are."""

    @property
    def symbols(self) -> Mapping[str, int]:
        """The kernel's symbols and their virtual addresses."""

    def bounds(self, region: str, /) -> tuple[int, int]:
        """Physical [start, end) of what the symbols `NAME_start` and `NAME_end` bound."""


def entry_event() -> Event:
    """The machine state that Multiboot 0.6.96, section 3.2 promises; other bits are masked."""
    return Event(
        "entry",
        {
            "magic": PROTOCOL.constants["multiboot_bootloader_magic"],
            "information": PROTOCOL.boot["information"],
            "cr0": _PROTECTION_ENABLE,
            "eflags": 0,
            "a20": 1,
            "code_limit": 0xFFFFFFFF,
            "data_limit": 0xFFFFFFFF,
            "stack_limit": 0xFFFFFFFF,
        },
    )


def reserved_bytes(
    case: Case, image: Layout, memory_map: bytes | None
) -> Iterator[tuple[str, int, int]]:
    """What the allocator must never hand out: (pass, start, end) in bytes, in the passes' order.

    The loader passes one module, the program; so each pass has one range.
    """
    boot = PROTOCOL.boot
    yield "first_frame", 0, PROTOCOL.constants["frame_size"]
    yield "kernel_image", *image.bounds("kernel_image")
    yield "information", *_sized(boot["information"], _INFORMATION_SIZE)
    if memory_map is not None:
        yield "memory_map", *_sized(boot["memory_map"], len(memory_map))
    yield "module_list", *_sized(boot["module_list"], _MODULE_ENTRY_SIZE)
    module = encode_program(case.program, case.state_regions)
    yield "module", *_sized(boot["module"], len(module))
    yield "page_tables", *image.bounds("page_tables")
    yield "task_stacks", *image.bounds("task_stacks")
    yield "probe_arena", *image.bounds("probe_arena")
    yield "trace_buffer", *image.bounds("trace_buffer")


def _sized(start: int, size: int) -> tuple[int, int]:
    return start, start + size
