"""Watched instructions of 64-bit code: found in pages, and decoded."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backends.unicorn_model.long_mode.watched import Operation, Watched, decode, find

PAGE = 0x1000
KNOWN = {
    "0f22c0": Watched(Operation.MOV_TO_CR0, 3, "rax"),
    "0f22d8": Watched(Operation.MOV_TO_CR3, 3, "rax"),
    "410f22d9": Watched(Operation.MOV_TO_CR3, 4, "r9"),
    "66410f22e7": Watched(Operation.MOV_TO_CR4, 5, "r15"),
    "0f2218": Watched(Operation.MOV_TO_CR3, 3, "rax"),
    "0f30": Watched(Operation.WRMSR, 2),
    "480f30": Watched(Operation.WRMSR, 3),
    "0f013b": Watched(Operation.INVLPG, 3),
    "410f017b10": Watched(Operation.INVLPG, 4),
    "48cf": Watched(Operation.IRETQ, 2),
    "2e48cf": Watched(Operation.IRETQ, 3),
    "8ed0": Watched(Operation.MOV_TO_SS, 2, "rax"),
    "418ed1": Watched(Operation.MOV_TO_SS, 3, "r9"),
    "8e13": Watched(Operation.MOV_TO_SS, 2),
    "ffd1": Watched(Operation.BRANCH, 2, "rcx"),
    "41ffe2": Watched(Operation.BRANCH, 3, "r10"),
    "3e48ffe0": Watched(Operation.BRANCH, 4, "rax"),
}
ONE_BYTE = b"\x9d\xf4\xfb"
KNOWN_OF_ONE_BYTE = {
    "9d": Watched(Operation.POPF, 1),
    "669d": Watched(Operation.POPF, 2, wide=False),
    "66489d": Watched(Operation.POPF, 3),
    "fb": Watched(Operation.STI, 1),
    "f3f4": Watched(Operation.HLT, 2),
}
UNKNOWN = [
    *("cf", "66cf", "440f22c0", "0f22d0", "0f20c0", "0f32", "0f01f8"),
    *("ff13", "ff20", "ffc0", "fff0", "8ed8", "90", "", "48", "0f", "0f22", "ff", "48c3"),
]


@pytest.mark.parametrize("code", KNOWN)
def test_known(code: str) -> None:
    assert decode(bytes.fromhex(code)) == KNOWN[code]


@pytest.mark.parametrize("code", KNOWN_OF_ONE_BYTE)
def test_opcodes_that_matter_at_times(code: str) -> None:
    raw = bytes.fromhex(code)
    assert decode(raw) == KNOWN_OF_ONE_BYTE[code]
    page = b"\x90" * 5 + raw + b"\x90" * 5
    assert 5 in find(page, ONE_BYTE)
    assert find(page) == ()


@pytest.mark.parametrize("code", UNKNOWN)
def test_unknown(code: str) -> None:
    assert decode(bytes.fromhex(code)) is None


@given(
    code=st.sampled_from(sorted(KNOWN)),
    before=st.binary(max_size=20),
    at=st.sampled_from((0, 1, 17, 0x800, PAGE - 8, PAGE - 3, PAGE - 2, PAGE - 1)),
    filler=st.sampled_from(b"\x00\x0f\x48\x66\xff\x90"),
)
@example(code="48cf", before=b"", at=PAGE - 1, filler=0x90)
@example(code="2e48cf", before=b"", at=PAGE - 2, filler=0x90)
def test_each_is_found_wherever_it_is(code: str, before: bytes, at: int, filler: int) -> None:
    """Also where the page ends before it does."""
    raw = bytes.fromhex(code)
    page = bytearray([filler]) * PAGE
    page[max(0, at - len(before)) : at] = before[: min(at, len(before))]
    page[at : at + len(raw)] = raw[: PAGE - at]
    del page[PAGE:]
    offsets = find(bytes(page))
    assert at in offsets
    assert all(0 <= offset < PAGE for offset in offsets)
    assert list(offsets) == sorted(set(offsets))


def test_what_is_none_is_not_hooked() -> None:
    """Each hook costs time."""
    code = bytes.fromhex("cf 90 ff c0 ff 13 8e d8 0f 20 c0 0f b6 c0 c3") + b"\x90"
    assert find(code) == ()
