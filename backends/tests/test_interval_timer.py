"""Counter 0 of the 8254 interval timer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.unicorn_model.faults import NotModelled
from backends.unicorn_model.interval_timer import IntervalTimer

RATE, SQUARE = 0x34, 0x36
LATCH, LATCH_STATUS, LATCH_BOTH = 0x00, 0xE2, 0xC2
counts = st.integers(2, 0x10000)


def started(count: int, control: int = RATE) -> IntervalTimer:
    timer = IntervalTimer()
    timer.write(0x43, 1, control)
    load(timer, count)
    return timer


def load(timer: IntervalTimer, count: int) -> None:
    timer.write(0x40, 1, count & 0xFF)
    timer.write(0x40, 1, count >> 8 & 0xFF)


def shown(timer: IntervalTimer) -> int:
    timer.write(0x43, 1, LATCH)
    return timer.read(0x40, 1) | timer.read(0x40, 1) << 8


def test_it_does_not_run_before_it_has_a_count() -> None:
    timer = IntervalTimer()
    assert not timer.is_running
    timer.write(0x40, 1, 0x12)  # no mode
    timer.write(0x43, 1, RATE)
    timer.write(0x40, 1, 0x12)
    assert not timer.is_running
    assert timer.advance(1000) == 0
    timer.write(0x40, 1, 0)
    assert timer.is_running
    assert timer.clocks_to_edge == 0x12


@pytest.mark.parametrize("control", [RATE, SQUARE, RATE | 8, SQUARE | 8])
@given(count=counts, steps=st.lists(st.integers(0, 5000), max_size=20))
def test_there_is_an_edge_in_each_period(control: int, count: int, steps: list[int]) -> None:
    timer = started(count, control)
    assert sum(map(timer.advance, steps)) == sum(steps) // count
    assert timer.clocks_to_edge == count - sum(steps) % count


def test_a_count_of_0_is_the_longest() -> None:
    assert started(0).clocks_to_edge == 0x10000
    assert started(0, RATE | 1).clocks_to_edge == 10_000


@given(counts, st.integers(0, 200_000))
def test_what_mode_2_shows(count: int, clocks: int) -> None:
    timer = started(count)
    timer.advance(clocks)
    assert shown(timer) == (count - clocks % count) & 0xFFFF


@pytest.mark.parametrize(
    ("count", "expected"),
    [(6, [6, 4, 2, 6, 4, 2, 6]), (5, [4, 2, 0, 4, 2, 4, 2]), (2, [2, 2, 2]), (3, [2, 0, 2, 2])],
)
def test_what_mode_3_shows(count: int, expected: list[int]) -> None:
    """Down by two; an odd count is one less, and its first half one clock longer."""
    timer = started(count, SQUARE)
    values = []
    for _ in expected:
        values.append(shown(timer))
        timer.advance(1)
    assert values == expected


@pytest.mark.parametrize(
    ("control", "count", "expected"),
    [(RATE, 4, "1110"), (SQUARE, 4, "1100"), (SQUARE, 5, "11100")],
)
def test_the_output_in_the_status(control: int, count: int, expected: str) -> None:
    timer = started(count, control)
    levels = ""
    for _ in range(count):
        timer.write(0x43, 1, LATCH_STATUS)
        status = timer.read(0x40, 1)
        levels += str(status >> 7)
        assert status & 0x3F == control & 0x3F
        timer.advance(1)
    assert levels == expected


def test_decimal_digits() -> None:
    timer = started(0x1193, RATE | 1)
    assert timer.clocks_to_edge == 1193
    timer.advance(200)
    assert shown(timer) == 0x993


def test_one_byte_of_a_count() -> None:
    low, high = IntervalTimer(), IntervalTimer()
    low.write(0x43, 1, 0x14)
    low.write(0x40, 1, 0x99)
    high.write(0x43, 1, 0x24)
    high.write(0x40, 1, 0x12)
    assert (low.clocks_to_edge, high.clocks_to_edge) == (0x99, 0x1200)
    assert [low.read(0x40, 1), low.read(0x40, 1)] == [0x99, 0x99]
    assert [high.read(0x40, 1), high.read(0x40, 1)] == [0x12, 0x12]


def test_a_new_count_waits_for_the_period_to_end() -> None:
    timer = started(100)
    timer.advance(40)
    load(timer, 10)
    assert timer.clocks_to_edge == 60
    timer.write(0x43, 1, LATCH_STATUS)
    assert timer.read(0x40, 1) & 0x40  # "null count"
    assert timer.advance(60) == 1
    assert timer.clocks_to_edge == 10
    timer.write(0x43, 1, LATCH_STATUS)
    assert not timer.read(0x40, 1) & 0x40


def test_a_new_control_word_stops_it() -> None:
    timer = started(100)
    timer.write(0x43, 1, SQUARE)
    assert not timer.is_running
    assert timer.advance(1000) == 0


def test_what_is_latched_stays_until_it_is_read() -> None:
    timer = started(0x1234)
    timer.write(0x43, 1, LATCH)
    timer.advance(0x100)
    timer.write(0x43, 1, LATCH)  # ignored
    assert (timer.read(0x40, 1), timer.read(0x40, 1)) == (0x34, 0x12)
    assert (timer.read(0x40, 1), timer.read(0x40, 1)) == (0x34, 0x11)


def test_status_comes_before_the_count() -> None:
    timer = started(0x1234)
    timer.write(0x43, 1, LATCH_BOTH)
    assert [timer.read(0x40, 1) for _ in range(3)] == [0x80 | RATE, 0x34, 0x12]


def test_the_other_counters_lead_nowhere() -> None:
    timer = started(100)
    timer.write(0x43, 1, 0xB6)
    timer.write(0x42, 1, 7)
    assert timer.clocks_to_edge == 100
    assert timer.read(0x42, 1) == 0xFF


@pytest.mark.parametrize("control", [0x30, 0x32, 0x38, 0x3A])
def test_modes_that_are_not_modelled_say_so(control: int) -> None:
    with pytest.raises(NotModelled, match="mode"):
        IntervalTimer().write(0x43, 1, control)


def test_what_is_no_count_says_so() -> None:
    with pytest.raises(NotModelled, match="count of 1"):
        started(1)
    with pytest.raises(NotModelled, match="decimal"):
        started(0x12A4, RATE | 1)
    with pytest.raises(NotModelled, match="0x40"):
        IntervalTimer().read(0x40, 2)
