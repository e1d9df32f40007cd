"""What several backends and the oracle say of one case, each different account once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from conformance.judge.compare import ORACLE, Account, compare_events
from conformance.judge.fields import compared_part
from conformance.judge.verdict import Status, Verdict
from conformance.observe.observation import Observation, Outcome
from conformance.observe.trace import Event
from conformance.oracle.expectation import Expectation

__all__ = ["Told", "expected", "parting", "told"]


@dataclass(frozen=True, slots=True)
class Told:
    """An account that is shown, and whose it is.

    Attributes:
        names: of the backends; ORACLE first, if that is what it expects, as far as it says.
        outcome: how the run ended.
        detail: one line about that, or empty.
        events: the decoded trace, also where it was cut short.
    """

    names: tuple[str, ...]
    outcome: Outcome
    detail: str
    events: tuple[Event, ...]


def told(verdict: Verdict, observations: Sequence[Observation]) -> tuple[Told, ...]:
    """The accounts of a case, the oracle's first."""
    groups: dict[object, Told] = {}
    for observation in sorted(observations, key=lambda each: each.backend):
        events = Account.observed(observation).events
        key = observation.outcome, tuple(map(compared_part, events))
        one = Told((), observation.outcome, observation.detail, events)
        before = groups.get(key, one)
        groups[key] = replace(before, names=(*before.names, observation.backend))
    accounts = list(groups.values())
    if verdict.expectation is not None:
        oracle = expected(verdict.expectation)
        # Where the manual permits several behaviours, it expects of each backend what that chose.
        agreed = verdict.status is Status.AGREE
        right = [
            each
            for each in accounts
            if _alike(oracle, each) or (agreed and each.outcome is not Outcome.REFUSED)
        ]
        wrong = [each for each in accounts if each not in right]
        joined = [replace(each, names=(ORACLE, *each.names)) for each in right]
        accounts = [*(joined or [oracle]), *wrong]
    return tuple(accounts)


def expected(expectation: Expectation) -> Told:
    """The oracle's account."""
    return Told((ORACLE,), expectation.outcome, "", tuple(expectation.events))


def parting(accounts: Sequence[Told]) -> int | None:
    """The number of the first event in which not all are alike; None if there is none.

    Where they differ only in how the run ended, that is the one after the last.
    """
    first, *others = accounts
    places = []
    for other in others:
        difference = compare_events(first.events, other.events)
        if difference is not None and difference.index is not None:
            places.append(difference.index)
        elif first.outcome is not other.outcome:
            places.append(len(first.events))
    return min(places, default=None)


def _alike(oracle: Told, account: Told) -> bool:
    return oracle.outcome is account.outcome and parting((oracle, account)) is None
