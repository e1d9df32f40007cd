"""Comparing: traces, outcomes and memory, in this order, and that a key is what it claims to be."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from conformance.judge.compare import (
    Account,
    Compared,
    How,
    canonical,
    compare,
    compare_claims,
    compare_events,
)
from conformance.observe.observation import Outcome
from conformance.observe.trace import Event
from conformance.protocol import PROTOCOL


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
