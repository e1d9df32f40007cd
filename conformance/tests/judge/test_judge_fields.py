"""Fields: the protocol's rules, for each by itself."""

from __future__ import annotations

import pytest

from conformance.judge import fields as module
from conformance.judge.compare import Account, canonical, compare
from conformance.judge.fields import compared_part, differing_fields
from conformance.observe.observation import Outcome
from conformance.observe.trace import Event
from conformance.protocol import Comparison, load
from conformance.resources import resource


def hows(left, right):
    return {each.name: each.how for each in differing_fields(left, right)}


def test_how_a_field_differs():
    low, high = (
        Event("ready", {"free_frames": 1, "lowest": 9}),
        Event("ready", {"free_frames": 2, "lowest": 8}),
    )
    assert hows(low, high) == {"free_frames": "higher", "lowest": "lower"}
    one = Event("allocation_failed", {"operation": 0, "reason": 0})
    other = Event("allocation_failed", {"operation": 0, "reason": 1})
    assert hows(one, other) == {"reason": "no_run instead of none_free"}
    unknown = Event("allocation_failed", {"operation": 0, "reason": 200})
    assert hows(one, unknown) == {"reason": "unknown instead of none_free"}
    state = {"region": 0, "words": 4}
    checksums = [Event("state", {**state, "checksum": value}) for value in (1, 2)]
    assert hows(*checksums) == hows(*reversed(checksums)) == {"checksum": "differs"}


def test_a_masked_field_differs_in_bits():
    before, after = (Event("paging", {"cr0": cr0, "cr3": 0}) for cr0 in (0x80000001, 0x8001FFF0))
    assert hows(before, after) == {"cr0": "bits+0x10000-0x1"}
    assert hows(before, Event("paging", {"cr0": 0x80000003, "cr3": 0})) == {}


def test_a_field_that_counts_in_bits_differs_in_bits():
    before, after = (Event("fault", {"error_code": code}) for code in (0x9, 0xA))
    assert hows(before, after) == {"error_code": "bits+0x2-0x1"}
    assert hows(after, before) == {"error_code": "bits+0x1-0x2"}


def test_what_is_ignored_does_not_differ_and_what_is_compared_can_be_told():
    one, other = (Event("control", {"cr0": 0xE0010011, "cr2": cr2}) for cr2 in (0, 5))
    assert hows(one, other) == {}
    assert compared_part(one) == compared_part(other) == Event("control", {"cr0": 0x80010001})
    strange = Event("undecodable", {"offset": 7})
    assert compared_part(strange) == strange


def test_an_omitted_field_does_not_differ():
    assert (
        hows(Event("ready", {"lowest": 1}), Event("ready", {"free_frames": 5, "lowest": 1})) == {}
    )


@pytest.mark.parametrize("rule", list(Comparison))
def test_the_protocol_says_how_a_field_is_compared(monkeypatch, rule):
    text = resource("protocol.toml").read_text(encoding="utf-8")
    before = '{ name = "cr3", type = "u64" }'
    assert before in text.partition("[event.paging]")[2]
    after = f'{{ name = "cr3", type = "u64", compare = "{rule}", reason = "a test" }}'
    monkeypatch.setattr(module, "PROTOCOL", load(text.replace(before, after)))
    rest = {"cr0": 1, "cr4": 0, "efer": 0, "features": 0}
    one, other = (Event("paging", {**rest, "cr3": value}) for value in (0x1000, 0x2000))
    accounts = [Account("x", Outcome.COMPLETED, (event,)) for event in (one, other)]
    same = rule is Comparison.IGNORED
    assert (differing_fields(one, other) == ()) is same
    assert (compare(*accounts) is None) is same
    assert (canonical(accounts[0]) == canonical(accounts[1])) is same
