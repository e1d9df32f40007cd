"""The pair of 8259A interrupt controllers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.unicorn_model.faults import NotModelled
from backends.unicorn_model.interrupt_controller import ControllerPair

END, READ_REQUESTS, READ_SERVICE = 0x20, 0x0A, 0x0B
lines = st.integers(0, 15).filter(lambda line: line != 2)


def ready(icw4: int = 0x01) -> ControllerPair:
    """Initialized: vectors 0x20 to 0x2F, nothing masked."""
    pair = ControllerPair()
    for port, base, cascade in ((0x20, 0x20, 4), (0xA0, 0x28, 2)):
        pair.write(port, 1, 0x11)
        for word in (base, cascade, icw4, 0):
            pair.write(port + 1, 1, word)
    return pair


def end(pair: ControllerPair, vector: int) -> None:
    """The end of an interrupt, as a handler says it."""
    if vector >= 0x28:
        pair.write(0xA0, 1, END)
    pair.write(0x20, 1, END)


def registers(pair: ControllerPair, port: int) -> tuple[int, int]:
    """The requests, and what is in service."""
    values = []
    for command in (READ_REQUESTS, READ_SERVICE):
        pair.write(port, 1, command)
        values.append(pair.read(port, 1))
    return values[0], values[1]


def test_an_interrupt_from_request_to_end() -> None:
    pair = ready()
    assert not pair.pending
    pair.request(0)
    assert pair.pending
    assert registers(pair, 0x20) == (1, 0)
    assert pair.acknowledge() == 0x20
    assert registers(pair, 0x20) == (0, 1)
    pair.request(0)
    assert not pair.pending  # not while it is in service
    end(pair, 0x20)
    assert pair.pending
    assert registers(pair, 0x20) == (1, 0)


def test_a_masked_request_waits() -> None:
    pair = ready()
    pair.write(0x21, 1, 0xFF)
    pair.request(0)
    assert not pair.pending
    assert not pair.can_interrupt(0)
    assert registers(pair, 0x20) == (1, 0)
    pair.write(0x21, 1, 0xFE)
    assert pair.read(0x21, 1) == 0xFE
    assert pair.pending
    assert pair.can_interrupt(0)
    assert not pair.can_interrupt(8)  # its way through the first is masked


def test_the_second_is_an_input_of_the_first() -> None:
    pair = ready()
    pair.request(12)
    assert registers(pair, 0x20) == (4, 0)
    assert pair.acknowledge() == 0x2C
    assert (registers(pair, 0x20), registers(pair, 0xA0)) == ((0, 4), (0, 0x10))
    pair.request(8)
    assert not pair.pending  # a higher priority of the second, but input 2 is in service
    end(pair, 0x2C)
    assert pair.acknowledge() == 0x28


def test_an_interrupt_that_is_gone_is_number_7() -> None:
    pair = ready()
    pair.request(3)
    pair.write(0x21, 1, 0xFF)
    assert pair.acknowledge() == 0x27
    assert registers(pair, 0x20) == (8, 0)  # nothing is in service


def test_a_specific_end() -> None:
    pair = ready()
    pair.request(5)
    pair.acknowledge()
    pair.request(1)
    pair.acknowledge()
    pair.write(0x20, 1, 0x65)
    assert registers(pair, 0x20)[1] == 0b10
    pair.write(0x20, 1, END)
    assert registers(pair, 0x20)[1] == 0


def test_an_automatic_end() -> None:
    pair = ready(icw4=0x03)
    pair.request(4)
    assert pair.acknowledge() == 0x24
    assert registers(pair, 0x20) == (0, 0)


def test_initialization_begins_anew() -> None:
    pair = ready()
    pair.write(0x21, 1, 0x55)
    pair.request(1)
    pair.write(0x20, 1, 0x11)
    assert (pair.read(0x21, 1), pair.read(0x20, 1)) == (0, 0)
    pair.request(0)
    assert not pair.pending  # before it is over


@given(st.sets(lines, max_size=8), st.sets(lines, max_size=8))
def test_what_is_not_masked_is_delivered_by_priority(requested: set[int], masked: set[int]) -> None:
    pair = ready()
    mask = sum(1 << line for line in masked)
    pair.write(0x21, 1, mask & 0xFF)
    pair.write(0xA1, 1, mask >> 8)
    for line in requested:
        pair.request(line)
    taken = []
    while pair.pending:
        taken.append(pair.acknowledge() - 0x20)
        end(pair, taken[-1] + 0x20)
    order = [0, 1, *range(8, 16), 3, 4, 5, 6, 7]
    assert taken == [line for line in order if line in requested - masked]
    assert all(pair.can_interrupt(line) == (line not in masked) for line in order)


@given(st.lists(lines, max_size=20))
def test_only_a_higher_priority_interrupts_a_handler(requests: list[int]) -> None:
    """And what is requested is not forgotten, however deep they are nested."""
    pair = ready()
    nested: list[int] = []
    taken = set()
    for line in requests:
        pair.request(line)
        while pair.pending:
            inner = min(pair.acknowledge() - 0x20, 99)
            level = 2 if inner >= 8 else inner
            assert all(level < (2 if outer >= 8 else outer) for outer in nested)
            nested.append(inner)
            taken.add(inner)
    while nested:
        end(pair, nested.pop() + 0x20)
        while pair.pending:
            nested.append(pair.acknowledge() - 0x20)
            taken.add(nested[-1])
    assert taken == set(requests)
    assert registers(pair, 0x20) == registers(pair, 0xA0) == (0, 0)


@pytest.mark.parametrize(
    "writes",
    [
        [(0x20, 0x19)],
        [(0x20, 0x13)],
        [(0x20, 0x10), (0x21, 0x20), (0x21, 4)],
        [(0x20, 0x11), (0x21, 0x20), (0x21, 8)],
        [(0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 0x00)],
        [(0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 0x11)],
        [(0x20, 0x11), (0x21, 0x20), (0x20, END)],
        [(0x20, 0xA0)],
        [(0x20, 0x68 | 0x08)],
        [(0x20, 0x0C)],
    ],
    ids=[
        "level-triggered",
        "single",
        "no ICW4",
        "another cascade",
        "MCS-80",
        "special nested",
        "too early",
        "rotation",
        "special mask",
        "poll",
    ],
)
def test_what_is_not_modelled_says_so(writes: list[tuple[int, int]]) -> None:
    pair = ready()
    *first, (port, value) = writes
    for earlier, word in first:
        pair.write(earlier, 1, word)
    with pytest.raises(NotModelled, match="8259A"):
        pair.write(port, 1, value)


def test_only_bytes() -> None:
    with pytest.raises(NotModelled, match="0x20"):
        ControllerPair().write(0x20, 2, 0)
