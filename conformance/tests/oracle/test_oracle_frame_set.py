"""FrameSet against Python's own sets."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.errors import InvalidArgument
from conformance.oracle.frame_set import FrameSet

UNIVERSE = 80

changes = st.lists(
    st.tuples(
        st.sampled_from(["add", "subtract"]),
        st.integers(0, UNIVERSE),
        st.integers(0, UNIVERSE),
    ).map(lambda change: (change[0], min(change[1:]), max(change[1:]))),
    max_size=16,
)


def build(history: list[tuple[str, int, int]]) -> tuple[FrameSet, set[int]]:
    """The same history applied to a FrameSet and to a plain set."""
    frames, plain = FrameSet(), set[int]()
    for action, first, end in history:
        if action == "add":
            frames.add(first, end)
            plain |= set(range(first, end))
        else:
            frames.subtract(first, end)
            plain -= set(range(first, end))
    return frames, plain


@given(changes)
def test_holds_the_same_frames_as_a_plain_set(history: list[tuple[str, int, int]]) -> None:
    frames, plain = build(history)
    assert {frame for frame in range(UNIVERSE + 1) if frame in frames} == plain
    assert {frame for first, end in frames for frame in range(first, end)} == plain
    assert frames.count == len(plain)
    assert bool(frames) == bool(plain)
    assert frames.lowest == min(plain, default=None)


@given(changes)
def test_ranges_are_sorted_nonempty_and_never_adjacent(history: list[tuple[str, int, int]]) -> None:
    frames, _ = build(history)
    edges = [edge for pair in frames.ranges for edge in pair]
    assert all(left < right for left, right in itertools.pairwise(edges))


@given(changes)
def test_equal_sets_are_equal_however_they_were_made(history: list[tuple[str, int, int]]) -> None:
    frames, plain = build(history)
    assert frames == FrameSet((frame, frame + 1) for frame in plain)
    assert frames != FrameSet([*frames, (UNIVERSE + 1, UNIVERSE + 2)])


@given(changes)
def test_take_lowest_empties_the_set_in_rising_order(history: list[tuple[str, int, int]]) -> None:
    frames, plain = build(history)
    assert [frames.take_lowest() for _ in plain] == sorted(plain)
    assert frames.take_lowest() is None


@given(changes, st.integers(1, 20), st.integers(1, 20))
def test_first_fit_is_the_lowest_that_fits(
    history: list[tuple[str, int, int]], count: int, alignment: int
) -> None:
    frames, plain = build(history)
    fits = (
        frame
        for frame in range(0, UNIVERSE, alignment)
        if plain.issuperset(range(frame, frame + count))
    )
    assert frames.first_fit(count, alignment) == next(fits, None)


@given(changes, st.integers(0, UNIVERSE), st.integers(0, UNIVERSE))
def test_lowest_in_a_window(history: list[tuple[str, int, int]], first: int, end: int) -> None:
    frames, plain = build(history)
    assert frames.lowest_in(first, end) == min(plain & set(range(first, end)), default=None)


@given(changes)
def test_bitmap_has_one_bit_a_frame_lowest_bit_first(history: list[tuple[str, int, int]]) -> None:
    frames, plain = build(history)
    bitmap = frames.bitmap_bytes(96)
    assert len(bitmap) == 12
    assert int.from_bytes(bitmap, "little") == sum(1 << frame for frame in plain)


def test_bitmap_of_all_of_4_gib() -> None:
    assert FrameSet([(0, 1 << 20)]).bitmap_bytes(1 << 20) == b"\xff" * (1 << 17)


def test_bitmap_refuses_a_frame_it_has_no_bit_for() -> None:
    with pytest.raises(InvalidArgument, match="frame 64 has no bit in a bitmap of 64 frames"):
        FrameSet([(60, 65)]).bitmap_bytes(64)


def test_a_copy_lives_by_itself() -> None:
    original = FrameSet([(0, 10)])
    twin = original.copy()
    twin.subtract(2, 4)
    assert original.ranges == ((0, 10),)
    assert (twin.ranges, twin.count) == (((0, 2), (4, 10)), 8)


@pytest.mark.parametrize(("first", "end"), [(5, 4), (-1, 4)])
def test_what_is_no_range_is_refused(first: int, end: int) -> None:
    for change in (FrameSet().add, FrameSet().subtract):
        with pytest.raises(InvalidArgument, match="is not a range of frames"):
            change(first, end)
