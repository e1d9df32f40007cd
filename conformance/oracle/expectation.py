"""Expectations: what a correct kernel on correct hardware does with one case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from conformance.observe.observation import Outcome, StateDigest
from conformance.observe.trace import Event

__all__ = ["Choice", "Expectation", "Rule"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What decides an event, in the manual's terms; it becomes part of a signature.

    Attributes:
        name: a few words, never an instance's numbers: `reserved bit set in an entry`.
        source: volume and section.
        sweeping: whatever differs where this decides has one cause: the rest of the event follows
            from a translation that is another one.
        promise: what the kernel promises there, for where the kernel is the one that breaks it;
            empty where that is not the kernel's to promise.
    """

    name: str
    source: str
    sweeping: bool = False
    promise: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """A place where the manual permits more than one behaviour.

    Attributes:
        index: of the first event that depends on it.
        rule: what permits it.
        permitted: how many behaviours.
        taken: which of them this expectation follows, from 0.
    """

    index: int
    rule: Rule
    permitted: int
    taken: int


@dataclass(frozen=True, slots=True)
class Expectation:
    """The oracle's counterpart of an observation.

    Attributes:
        outcome: how the run ends.
        events: the whole trace. A field that an event here lacks is not predicted: the
            specification leaves it open.
        state: digests of the regions the case names, in the protocol's order; empty unless the
            kernel comes to its end.
        rules: by the index of an event, what decides it.
        choices: where the manual leaves something open, and what was assumed there.
    """

    outcome: Outcome
    events: tuple[Event, ...]
    state: tuple[StateDigest, ...] = ()
    rules: Mapping[int, Rule] = field(default_factory=dict)
    choices: tuple[Choice, ...] = ()
