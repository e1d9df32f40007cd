"""Digests of memory: the kernel's checksum and SHA-256, over the bits that count."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from conformance.observe.observation import StateDigest, fletcher
from conformance.protocol import PROTOCOL

MASKED = PROTOCOL.state_regions["page_tables"]
PLAIN = PROTOCOL.state_regions["frame_bitmap"]


def by_definition(words: tuple[int, ...], mask: int = 0xFFFF_FFFF) -> int:
    """kernel/TRACE.md, "Checksums", word for word."""
    a = b = 0
    for word in words:
        a = (a + (word & mask)) % 2**32
        b = (b + a) % 2**32
    return b << 32 | a


# Longer than a block, and all ones, so that both sums wrap.
@example(words=(0xFFFF_FFFF,) * 2500)
@given(words=st.lists(st.integers(0, 2**32 - 1), max_size=64).map(tuple))
def test_the_checksum_is_the_specified_one(words: tuple[int, ...]) -> None:
    data = struct.pack(f"<{len(words)}I", *words)
    assert fletcher(data) == by_definition(words)
    digest = StateDigest.of(MASKED, data)
    assert (digest.region, digest.words) == ("page_tables", len(words))
    assert digest.checksum == by_definition(words, MASKED.mask)


@given(st.binary(min_size=4, max_size=64), st.integers(0, 511))
def test_bits_outside_the_mask_do_not_count_and_the_others_do(data: bytes, bit: int) -> None:
    bit %= len(data) // 4 * 32
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    counts = bool(MASKED.mask >> bit % 32 & 1)
    before, after = StateDigest.of(MASKED, data), StateDigest.of(MASKED, bytes(flipped))
    assert (before.checksum != after.checksum) == counts
    assert (before.sha256 != after.sha256) == counts


def test_a_part_of_a_word_is_ignored() -> None:
    assert StateDigest.of(PLAIN, b"\1\2\3\4\5") == StateDigest.of(PLAIN, b"\1\2\3\4")
    assert StateDigest.of(PLAIN, b"\1\2\3").words == 0


def test_without_a_mask_it_is_the_plain_digest() -> None:
    data = bytes(range(16))
    assert StateDigest.of(PLAIN, data).sha256 == hashlib.sha256(data).hexdigest()


def test_two_regions_of_the_same_content_are_told_apart() -> None:
    one = StateDigest.of(PLAIN, bytes(8))
    assert replace(one, region="frame_owned") == StateDigest.of(
        PROTOCOL.state_regions["frame_owned"], bytes(8)
    )
    assert one != StateDigest.of(PROTOCOL.state_regions["frame_owned"], bytes(8))
