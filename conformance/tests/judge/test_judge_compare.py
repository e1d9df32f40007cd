"""Comparing: the protocol's rules, field by field, and that clusters are what they claim to be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.judge import compare as module
from conformance.judge.compare import (
    Account,
    Compared,
    How,
    canonical,
    compare,
    compare_claims,
    compare_events,
    compared_part,
    differing_fields,
)
from conformance.observe.observation import Outcome
from conformance.observe.trace import Event
from conformance.protocol import PROTOCOL, Comparison, load
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


def test_events_are_aligned_by_sequence(world):
    events = world.events
    inserted = (*events[:4], events[4], *events[4:])
    found = compare_events(events, inserted)
    assert (found.index, found.how) == (5, How.FIELDS), "two passes: the keys differ"
    found = compare_events(events, events[1:])
    assert (found.index, found.how, found.left, found.right) == (0, How.KIND, *events[:2])
    assert compare_events(events, events) is None
    assert compare_events((), ()) is None


def test_the_trace_comes_before_the_outcome_and_the_memory(world):
    right = Account.observed(world.observe("right"))
    wrong = replace(right, state=world.corrupted("frame_bitmap"))
    assert compare(right, wrong).compared is Compared.STATE
    wrong = replace(wrong, outcome=Outcome.PANICKED)
    assert compare(right, wrong).compared is Compared.OUTCOME
    wrong = replace(wrong, events=wrong.events[:-1])
    assert compare(right, wrong).compared is Compared.TRACE


def test_memory_differs_in_the_coarsest_field(world):
    def field(**values):
        changed = (replace(world.state[0], **values), *world.state[1:])
        left, right = (world.observe("x"), world.observe("x", state=changed))
        (found,) = compare(Account.observed(left), Account.observed(right)).fields
        return found.name, found.how

    assert field(words=17, checksum=0, sha256="") == ("words", "higher")
    assert field(checksum=0, sha256="") == ("checksum", "differs")
    assert field(sha256="0" * 64) == ("sha256", "differs"), "two contents, one checksum"


def test_a_region_is_compared_where_either_has_it(world):
    whole = Account.observed(world.observe("whole"))
    part = Account.observed(world.observe("part", state=world.state[:2]))
    assert compare(whole, part).how is How.MISSING
    assert compare(part, whole).how is How.EXTRA
    oracle = Account.expected(replace(world.expectation, state=world.state[:2]))
    assert compare(oracle, whole) is None, "the oracle does not predict the third"
    assert compare(whole, oracle) is None
    assert compare(oracle, replace(whole, state=())).how is How.MISSING


def test_a_claim_of_memory_that_was_not_read(world):
    account = Account.observed(world.observe("x", state=world.state[:2]))
    found = compare_claims(account)
    assert (found.how, found.left) == (How.EXTRA, None)
    assert compare_claims(replace(account, state=())) is None, "nothing was read at all"


def test_a_run_that_was_cut_short_claims_nothing(world):
    account = Account.observed(world.observe("x", state=world.corrupted("frame_owned")))
    assert compare_claims(account) is not None
    assert compare_claims(replace(account, outcome=Outcome.DEADLINE)) is None


def test_a_claim_about_no_region_is_no_claim(world):
    account = Account.observed(world.observe("x", world.changed("state", region=77)))
    assert compare_claims(account) is None


def events():
    """Any event of the protocol, from few values, so that two are often alike."""
    return st.sampled_from(sorted(PROTOCOL.events)).flatmap(
        lambda kind: st.fixed_dictionaries(
            {
                field.name: st.sampled_from((0, 1, 2, 0x10))
                for field in PROTOCOL.events[kind].layout.fields
            }
        ).map(lambda fields: Event(kind, fields))
    )


def accounts(world):
    state = st.sampled_from((world.state, (), world.state[1:], world.corrupted("frame_owned")))
    traces = st.lists(events(), max_size=2).map(tuple)
    rests = st.sampled_from((b"", b"?", b"!"))
    return st.builds(
        lambda *parts: Account.observed(
            world.observe("x", parts[0], outcome=parts[1], state=parts[2], rest=parts[3])
        ),
        traces,
        st.sampled_from(Outcome),
        state,
        rests,
    )


@given(data=st.data())
def test_two_accounts_share_a_key_exactly_if_they_do_not_differ(world, data):
    left = data.draw(accounts(world))
    # Often a near relative, or two random accounts would hardly ever be alike.
    relatives = st.builds(
        lambda other, names: replace(left, **{name: getattr(other, name) for name in names}),
        accounts(world),
        st.sets(st.sampled_from(("outcome", "state"))),
    )
    right = data.draw(st.one_of(accounts(world), relatives))
    assert (canonical(left) == canonical(right)) == (compare(left, right) is None)
    assert (compare(left, right) is None) == (compare(right, left) is None)
    assert compare(left, left) is None
