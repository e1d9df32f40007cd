"""What Unicorn does not show is found where it is, and nowhere else."""

from __future__ import annotations

import struct

import pytest
import unicorn.unicorn_const as uc
import unicorn.x86_const as x86
from unicorn.unicorn_py3 import Uc

from backends.tests.delivery_machine import CODE, DATA, descriptor
from backends.unicorn_model import hidden_state
from backends.unicorn_model.delivery.descriptors import Descriptor, decode_descriptor
from backends.unicorn_model.delivery.machine import Segment
from backends.unicorn_model.hidden_state import HiddenState, UnknownUnicorn


def processor() -> Uc:
    made = Uc(uc.UC_ARCH_X86, uc.UC_MODE_32)
    made.mem_map(0, 0x1000)
    made.reg_write(x86.UC_X86_REG_CR0, 0x11)
    made.reg_write(x86.UC_X86_REG_GDTR, (0, 0, 0xFF, 0))
    return made


def test_hidden_parts_are_what_was_loaded() -> None:
    made = processor()
    code, data = descriptor(CODE | 1), descriptor(DATA | 5, base=0x123456, limit=0x7FFFF)
    made.mem_write(8, code + data)
    made.reg_write(x86.UC_X86_REG_CS, 0x08)
    made.reg_write(x86.UC_X86_REG_GS, 0x10)
    made.mem_write(8, bytes(16))
    segments = HiddenState(made).segments()
    assert segments["cs"] == Segment(0x08, decode_descriptor(code))
    assert segments["gs"] == Segment(0x10, decode_descriptor(data))


def test_a_null_segment_has_no_hidden_part() -> None:
    made = processor()
    made.reg_write(x86.UC_X86_REG_FS, 3)
    assert HiddenState(made).segments()["fs"] == Segment(3, None)


@pytest.mark.parametrize("layout", ["<IxxxxIII", "<xxxxIQII"])
def test_segments_that_are_kept_otherwise(monkeypatch: pytest.MonkeyPatch, layout: str) -> None:
    monkeypatch.setattr(hidden_state, "_SEGMENT", struct.Struct(layout))
    with pytest.raises(UnknownUnicorn, match=r"Unicorn \d+\.\d+\.\d+: segment registers"):
        hidden_state._find_segments()


def test_flags_that_are_kept_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden_state, "_BASES", 1 << 5)
    with pytest.raises(UnknownUnicorn, match="flags"):
        hidden_state._find_segments()


def test_segments_of_64_bit_code_are_held_as_they_were_given() -> None:
    made = Uc(uc.UC_ARCH_X86, uc.UC_MODE_64)
    hidden = HiddenState(made)
    code = Descriptor(0, 0xFFFFFFFF, CODE | 1, 3, present=True, big=False, long=True)
    data = Descriptor(0x1234, 0xFFFFF, DATA | 1, 3, present=True, big=True)
    given = {"cs": Segment(0x1B, code), "ss": Segment(0, None), "gs": Segment(0x23, data)}
    hidden.load_in_long_mode(given, 3)
    held = hidden.segments()
    assert {name: held[name] for name in given} == given
    assert made.reg_read(x86.UC_X86_REG_CS) == 0x1B
    assert made.reg_read(x86.UC_X86_REG_GS_BASE) == 0x1234


@pytest.mark.parametrize(("name", "value"), [("_GENERAL_PROTECTION", 11), ("_NONE", b"\0\0\0\x7f")])
def test_exceptions_that_are_kept_otherwise(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setattr(hidden_state, name, value)
    with pytest.raises(UnknownUnicorn, match="exceptions"):
        hidden_state._find_exceptions()
