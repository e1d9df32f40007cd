"""Every place where a segment load may begin is found, and every use of FS and GS."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.unicorn_model.instructions.decode import decode
from backends.unicorn_model.instructions.patterns import hooked_offsets
from backends.unicorn_model.instructions.segment_loads import is_segment_load

PAGE = 4096
LOADS = [
    bytes.fromhex(code)
    for code in (
        *("8ed8", "8ec0", "8ed1", "8ee1", "8ee9", "8e1d00900000", "8e5500"),
        *("0fa1", "0fa9", "0fb203", "0fb44500", "0fb52c24"),
        *("648b4500", "65a4", "646689034590"),
    )
]
PREFIXES = b"\x26\x2e\x36\x3e\x64\x65\x66\x67\xf2\xf3"
# The interesting bytes, more often than chance has them.
hostile = st.lists(
    st.sampled_from([*PREFIXES, 0x0F, 0x8E, 0x07, 0xC4, 0xC5, 0xB2, 0xA1, 0xD8, 0xC9, 0x90]),
    max_size=40,
).map(bytes)


FREQUENT = (0x07, 0x17, 0x1F, 0xC4, 0xC5)


def starts_load(code: bytes) -> bool:
    """Or an instruction that uses FS or GS."""
    found = decode(code)
    if found is None:
        return False
    if found.override in ("fs", "gs"):
        return True
    return is_segment_load(found) and found.opcode not in FREQUENT


@given(st.binary(max_size=40) | hostile)
def test_nothing_is_missed(page: bytes) -> None:
    hooked = hooked_offsets(page)
    assert list(hooked) == sorted(set(hooked))
    for offset in range(len(page)):
        rest = page[offset : offset + 15]
        # Cut by the page's end, it may go on in any way.
        tails = [b"", b"\x8e\xd8", b"\x0f\xa1", b"\xa1", b"\xd8", b"\x03", b"\xb2\x03", b"\x64\x90"]
        if any(starts_load(rest + tail) for tail in (tails if len(rest) < 15 else [b""])):
            assert offset in hooked, (offset, rest.hex())


@given(st.binary(max_size=60) | hostile)
def test_a_hit_is_a_possible_load(page: bytes) -> None:
    for offset in hooked_offsets(page):
        rest = page[offset:].lstrip(PREFIXES)
        prefixes = page[offset : len(page) - len(rest)]
        if b"\x64" in prefixes or b"\x65" in prefixes:
            continue
        tails = (b"", b"\x8e\xd8", b"\xa1", b"\xd8", b"\x03", bytes(8), b"\x03" + bytes(8))
        assert any(starts_load((rest + tail)[:15]) for tail in tails), rest.hex()


@pytest.mark.parametrize("load", LOADS, ids=bytes.hex)
@pytest.mark.parametrize("prefixes", [b"", b"\x66", b"\x65\x67", b"\x2e" * 9])
def test_each_load_wherever_it_is(load: bytes, prefixes: bytes) -> None:
    code = prefixes + load
    assert starts_load(code)
    for start in (0, 1, 100, PAGE - len(code)):
        page = (b"\x90" * start + code).ljust(PAGE, b"\x90")
        assert start in hooked_offsets(page)
        assert start + len(prefixes) in hooked_offsets(page)
    for cut in range(1, len(prefixes) + 2):
        assert PAGE - cut in hooked_offsets(b"\x90" * (PAGE - cut) + code[:cut])


@pytest.mark.parametrize(
    "code",
    [
        "8ec8",
        "8ef0",
        "8ef8",
        "c5f877",
        "c4c1",
        "0fb2c0",
        "0fa0",
        "06",
        "0f22d8",
        "f00fa1",
        "07",
        "17",
        "1f",
        "c403",
        "c503",
    ],
)
def test_other_instructions_are_left_alone(code: str) -> None:
    page = (b"\x90" * 16 + bytes.fromhex(code)).ljust(PAGE, b"\x90")
    assert 16 not in hooked_offsets(page)


def test_an_empty_page_has_none() -> None:
    assert hooked_offsets(bytes(PAGE)) == hooked_offsets(b"\xc3" * PAGE) == ()


def test_prefixes_are_followed_as_far_as_an_instruction_goes() -> None:
    assert hooked_offsets(b"\x2e" * PAGE) == tuple(range(PAGE - 14, PAGE))
    assert hooked_offsets(b"\x2e" * 100 + b"\x0f\xa1\x90") == tuple(range(86, 101))


def test_a_page_takes_less_than_a_translation() -> None:
    pages = [random.Random(seed).randbytes(PAGE) for seed in range(20)]
    pages.append(b"\x64" * PAGE)
    start = time.perf_counter()
    for page in pages:
        hooked_offsets(page)
    assert time.perf_counter() - start < 0.5
