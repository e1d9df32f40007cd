"""Blame: who is at fault, from the oracle and all the observations."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from conformance.case.case import Case
from conformance.errors import InvalidArgument
from conformance.judge.compare import (
    ORACLE,
    UNTRACED,
    Account,
    Compared,
    Difference,
    canonical,
    compare,
    compare_claims,
)
from conformance.judge.signature import signature
from conformance.judge.verdict import KERNEL, UNKNOWN, Status, Verdict
from conformance.observe.observation import Observation, Outcome
from conformance.oracle.expectation import Expectation

__all__ = ["judge"]


@dataclass(frozen=True, slots=True, eq=False)
class _Cluster:
    """Backends whose accounts do not differ, and the account of the first of them."""

    names: tuple[str, ...]
    account: Account

    @property
    def label(self) -> str:
        return ", ".join(self.names)


def judge(
    case: Case, expectation: Expectation | None, observations: Sequence[Observation]
) -> Verdict:
    """The verdict on a case; the order of the observations makes no difference.

    A backend that refused the case did not take part. Without an expectation there is no oracle.

    Raises:
        InvalidArgument: two observations of one backend, or of one that calls itself the oracle.
    """
    names = sorted(observation.backend for observation in observations)
    if len(set(names)) != len(names) or ORACLE in names:
        raise InvalidArgument(
            f"backends {names}: give each its own name, and none the name {ORACLE!r}"
        )
    taking_part = [each for each in observations if each.outcome is not Outcome.REFUSED]
    clusters = _clusters(taking_part)
    oracle = None if expectation is None else Account.expected(expectation)
    return _Judgement(case, oracle, clusters, _absentees(observations)).verdict()


def _clusters(observations: Iterable[Observation]) -> tuple[_Cluster, ...]:
    groups: dict[tuple[object, ...], list[Account]] = {}
    for observation in sorted(observations, key=lambda each: each.backend):
        account = Account.observed(observation)
        groups.setdefault(canonical(account), []).append(account)
    return tuple(
        _Cluster(tuple(account.name for account in group), group[0]) for group in groups.values()
    )


def _members(clusters: Iterable[_Cluster]) -> str:
    return ", ".join(sorted(name for each in clusters for name in each.names))


def _absentees(observations: Sequence[Observation]) -> str:
    """The end of a reason: who refused the case, and why."""
    refused = sorted(
        (each.backend, each.detail) for each in observations if each.outcome is Outcome.REFUSED
    )
    words = [f"{name}: {detail}" if detail else name for name, detail in refused]
    return f" (did not take part: {'; '.join(words)})" if words else ""


def _place(difference: Difference) -> tuple[int, int]:
    """For finding the earliest of several differences."""
    order = list(Compared)
    return order.index(difference.compared), difference.index or 0


def _against(reference: Account, cluster: _Cluster) -> Difference | None:
    return compare(reference, cluster.account) or compare_claims(cluster.account)


@dataclass(frozen=True, slots=True)
class _Judgement:
    """The rows of the table, over what takes part.

    Attributes:
        case: for the signature.
        oracle: None where there is none.
        clusters: of the backends.
        absentees: the end of every reason.
    """

    case: Case
    oracle: Account | None
    clusters: tuple[_Cluster, ...]
    absentees: str

    def verdict(self) -> Verdict:
        outcomes = {cluster.account.outcome for cluster in self.clusters}
        if outcomes <= {Outcome.BACKEND_CRASHED}:
            what = "every engine crashed" if outcomes else "no backend ran the case"
            return self._nothing_to_compare(what)
        return self._without_oracle() if self.oracle is None else self._with_oracle(self.oracle)

    def _with_oracle(self, oracle: Account) -> Verdict:
        inside = [each for each in self.clusters if _against(oracle, each) is None]
        outside = [each for each in self.clusters if each not in inside]
        if inside and outside:
            return self._backends(oracle, inside, outside)
        if len(self.clusters) > 1:
            return self._inconclusive(self._why_inconclusive(oracle, unpredicted=not outside))
        (cluster,) = self.clusters
        difference = _against(oracle, cluster)
        if difference is not None:
            return self._kernel(cluster, difference)
        verb = "agrees" if len(cluster.names) == 1 else "agree"
        reason = f"{cluster.label} {verb} with the oracle{self.absentees}"
        return Verdict(Status.AGREE, reason, clusters=((ORACLE, *cluster.names),))

    def _without_oracle(self) -> Verdict:
        wrong = [(each, compare_claims(each.account)) for each in self.clusters]
        unsound = [(each, difference) for each, difference in wrong if difference is not None]
        sound = [each for each, difference in wrong if difference is None]
        if len(self.clusters) > 1:
            # Memory that does not bear out what the kernel said there is proof by itself, if
            # everyone else had the chance to fail like that and agrees.
            if unsound and len(sound) == 1 and sound[0].account.outcome not in UNTRACED:
                culprit = _members(each for each, _ in unsound)
                reason = f"what the kernel says of its memory is not so on {culprit} only"
                return self._diverge(reason, unsound, self._listed())
            return self._inconclusive("there is no oracle to tell who is right")
        (cluster,) = self.clusters
        if unsound:
            return self._kernel(*unsound[0])
        if cluster.account.outcome is Outcome.DEADLINE:
            return self._nothing_to_compare("no backend came to an end")
        if len(cluster.names) == 1:
            return self._nothing_to_compare("one backend ran and there is no oracle")
        reason = f"{cluster.label} agree with each other; there is no oracle{self.absentees}"
        return Verdict(Status.AGREE, reason, clusters=(cluster.names,))

    def _listed(self) -> tuple[tuple[str, ...], ...]:
        oracle = () if self.oracle is None else ((ORACLE,),)
        return oracle + tuple(cluster.names for cluster in self.clusters)

    def _nothing_to_compare(self, what: str) -> Verdict:
        return Verdict(
            Status.INCONCLUSIVE,
            f"{what}: there is nothing to compare{self.absentees}",
            culprit=UNKNOWN,
            signature=f"{UNKNOWN}: {what} ({self.case.machine.paging})",
            clusters=self._listed(),
        )

    def _kernel(self, cluster: _Cluster, difference: Difference) -> Verdict:
        """All agree with each other, against the oracle or their own memory."""
        claims = difference.compared is Compared.KERNEL_TRACE
        wrong = "what the kernel says of its memory is not so"
        if len(cluster.names) > 1:
            culprit = KERNEL
            against = wrong if claims else "not with the oracle"
            reason = f"{cluster.label} agree with each other, but {against}"
        else:
            culprit = f"{KERNEL} or {cluster.label}"
            against = wrong if claims else "it differs from the oracle"
            reason = f"{cluster.label} is the only backend that ran, and {against}"
        return Verdict(
            Status.DIVERGE,
            reason + self.absentees,
            culprit=culprit,
            signature=signature(culprit, difference, self.case),
            difference=difference,
            clusters=self._listed(),
        )

    def _backends(
        self, oracle: Account, inside: Sequence[_Cluster], outside: Sequence[_Cluster]
    ) -> Verdict:
        """Some agree with the oracle, and the others do not."""
        clusters: tuple[tuple[str, ...], ...]
        note = ""
        if len(inside) == 1:
            # A backend shows more than the oracle, which does not predict everything.
            reference = inside[0].account
            clusters = ((ORACLE, *inside[0].names), *(each.names for each in outside))
        else:
            # Of backends that differ in what the oracle leaves open, none is a reference.
            reference, clusters = oracle, self._listed()
            note = " (and differ in what it does not predict)"
        wrong = []
        for each in outside:
            difference = _against(reference, each)
            assert difference is not None
            wrong.append((each, difference))
        verb = "agrees" if sum(len(each.names) for each in inside) == 1 else "agree"
        reason = f"{_members(inside)} {verb} with the oracle{note}, unlike {_members(outside)}"
        return self._diverge(reason, wrong, clusters)

    def _diverge(
        self,
        reason: str,
        wrong: Sequence[tuple[_Cluster, Difference]],
        clusters: tuple[tuple[str, ...], ...],
    ) -> Verdict:
        """Backends are the culprits; each of their clusters has a cause of its own."""
        return Verdict(
            Status.DIVERGE,
            reason + self.absentees,
            culprit=_members(each for each, _ in wrong),
            signature="; ".join(signature(each.label, found, self.case) for each, found in wrong),
            difference=min((difference for _, difference in wrong), key=_place),
            clusters=clusters,
        )

    def _first_disagreement(self) -> Difference:
        pairs = itertools.combinations(self.clusters, 2)
        found = (compare(one.account, other.account) for one, other in pairs)
        return min((each for each in found if each is not None), key=_place)

    def _why_inconclusive(self, oracle: Account, *, unpredicted: bool) -> str:
        if unpredicted:
            return "the oracle does not predict what they differ in"
        why = "none of them agrees with the oracle"
        left = [_against(oracle, each) for each in self.clusters]
        earliest = min((each for each in left if each is not None), key=_place)
        if earliest.index is not None and _place(earliest) < _place(self._first_disagreement()):
            why += f", which they left together at event {earliest.index}"
        return why

    def _inconclusive(self, why: str) -> Verdict:
        difference = self._first_disagreement()
        groups = " / ".join(cluster.label for cluster in self.clusters)
        return Verdict(
            Status.INCONCLUSIVE,
            f"the backends differ among themselves ({groups}), and {why}{self.absentees}",
            culprit=UNKNOWN,
            signature=signature(f"{UNKNOWN} ({groups})", difference, self.case),
            difference=difference,
            clusters=self._listed(),
        )
