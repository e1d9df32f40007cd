"""Which instructions the model executes itself, and where it looks for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.unicorn_model.watched import (
    HLT,
    IRET,
    POPF,
    STI,
    Operation,
    Watched,
    candidates,
    decode,
)

PAGE = 0x1000
INSTRUCTIONS = {
    b"\x0f\x22\xc0": Watched(Operation.MOV_TO_CR0, 3, "eax"),
    b"\x0f\x22\xdf": Watched(Operation.MOV_TO_CR3, 3, "edi"),
    b"\x0f\x22\x23": Watched(Operation.MOV_TO_CR4, 3, "ebx"),  # the mod field is ignored
    b"\x0f\x30": Watched(Operation.WRMSR, 2),
    b"\x0f\x32": Watched(Operation.RDMSR, 2),
    b"\x0f\x01\x38": Watched(Operation.INVLPG, 3),
    b"\xcf": Watched(Operation.IRET, 1),
    b"\x66\xcf": Watched(Operation.IRET, 2, wide=False),
    b"\x9d": Watched(Operation.POPF, 1),
    b"\x66\x9d": Watched(Operation.POPF, 2, wide=False),
    b"\xf4": Watched(Operation.HLT, 1),
    b"\xfb": Watched(Operation.STI, 1),
    b"\x66\x2e\x0f\x22\xd9": Watched(Operation.MOV_TO_CR3, 5, "ecx"),
}
ONE_BYTE = {
    IRET: Operation.IRET,
    POPF: Operation.POPF,
    HLT: Operation.HLT,
    STI: Operation.STI,
}
bytes_of_interest = st.lists(
    st.sampled_from(
        [0x0F, 0x22, 0x30, 0x32, 0x01, 0x38, 0x66, 0x2E, 0xF3, 0xC0, 0xD8, 0x90]
        + [opcode[0] for opcode in ONE_BYTE]
    ),
    max_size=40,
).map(bytes)


@pytest.mark.parametrize(
    ("code", "expected"), INSTRUCTIONS.items(), ids=map(bytes.hex, INSTRUCTIONS)
)
def test_decoding(code: bytes, expected: Watched) -> None:
    assert decode(code) == decode(code + b"\x90") == expected
    for length in range(len(code)):
        assert decode(code[:length]) is None


@pytest.mark.parametrize(
    "code",
    [
        b"\x0f\x22\xd0",
        b"\x0f\x22\xc8",
        b"\x0f\x20\xc0",
        b"\x0f\x01\xf8",
        b"\x0f\x01\x30",
        b"\xf0\x0f\x22\xc0",
    ],
    ids=["to cr2", "to cr1", "from cr0", "swapgs", "lmsw", "lock"],
)
def test_what_is_left_to_unicorn(code: bytes) -> None:
    assert decode(code) is None


@given(st.binary(max_size=40) | bytes_of_interest, st.sets(st.sampled_from([*ONE_BYTE])))
def test_no_instruction_is_missed(page: bytes, opcodes: set[bytes]) -> None:
    found = set(candidates(page, b"".join(opcodes)))
    ignored = {operation for opcode, operation in ONE_BYTE.items() if opcode not in opcodes}
    for offset in range(len(page)):
        # What the page's end cuts off may go on in any way.
        for tail in (b"", b"\x22\xc0", b"\xc0", b"\x30", b"\x0f\x22\xd8", b"\x01\x38", b"\x38"):
            watched = decode((page[offset:] + tail)[:15])
            if watched and watched.operation not in ignored:
                assert offset in found, (offset, page[offset:].hex(), tail.hex())
                break


@pytest.mark.parametrize("opcode", ONE_BYTE, ids=bytes.hex)
def test_frequent_bytes_are_only_looked_for_when_they_matter(opcode: bytes) -> None:
    page = opcode * 10 + bytes(PAGE - 10)
    others = b"".join(other for other in ONE_BYTE if other != opcode)
    assert list(candidates(page)) == list(candidates(page, others)) == []
    assert list(candidates(page, opcode)) == list(range(10))


def test_a_page_full_of_prefixes_has_few() -> None:
    assert len(list(candidates(b"\x2e" * PAGE, IRET))) <= 15
