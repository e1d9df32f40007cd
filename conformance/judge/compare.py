"""Comparing: where two accounts of one case differ first.

An account is what one backend showed, or what the oracle expects. Events are aligned by sequence;
kernel/protocol.toml says for each field how it is compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

from conformance.judge.fields import FieldDifference, canonical_event, differing_fields
from conformance.observe.observation import (
    ControlRegisters,
    MachineFault,
    Observation,
    Outcome,
    StateDigest,
)
from conformance.observe.trace import UNDECODABLE, Event, decode
from conformance.oracle.expectation import Expectation
from conformance.protocol import PROTOCOL

__all__ = [
    "ORACLE",
    "UNTRACED",
    "Account",
    "Compared",
    "Difference",
    "How",
    "canonical",
    "compare",
    "compare_claims",
    "compare_events",
]

ORACLE = "oracle"
"""The oracle's name among the accounts."""

UNTRACED = frozenset({Outcome.DEADLINE, Outcome.BACKEND_CRASHED, Outcome.REFUSED, Outcome.GARBLED})
"""Outcomes that stand for themselves: the trace was cut at an arbitrary place, or is none."""

_STATE_KIND = "state"


class Compared(StrEnum):
    """What two accounts differ in, in the order of comparison."""

    TRACE = "trace"
    OUTCOME = "outcome"
    STATE = "state"
    """The final content of memory, read from outside."""
    KERNEL_TRACE = "kernel-trace"
    """What the kernel says of its memory, against that memory read from outside."""
    MACHINE_RECORD = "machine-record"
    """The kernel's record of faults and control registers, against the machine's own."""


class How(StrEnum):
    """How an event differs, seen from the left."""

    MISSING = "missing"
    EXTRA = "extra"
    KIND = "kind"
    FIELDS = "fields"


@dataclass(frozen=True, slots=True)
class Difference:
    """The first difference between two accounts; the left one is the reference.

    Attributes:
        compared: what was compared.
        how: of the event as a whole; `fields` where one or more of its fields differ.
        index: of the event in the trace; None where no event is concerned.
        left, right: the two events; None where there is none. A digest of memory is shown as the
            `state` event that it would be.
        fields: the fields that differ, in the protocol's order.
        outcomes: of the two accounts.
        names: of the two accounts.
    """

    compared: Compared
    how: How
    index: int | None = None
    left: Event | None = None
    right: Event | None = None
    fields: tuple[FieldDifference, ...] = ()
    outcomes: tuple[Outcome, Outcome] = (Outcome.COMPLETED, Outcome.COMPLETED)
    names: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Account:
    """One backend's, or the oracle's, account of a case.

    Attributes:
        name: the backend's, or ORACLE.
        outcome: how the run ended.
        events: the decoded trace.
        rest: the bytes of the trace that could not be decoded.
        state: the final content of memory.
        partial: an expectation: the regions and fields that it omits are not predicted.
        faults, control: the machine's own record; None where there is none. Never compared with
            another account's, only with the trace of this one.
    """

    name: str
    outcome: Outcome
    events: tuple[Event, ...] = ()
    rest: bytes = b""
    state: tuple[StateDigest, ...] = ()
    partial: bool = False
    faults: tuple[MachineFault, ...] | None = None
    control: ControlRegisters | None = None

    @classmethod
    def observed(cls, observation: Observation) -> Account:
        """What a backend showed."""
        events, rest = _decode(observation.trace)
        return cls(
            observation.backend,
            observation.outcome,
            events,
            rest,
            observation.state,
            faults=observation.faults,
            control=observation.control,
        )

    @classmethod
    def expected(cls, expectation: Expectation) -> Account:
        """What the oracle says."""
        events = tuple(expectation.events)
        return cls(ORACLE, expectation.outcome, events, b"", tuple(expectation.state), partial=True)


@lru_cache(maxsize=32)
def _decode(trace: bytes) -> tuple[tuple[Event, ...], bytes]:
    events = decode(trace)
    if events and events[-1].kind == UNDECODABLE:
        return events, trace[events[-1].fields["offset"] :]
    return events, b""


def canonical(account: Account) -> tuple[object, ...]:
    """A key that two observed accounts share exactly if `compare` finds no difference."""
    if account.outcome in UNTRACED:
        return (account.outcome,)
    events = tuple(canonical_event(event) for event in account.events)
    digests = {digest.region: digest for digest in account.state}
    state = tuple(digests.get(region) for region in PROTOCOL.state_regions)
    return account.outcome, events, account.rest, state


