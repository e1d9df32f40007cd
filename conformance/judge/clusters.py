"""Clusters: backends whose accounts do not differ, and what the oracle expects of each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from conformance.judge.compare import (
    Account,
    Compared,
    Difference,
    canonical,
    compare,
    compare_claims,
)
from conformance.observe.observation import Observation
from conformance.observe.trace import UNDECODABLE, Event
from conformance.oracle.expectation import Expectation

__all__ = [
    "Cluster",
    "Prediction",
    "against",
    "choices_made",
    "find_clusters",
    "first_disagreement",
    "members",
    "place",
]

Prediction = Callable[[tuple[Event, ...]], Expectation]
"""The oracle for one case: the expectation that follows the permitted choices of a trace."""


@dataclass(frozen=True, slots=True, eq=False)
class Cluster:
    """Backends whose accounts do not differ.

    Attributes:
        accounts: of the backends, by name.
        expectation: the oracle's, following the choices these backends made; None without one.
        departure: where they leave it, or else their own memory; None where they do not.
    """

    accounts: tuple[Account, ...]
    expectation: Expectation | None
    departure: Difference | None

    @property
    def account(self) -> Account:
        """The account of the first, which stands for all."""
        return self.accounts[0]

    @property
    def names(self) -> tuple[str, ...]:
        """The backends' names."""
        return tuple(account.name for account in self.accounts)

    @property
    def label(self) -> str:
        """The names, for people."""
        return ", ".join(self.names)

    def chose_like(self, other: Cluster) -> bool:
        """The oracle expects the same of both."""
        one, two = self.expectation, other.expectation
        if one is None or two is None or one is two:
            return True
        return (one.outcome, one.events, one.state) == (two.outcome, two.events, two.state)


def against(reference: Account, account: Account) -> Difference | None:
    """Where an account leaves a reference, or else its own memory."""
    return compare(reference, account) or compare_claims(account)


def find_clusters(
    observations: Iterable[Observation], predict: Prediction | None
) -> tuple[Cluster, ...]:
    """The clusters of observations, by name."""
    groups: dict[tuple[object, ...], list[Account]] = {}
    for observation in sorted(observations, key=lambda each: each.backend):
        account = Account.observed(observation)
        groups.setdefault(canonical(account), []).append(account)
    expectations = _expectations([group[0] for group in groups.values()], predict)
    return tuple(
        Cluster(tuple(group), expectation, _departure(group[0], expectation))
        for group, expectation in zip(groups.values(), expectations, strict=True)
    )


def _departure(account: Account, expectation: Expectation | None) -> Difference | None:
    if expectation is None:
        return compare_claims(account)
    return against(Account.expected(expectation), account)


def _expectations(
    witnesses: Iterable[Account], predict: Prediction | None
) -> Iterator[Expectation | None]:
    """What is expected of each.

    Who agrees with an expectation that left nothing open is not a witness of anything. The others
    are: what they show may follow from another choice, or tell more about the rule they break.
    """
    same: Expectation | None = None
    for witness in witnesses:
        if predict is None or (same is not None and _departure(witness, same) is None):
            yield same
            continue
        events = tuple(event for event in witness.events if event.kind != UNDECODABLE)
        expectation = predict(events)
        if not expectation.choices:
            same = expectation
        yield expectation


def members(clusters: Iterable[Cluster]) -> str:
    """The names of the backends of several clusters."""
    return ", ".join(sorted(name for each in clusters for name in each.names))


def place(difference: Difference) -> tuple[int, int]:
    """For finding the earliest of several differences."""
    order = list(Compared)
    return order.index(difference.compared), difference.index or 0


def first_disagreement(clusters: Sequence[Cluster]) -> Difference | None:
    """The first thing that clusters differ in although the oracle expects the same of them."""
    found = (
        compare(one.account, other.account)
        for one, other in itertools.combinations(clusters, 2)
        if one.chose_like(other)
    )
    return min((each for each in found if each is not None), key=place, default=None)


def choices_made(clusters: Iterable[Cluster]) -> tuple[str, ...]:
    """What the manual leaves open in the case, a line for each rule."""
    lines = [
        f"{choice.rule.name} ({choice.rule.source})"
        for cluster in clusters
        if cluster.expectation is not None
        for choice in cluster.expectation.choices
    ]
    return tuple(dict.fromkeys(lines))
