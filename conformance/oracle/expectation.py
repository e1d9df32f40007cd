"""Expectations: what a correct kernel on correct hardware does with one case."""

from __future__ import annotations

from dataclasses import dataclass

from conformance.observe.observation import Outcome, StateDigest
from conformance.observe.trace import Event

__all__ = ["Expectation"]


@dataclass(frozen=True, slots=True)
class Expectation:
    """The oracle's counterpart of an observation.

    Attributes:
        outcome: how the run ends.
        events: the whole trace. A field that an event here lacks is not predicted: the
            specification leaves it open.
        state: digests of the regions the case names, in the protocol's order; empty unless the
            kernel comes to its end.
    """

    outcome: Outcome
    events: tuple[Event, ...]
    state: tuple[StateDigest, ...] = ()