def compare_events(left: Sequence[Event], right: Sequence[Event]) -> Difference | None:
    """The first difference between two sequences of events, the longer one's tail included."""
    for index, (one, other) in enumerate(itertools.zip_longest(left, right)):
        fields: tuple[FieldDifference, ...] = ()
        if other is None:
            how = How.MISSING
        elif one is None:
            how = How.EXTRA
        elif one.kind != other.kind:
            how = How.KIND
        elif fields := differing_fields(one, other):
            how = How.FIELDS
        else:
            continue
        return Difference(Compared.TRACE, how, index, one, other, fields)
    return None


def _digest_event(digest: StateDigest) -> Event:
    region = PROTOCOL.code("state_region", digest.region)
    return Event(
        _STATE_KIND, {"region": region, "words": digest.words, "checksum": digest.checksum}
    )


def _differing_digests(left: StateDigest, right: StateDigest) -> tuple[FieldDifference, ...]:
    """The coarsest field that differs: the finer ones then differ as well."""
    if left.words != right.words:
        return (FieldDifference("words", "higher" if right.words > left.words else "lower"),)
    for name in ("checksum", "sha256"):
        if getattr(left, name) != getattr(right, name):
            return (FieldDifference(name, "differs"),)
    return ()


def _compare_state(left: Account, right: Account) -> Difference | None:
    one = {digest.region: digest for digest in left.state}
    other = {digest.region: digest for digest in right.state}
    for region in PROTOCOL.state_regions:
        ours, theirs = one.get(region), other.get(region)
        if (ours is None and (theirs is None or left.partial)) or (
            theirs is None and right.partial
        ):
            continue
        if theirs is None and ours is not None:
            return Difference(Compared.STATE, How.MISSING, None, _digest_event(ours), None)
        if ours is None and theirs is not None:
            return Difference(Compared.STATE, How.EXTRA, None, None, _digest_event(theirs))
        if ours is not None and theirs is not None and (fields := _differing_digests(ours, theirs)):
            events = _digest_event(ours), _digest_event(theirs)
            return Difference(Compared.STATE, How.FIELDS, None, *events, fields)
    return None


def compare(left: Account, right: Account) -> Difference | None:
    """The first difference between two accounts: of the traces, the outcomes, the memory.

    Where an outcome is one of UNTRACED, only the outcomes are compared.
    """
    found = None
    if left.outcome not in UNTRACED and right.outcome not in UNTRACED:
        found = compare_events(left.events, right.events)
        if found is None and left.rest != right.rest:
            # Two traces that stop making sense at the same place, in different ways.
            index, fields = len(left.events) - 1, (FieldDifference("bytes", "differs"),)
            events = left.events[index], right.events[index]
            found = Difference(Compared.TRACE, How.FIELDS, index, *events, fields)
    if found is None and left.outcome != right.outcome:
        how = FieldDifference("outcome", f"{right.outcome} instead of {left.outcome}")
        found = Difference(Compared.OUTCOME, How.FIELDS, fields=(how,))
    if found is None and left.outcome not in UNTRACED:
        found = _compare_state(left, right)
    if found is None:
        return None
    return replace(found, outcomes=(left.outcome, right.outcome), names=(left.name, right.name))


def compare_claims(account: Account) -> Difference | None:
    """The first `state` event of a trace that the memory, read from outside, does not bear out.

    Left is what the memory holds, right what the kernel says.
    """
    if account.outcome in UNTRACED or not account.state:
        return None
    digests = {digest.region: digest for digest in account.state}
    regions = PROTOCOL.enums["state_region"]
    for index, claim in enumerate(account.events):
        if claim.kind != _STATE_KIND or claim.fields["region"] not in regions:
            continue
        digest = digests.get(regions[claim.fields["region"]])
        memory = None if digest is None else _digest_event(digest)
        fields = () if memory is None else differing_fields(memory, claim)
        if memory is None or fields:
            return Difference(
                Compared.KERNEL_TRACE,
                How.EXTRA if memory is None else How.FIELDS,
                index,
                memory,
                claim,
                fields,
                (account.outcome, account.outcome),
                (account.name, account.name),
            )
    return None
