"""Instruction pointers with names."""

from __future__ import annotations

import pytest

from conformance.observe.trace import Event
from conformance.protocol import PROTOCOL
from conformance.report.symbols import Symbols

SYMBOLS = Symbols(
    {
        "_start": 0xC0100000,
        "_ZN6kernel12_GLOBAL__N_16handleERKNS_5FrameE": 0xC0100100,
        "a_label": 0xC0100200,
        "fault_at_read_4": 0xC0100200,
        "user_code_start": 0xC0101000,
        "fault_at_user_read_4": 0xC0101010,
        "kernel_image_end": 0xC0110000,
        "trace_buffer_start": 0xC0120000,
        "an_absolute_constant": 0x30,
    }
)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (0xC0100000, "_start"),
        (0xC0100001, "_start+0x1"),
        (0xC0100110, "kernel::(anonymous)::handle+0x10"),
        (0xC0100200, "fault_at_read_4"),
        (0xC01001FF, "kernel::(anonymous)::handle+0xff"),
        (0x80000010, "fault_at_user_read_4"),
        (0x80000012, "fault_at_user_read_4+0x2"),
        (0x80000000, "user_code_start"),
        (0x80001000, ""),  # the user-mode stack
        (0xC00FFFFF, ""),  # below the first symbol
        (0xC0110000, ""),  # past the image
        (0x40000000, ""),
        (0x30, ""),
        (0xFFFFFFFF, ""),
    ],
)
def test_a_name(address: int, name: str) -> None:
    assert SYMBOLS.name(address) == name


def test_user_mode_code_is_where_the_image_has_it() -> None:
    window = PROTOCOL.images["x86_64"].boot["kernel_window"]
    symbols = Symbols(
        {
            "kernel_image_start": window + 0x100000,
            "user_code_start": window + 0x101000,
            "fault_at_user_read_4": window + 0x101010,
        }
    )
    user = PROTOCOL.images["x86_64"].area["user"]
    assert symbols.name(user + 0x10) == "fault_at_user_read_4"
    assert symbols.name(PROTOCOL.area["user"] + 0x10) == ""


def test_without_an_image_there_are_no_names() -> None:
    assert Symbols().name(0xC0100000) == ""
    assert Symbols().name(0x80000000) == ""


def test_only_instruction_pointers_have_names() -> None:
    event = Event("fault", {"cr2": 0xC0100200, "eip": 0xC0100200, "stack": 3})
    assert SYMBOLS.line(event) == "fault cr2=0xc0100200 eip=fault_at_read_4 (0xc0100200) stack=task"
    strange = Event("undecodable", {"offset": 0xC0100200})
    assert SYMBOLS.line(strange) == str(strange)


@pytest.mark.parametrize(
    "symbol", ["_ZN", "_ZN99kernelE", "_ZNE", "_ZN3", "_ZNK0E", "plain", "_Z3fooi"]
)
def test_a_strange_symbol_is_shown_as_it_is(symbol: str) -> None:
    name = Symbols({symbol: 0xC0100000}).name(0xC0100000)
    assert name
    assert name == symbol or symbol == "_ZNK0E"
