"""Sets of frames as ranges: a million frames cost as much as one."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from conformance.errors import InvalidArgument

__all__ = ["FrameSet"]


class FrameSet:
    """A mutable set of frame numbers, held as sorted, disjoint, non-adjacent half-open ranges.

    Args:
        ranges: what is in it at first; in any order, overlapping or not.
    """

    __slots__ = ("_count", "_ends", "_starts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._count = 0
        for first, end in ranges:
            self.add(first, end)

    def add(self, first: int, end: int) -> None:
        """Put the frames [first, end) into the set, whether they are in it or not.

        Raises:
            InvalidArgument: that is not a range.
        """
        if _is_empty(first, end):
            return
        # The ranges that overlap or touch [first, end) become one with it.
        low = bisect_left(self._ends, first)
        high = bisect_right(self._starts, end)
        if low < high:
            first = min(first, self._starts[low])
            end = max(end, self._ends[high - 1])
        self._replace(low, high, [first], [end])

    def subtract(self, first: int, end: int) -> None:
        """Take the frames [first, end) out of the set, whether they are in it or not.

        Raises:
            InvalidArgument: that is not a range.
        """
        if _is_empty(first, end):
            return
        low = bisect_right(self._ends, first)
        high = bisect_left(self._starts, end)
        if low >= high:
            return
        starts, ends = [], []
        if self._starts[low] < first:
            starts.append(self._starts[low])
            ends.append(first)
        if self._ends[high - 1] > end:
            starts.append(end)
            ends.append(self._ends[high - 1])
        self._replace(low, high, starts, ends)

    def take_lowest(self) -> int | None:
        """Take the lowest frame out of the set and return it; None where the set is empty."""
        frame = self.lowest
        if frame is not None:
            self.subtract(frame, frame + 1)
        return frame

    def copy(self) -> FrameSet:
        """A set of the same frames that can be changed by itself."""
        twin = FrameSet()
        twin._starts = self._starts.copy()
        twin._ends = self._ends.copy()
        twin._count = self._count
        return twin

    @property
    def count(self) -> int:
        """How many frames, not ranges. There is no `len`: iteration is over ranges."""
        return self._count

    @property
    def lowest(self) -> int | None:
        """The lowest frame, or None where the set is empty."""
        return self._starts[0] if self._starts else None

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The maximal ranges, rising: the set as a value."""
        return tuple(self)

    def lowest_in(self, first: int, end: int) -> int | None:
        """The lowest frame of the set that is in [first, end), or None."""
        index = bisect_right(self._ends, first)
        if index == len(self._starts) or self._starts[index] >= end or first >= end:
            return None
        return max(first, self._starts[index])

    def first_fit(self, count: int, alignment: int = 1) -> int | None:
        """The lowest multiple of `alignment` that starts `count` frames of the set, or None."""
        for first, end in self:
            aligned = -(-first // alignment) * alignment
            if aligned + count <= end:
                return aligned
        return None

    def bitmap_bytes(self, frame_count: int) -> bytes:
        """One bit for each of `frame_count` frames, 1 where it is in the set.

        Frame n is bit n % 8 of byte n // 8: bit n % 32 of the little-endian 32-bit word n // 32.

        Raises:
            InvalidArgument: the set has frames from `frame_count` up.
        """
        if self._ends and self._ends[-1] > frame_count:
            raise InvalidArgument(
                f"frame {self._ends[-1] - 1} has no bit in a bitmap of {frame_count} frames"
            )
        bitmap = bytearray(-(-frame_count // 8))
        for first, end in self:
            low, high = first // 8, (end - 1) // 8
            from_first, up_to_last = 0xFF & 0xFF << first % 8, 0xFF >> 7 - (end - 1) % 8
            if low == high:
                bitmap[low] |= from_first & up_to_last
            else:
                bitmap[low] |= from_first
                bitmap[low + 1 : high] = b"\xff" * (high - low - 1)
                bitmap[high] |= up_to_last
        return bytes(bitmap)

    def __contains__(self, frame: int) -> bool:
        index = bisect_right(self._starts, frame) - 1
        return index >= 0 and frame < self._ends[index]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The maximal ranges [first, end), rising."""
        return zip(self._starts, self._ends, strict=True)

    def __bool__(self) -> bool:
        return self._count > 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FrameSet):
            return NotImplemented
        return self._starts == other._starts and self._ends == other._ends

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"FrameSet({list(self)})"

    def _replace(self, low: int, high: int, starts: list[int], ends: list[int]) -> None:
        """Put other ranges in the place of those numbered [low, high)."""
        self._count -= sum(self._ends[low:high]) - sum(self._starts[low:high])
        self._count += sum(ends) - sum(starts)
        self._starts[low:high] = starts
        self._ends[low:high] = ends


def _is_empty(first: int, end: int) -> bool:
    if not 0 <= first <= end:
        raise InvalidArgument(f"[{first}, {end}) is not a range of frames: need 0 <= first <= end")
    return first == end
