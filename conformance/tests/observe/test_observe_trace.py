"""Decoding: every trace becomes events, whatever is in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.observe.trace import UNDECODABLE, Event, decode, encode
from conformance.protocol import PROTOCOL


@st.composite
def events(draw: st.DrawFn) -> Event:
    kind = PROTOCOL.events[draw(st.sampled_from(sorted(PROTOCOL.events)))]
    return Event(
        kind.name,
        {field.name: draw(st.integers(0, (1 << field.bits) - 1)) for field in kind.layout.fields},
    )


traces = st.lists(events(), max_size=8).map(tuple)


@given(traces)
def test_what_is_encoded_is_decoded(trace: tuple[Event, ...]) -> None:
    assert decode(encode(trace)) == trace


@given(st.binary(max_size=200))
def test_any_bytes_are_a_trace(data: bytes) -> None:
    seen = decode(data)
    assert all(event.kind != UNDECODABLE for event in seen[:-1])
    if seen and seen[-1].kind == UNDECODABLE:
        offset = seen[-1].fields["offset"]
        assert encode(seen[:-1]) == data[:offset]
        assert offset < len(data)
    else:
        assert encode(seen) == data


@given(traces.filter(bool), st.data())
def test_a_trace_that_is_cut_says_where_it_stops_making_sense(
    trace: tuple[Event, ...], data: st.DataObject
) -> None:
    whole = encode(trace)
    length = data.draw(st.integers(0, len(whole) - 1))
    seen = decode(whole[:length])
    ends = [len(encode(trace[:count])) for count in range(len(trace) + 1)]
    complete = max(count for count, end in enumerate(ends) if end <= length)
    assert seen[:complete] == trace[:complete]
    rest = () if ends[complete] == length else (Event(UNDECODABLE, {"offset": ends[complete]}),)
    assert seen[complete:] == rest


COUNTED = Event("counted", {"operation": 1, "free_frames": 2})
RECORD = PROTOCOL.trace_record


@pytest.mark.parametrize(
    ("field", "value"),
    [("kind", 0), ("kind", 0xFFFF), ("size", 0), ("size", 15), ("size", 17), ("sequence", 0)],
)
def test_a_header_that_is_wrong_ends_the_trace(field: str, value: int) -> None:
    good = encode((COUNTED, COUNTED))
    second = len(good) // 2
    header = RECORD.unpack(good, second) | {field: value}
    damaged = good[:second] + RECORD.pack(**header) + good[second + RECORD.size :]
    assert decode(damaged) == (COUNTED, Event(UNDECODABLE, {"offset": second}))


def test_an_event_is_a_value_that_cannot_be_changed() -> None:
    fields = {"operation": 1, "free_frames": 2}
    event = Event("counted", fields)
    fields["operation"] = 7
    assert event == COUNTED
    assert hash(event) == hash(COUNTED)
    with pytest.raises(TypeError):
        event.fields["operation"] = 7  # type: ignore[index]


def test_events_are_shown_as_people_read_them() -> None:
    names = PROTOCOL.enums["free_failure"]
    misaligned = PROTOCOL.code("free_failure", "misaligned")
    shown = {"operation": 3, "address": 0x10_0001, "reason": misaligned}
    assert str(Event("free_rejected", shown)) == (
        "free_rejected operation=3 address=0x100001 reason=misaligned"
    )
    unnamed = max(names) + 1
    assert Event("free_rejected", {"reason": unnamed}).show("reason") == f"{unnamed}?"
    assert str(Event(UNDECODABLE, {"offset": 65535})) == "undecodable offset=65535"
    assert str(Event("completed")) == "completed"
