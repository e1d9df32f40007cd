"""What Unicorn's processor holds and does not show: the hidden parts of its segment registers, and
what it knows of its last exception.

Unicorn can save its state as one block of bytes. Where in it these things lie depends on how it was
built, so they are looked for once, in processors whose state is known.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import unicorn.unicorn_const as uc
import unicorn.x86_const as x86
from unicorn.unicorn_py3 import Uc, UcContext

from backends.unicorn_model.delivery.descriptors import BUSY_TSS, LDT, Descriptor
from backends.unicorn_model.delivery.machine import SEGMENTS, Segment
from backends.unicorn_model.segment_registers import descriptor_words

__all__ = ["SYSTEM_SEGMENTS", "HiddenState", "UnknownUnicorn", "layout"]

SYSTEM_SEGMENTS = ("ldtr", "tr")

_ORDER = (*SEGMENTS, *SYSTEM_SEGMENTS)
_SEGMENT = struct.Struct("<IxxxxQII")  # selector, base, limit in bytes, high word of the descriptor
_PRESENT = 1 << 15
_NONE = struct.pack("<i", -1)
# Flags that Unicorn derives from segment registers: the CPL, whether CS and SS are of 32 bits,
# whether bases count, and whether CS is of 64 bits. And of CR0: protected mode.
_CPL, _CODE_32, _STACK_32, _BASES, _CODE_64 = 3, 1 << 4, 1 << 5, 1 << 6, 1 << 15
_PROTECTED = 1 << 7

_PAGE = 0x1000
_TABLE, _CODE = 0, _PAGE
_FLAT = struct.pack("<QQQ", 0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF)
_GENERAL_PROTECTION = 13


class UnknownUnicorn(Exception):
    """This Unicorn does not keep its state as the ones do that this was written for."""

    def __init__(self, what: str) -> None:
        version = f"{uc.UC_API_MAJOR}.{uc.UC_API_MINOR}.{uc.UC_API_PATCH}"
        super().__init__(f"Unicorn {version}: {what} not where 2.1.4 has them")


@dataclass(frozen=True, slots=True)
class Layout:
    """Offsets in the saved state.

    Attributes:
        flags: of those that Unicorn derives from segment registers.
        segments: of eight `_SEGMENT`, in `_ORDER`.
        software: of a byte: was the last interruption INT n, and no exception?
        earlier: of the vector upon which the next exception is taken to arise, or -1.
    """

    flags: int
    segments: int
    software: int
    earlier: int


class HiddenState:
    """The hidden state of one processor.

    Args:
        processor: stopped, or in one of its hooks.

    Raises:
        UnknownUnicorn: this Unicorn keeps it elsewhere.
    """

    def __init__(self, processor: Uc) -> None:
        self._layout = layout()
        self._processor = processor
        self._saved = processor.context_save()
        self._address = ctypes.cast(self._saved.context, ctypes.c_void_p).value or 0

    def segments(self) -> dict[str, Segment]:
        """The segment registers, LDTR and TR, by name."""
        self._processor.context_update(self._saved)
        state = self._bytes(self._layout.segments, _SEGMENT.size * len(_ORDER))
        return dict(_known_segments(state))

    def software_interrupt(self) -> bool:
        """In a hook: was it INT n, INT3 or INTO that interrupted, and no exception?"""
        self._processor.context_update(self._saved)
        return self._bytes(self._layout.software, 1) != b"\0"

    def forget_exception(self) -> None:
        """Let the next exception be the first.

        Unicorn leaves the delivery of exceptions to its user and does not notice when one is over:
        it would make a double fault of any two.
        """
        self._processor.context_update(self._saved)
        start = self._layout.earlier
        if self._bytes(start, len(_NONE)) != _NONE:
            self._restore_with({start: _NONE})

    def load_in_long_mode(self, segments: Mapping[str, Segment], cpl: int) -> None:
        """Load some segment registers of a processor that is in 64-bit mode, or comes to be.

        Args:
            segments: by name.
            cpl: the privilege level that they bring about.
        """
        self._processor.context_update(self._saved)
        (flags,) = struct.unpack("<I", self._bytes(self._layout.flags, 4))
        flags = flags & ~(_CPL | _BASES) | _CODE_64 | _CODE_32 | _STACK_32 | cpl
        parts = {self._layout.flags: struct.pack("<I", flags)}
        for name, segment in segments.items():
            offset = self._layout.segments + _ORDER.index(name) * _SEGMENT.size
            parts[offset] = _hidden(segment)
        self._restore_with(parts)

    def _restore_with(self, parts: Mapping[int, bytes]) -> None:
        """Restore the state that was saved, with other bytes at some offsets."""
        for offset, part in parts.items():
            ctypes.memmove(self._address + offset, part, len(part))
        self._processor.context_restore(self._saved)

    def _bytes(self, offset: int, size: int) -> bytes:
        """A part of the saved state: all of it are thousands of bytes, and this is done often."""
        return ctypes.string_at(self._address + offset, size)


def _segments(state: bytes) -> Mapping[str, Segment]:
    values = _SEGMENT.iter_unpack(state)
    return {name: _segment(*value) for name, value in zip(_ORDER, values, strict=True)}


_known_segments = lru_cache(maxsize=64)(_segments)  # a kernel has a few combinations of them


def _segment(selector: int, base: int, limit: int, word: int) -> Segment:
    if not word & _PRESENT:  # a null selector was loaded
        return Segment(selector, None)
    kind, dpl, big = word >> 8 & 0x1F, word >> 13 & 3, bool(word >> 22 & 1)
    long = bool(word >> 21 & 1)
    return Segment(selector, Descriptor(base, limit, kind, dpl, present=True, big=big, long=long))


def _hidden(segment: Segment) -> bytes:
    held = segment.descriptor
    if held is None:
        return _SEGMENT.pack(segment.selector, 0, 0, 0)
    _, word = descriptor_words(held)
    return _SEGMENT.pack(segment.selector, held.base, held.limit, word)


@cache
def layout() -> Layout:
    """Where this Unicorn keeps it.

    Raises:
        UnknownUnicorn: it is not where it was in others.
    """
    return Layout(*_find_segments(), *_find_exceptions())


def _new_processor() -> Uc:
    processor = Uc(uc.UC_ARCH_X86, uc.UC_MODE_32)
    processor.mem_map(0, 2 * _PAGE)
    processor.reg_write(x86.UC_X86_REG_CR0, 0x60000011)
    processor.reg_write(x86.UC_X86_REG_GDTR, (0, _TABLE, _PAGE - 1, 0))
    return processor


def _find_segments() -> tuple[int, int]:
    """Load each register with a descriptor like no other's, and look for the first. The flags are
    in front of it, with others.
    """
    processor = _new_processor()
    expected = {}
    for index, name in enumerate(_ORDER):
        selector, base, limit = 8 * (index + 1), 0x11223300 + index, 0x54320 + index
        kind = {"cs": 0b11011, "ldtr": LDT, "tr": BUSY_TSS}.get(name, 0b10011)
        word = base >> 16 & 0xFF | kind << 8 | _PRESENT | limit & 0xF0000 | base & 0xFF000000
        register = getattr(x86, f"UC_X86_REG_{name.upper()}")
        if name in SYSTEM_SEGMENTS:
            processor.reg_write(register, (selector, base, limit, word))
        else:
            low = limit & 0xFFFF | (base & 0xFFFF) << 16
            processor.mem_write(_TABLE + selector, struct.pack("<II", low, word))
            processor.reg_write(register, selector)
        expected[name] = Segment(selector, Descriptor(base, limit, kind, 0, True, False))
    state = bytes(processor.context_save())
    offset = state.find(struct.pack("<QI", 0x11223300, 0x54320)) - 8
    end = offset + _SEGMENT.size * len(_ORDER)
    if offset < 0 or _segments(state[offset:end]) != expected:
        raise UnknownUnicorn("segment registers")
    flags = offset - 8
    if struct.unpack_from("<H", state, flags) != (_PROTECTED | _BASES,):
        raise UnknownUnicorn("flags")
    return flags, offset


def _find_exceptions() -> tuple[int, int]:
    """See what an exception and a software interrupt change."""
    processor = _new_processor()
    processor.mem_write(_TABLE, _FLAT)
    processor.reg_write(x86.UC_X86_REG_CS, 0x08)
    processor.reg_write(x86.UC_X86_REG_SS, 0x10)
    mark = 0x11223300
    processor.reg_write(x86.UC_X86_REG_DR0, mark)
    processor.reg_write(x86.UC_X86_REG_DR1, mark + 1)
    processor.reg_write(x86.UC_X86_REG_EDX, _PAGE)
    before = bytes(processor.context_save())
    interrupt = _interrupted(processor, b"\xcd\x30")  # int $0x30
    exception = _interrupted(processor, b"\x8e\xda")  # mov %edx, %ds: beyond the table
    # Next to the debug registers, and before them: whether it was a software interrupt, padding,
    # and where that returns to.
    software = before.find(struct.pack("<QQ", mark, mark + 1)) - 12
    earlier = [
        offset
        for offset in range(0, len(before) - 3, 4)
        if before[offset : offset + 4] == interrupt[offset : offset + 4] == _NONE
        and struct.unpack_from("<i", exception, offset) == (_GENERAL_PROTECTION,)
    ]
    if software < 0 or len(earlier) != 1:
        raise UnknownUnicorn("exceptions")
    returns_to = struct.unpack_from("<I", interrupt, software + 4)
    if (exception[software], interrupt[software], *returns_to) != (0, 1, _CODE + 2):
        raise UnknownUnicorn("software interrupts")
    return software, earlier[0]


def _interrupted(processor: Uc, code: bytes) -> bytes:
    """The state as the hook finds it that is told of an interruption."""
    states: list[UcContext] = []

    def interrupt(*_: Any) -> None:
        states.append(processor.context_save())
        processor.emu_stop()

    processor.mem_write(_CODE, code)
    processor.ctl_remove_cache(_CODE, _CODE + _PAGE)
    hook = processor.hook_add(uc.UC_HOOK_INTR, interrupt)
    processor.emu_start(_CODE, until=0)
    processor.hook_del(hook)
    if not states:
        raise UnknownUnicorn("an interruption")
    return bytes(states[0])
