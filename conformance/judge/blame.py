"""Blame: who is at fault, from the oracle and all the observations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from conformance.case.case import Case
from conformance.errors import InvalidArgument
from conformance.judge.clusters import (
    Cluster,
    Prediction,
    against,
    choices_made,
    find_clusters,
    first_disagreement,
    members,
    place,
)
from conformance.judge.compare import ORACLE, UNTRACED, Compared, Difference, compare_claims
from conformance.judge.fields import compared_part
from conformance.judge.record_blame import judge_records
from conformance.judge.signature import backend_cause, signature
from conformance.judge.verdict import KERNEL, UNKNOWN, Departure, Status, Verdict
from conformance.observe.observation import Observation, Outcome

__all__ = ["Prediction", "judge"]


def judge(case: Case, predict: Prediction | None, observations: Sequence[Observation]) -> Verdict:
    """The verdict on a case; the order of the observations makes no difference.

    A backend that refused the case did not take part.

    Args:
        case: what was run.
        predict: the oracle. Where the manual permits several behaviours, each backend is held
            against the expectation that follows its own trace. None where there is no oracle.
        observations: what the backends did.

    Raises:
        InvalidArgument: two observations of one backend, or of one that calls itself the oracle.
    """
    names = sorted(observation.backend for observation in observations)
    if len(set(names)) != len(names) or ORACLE in names:
        raise InvalidArgument(
            f"backends {names}: give each its own name, and none the name {ORACLE!r}"
        )
    taking_part = [each for each in observations if each.outcome is not Outcome.REFUSED]
    clusters = find_clusters(taking_part, predict)
    judgement = _Judgement(case, predict is not None, clusters, _absentees(observations))
    return replace(judgement.verdict(), choices=choices_made(clusters))


def _absentees(observations: Sequence[Observation]) -> str:
    """The end of a reason: who refused the case, and why."""
    refused = sorted(
        (each.backend, each.detail) for each in observations if each.outcome is Outcome.REFUSED
    )
    words = [f"{name}: {detail}" if detail else name for name, detail in refused]
    return f" (did not take part: {'; '.join(words)})" if words else ""


@dataclass(frozen=True, slots=True)
class _Judgement:
    """The rows of the table, over what takes part.

    Attributes:
        case: for the signature.
        oracle: there is one.
        clusters: of the backends.
        absentees: the end of every reason.
    """

    case: Case
    oracle: bool
    clusters: tuple[Cluster, ...]
    absentees: str

    def verdict(self) -> Verdict:
        outcomes = {cluster.account.outcome for cluster in self.clusters}
        if outcomes <= {Outcome.BACKEND_CRASHED}:
            what = "every engine crashed" if outcomes else "no backend ran the case"
            return self._nothing_to_compare(what)
        return self._with_oracle() if self.oracle else self._without_oracle()

    def _with_oracle(self) -> Verdict:
        inside = [each for each in self.clusters if each.departure is None]
        outside = [each for each in self.clusters if each not in inside]
        unpredicted = first_disagreement(inside)
        if inside and outside:
            return self._backends(inside, outside, unpredicted)
        if unpredicted is not None:
            return self._inconclusive("the oracle does not predict what they differ in")
        if inside:
            return judge_records(self.case, inside, self._agreement(inside))
        departed = self._departed_together()
        if departed is not None:
            return self._kernel(departed)
        return self._inconclusive("none of them agrees with the oracle")

    def _agreement(self, inside: Sequence[Cluster]) -> Verdict:
        clusters = self._listed()
        if len(inside) == 1:
            (cluster,) = inside
            verb = "agrees" if len(cluster.names) == 1 else "agree"
            reason = f"{cluster.label} {verb} with the oracle"
            clusters = ((ORACLE, *cluster.names),)
        else:
            groups = " / ".join(cluster.label for cluster in inside)
            reason = f"{groups} agree with the oracle in different ways: the manual permits each"
        return Verdict(
            Status.AGREE,
            reason + self.absentees,
            clusters=clusters,
            expectation=inside[0].expectation,
        )

    def _without_oracle(self) -> Verdict:
        wrong = [(each, compare_claims(each.account)) for each in self.clusters]
        unsound = [(each, difference) for each, difference in wrong if difference is not None]
        sound = [each for each, difference in wrong if difference is None]
        if len(self.clusters) > 1:
            # Memory that does not bear out what the kernel said there is proof by itself, if
            # everyone else had the chance to fail like that and agrees.
            if unsound and len(sound) == 1 and sound[0].account.outcome not in UNTRACED:
                culprit = members(each for each, _ in unsound)
                reason = f"what the kernel says of its memory is not so on {culprit} only"
                return self._diverge(reason, unsound, self._listed())
            return self._inconclusive("there is no oracle to tell who is right")
        (cluster,) = self.clusters
        if unsound:
            return self._kernel(unsound[0][1])
        if cluster.account.outcome is Outcome.DEADLINE:
            return self._nothing_to_compare("no backend came to an end")
        if len(cluster.names) == 1:
            # Its own record of the run is something to compare with, though not to agree with.
            verdict = self._nothing_to_compare("one backend ran and there is no oracle")
        else:
            reason = f"{cluster.label} agree with each other; there is no oracle{self.absentees}"
            verdict = Verdict(Status.AGREE, reason, clusters=(cluster.names,))
        return judge_records(self.case, [cluster], verdict)

    def _listed(self) -> tuple[tuple[str, ...], ...]:
        oracle = ((ORACLE,),) if self.oracle else ()
        return oracle + tuple(cluster.names for cluster in self.clusters)

    def _nothing_to_compare(self, what: str) -> Verdict:
        return Verdict(
            Status.INCONCLUSIVE,
            f"{what}: there is nothing to compare{self.absentees}",
            culprit=UNKNOWN,
            signature=f"{UNKNOWN}: {what} ({self.case.machine.paging})",
            clusters=self._listed(),
        )

    def _departed_together(self) -> Difference | None:
        """Where all leave the oracle, if they do so at one place and in one way.

        What they do after that, even if they differ in it, may all follow from there.
        """
        departures = [each.departure for each in self.clusters if each.departure is not None]
        first = min(departures, key=place)
        if len(departures) == 1:
            return first
        ways = {(_way(each), signature("", each, self.case)) for each in departures}
        disagreement = first_disagreement(self.clusters)
        if len(ways) > 1 or (disagreement is not None and place(disagreement) <= place(first)):
            return None
        return first

    def _kernel(self, difference: Difference) -> Verdict:
        """All agree with each other, against the oracle or their own memory."""
        names = members(self.clusters)
        alone = sum(len(each.names) for each in self.clusters) == 1
        claims = difference.compared is Compared.KERNEL_TRACE
        wrong = "what the kernel says of its memory is not so"
        if alone:
            culprit = f"{KERNEL} or {names}"
            against_what = wrong if claims else "it differs from the oracle"
            reason = f"{names} is the only backend that ran, and {against_what}"
        elif len(self.clusters) == 1:
            culprit = KERNEL
            against_what = wrong if claims else "not with the oracle"
            reason = f"{names} agree with each other, but {against_what}"
        else:
            culprit = KERNEL
            at = "" if difference.index is None else f" at event {difference.index}"
            reason = (
                f"{names} left the oracle together{at}; "
                "that they differ among themselves came after it"
            )
        return Verdict(
            Status.DIVERGE,
            reason + self.absentees,
            culprit=culprit,
            signature=signature(culprit, difference, self.case, self.clusters[0].expectation),
            difference=difference,
            clusters=self._listed(),
            expectation=self.clusters[0].expectation,
            departures=self._departures(),
        )

    def _backends(
        self, inside: Sequence[Cluster], outside: Sequence[Cluster], unpredicted: Difference | None
    ) -> Verdict:
        """Some agree with the oracle, and the others do not."""
        wrong = []
        for each in outside:
            # A backend shows more than the oracle, which does not predict everything. Of backends
            # that differ in what the oracle leaves open, none is a reference.
            alike = [other for other in inside if other.chose_like(each)]
            difference = (
                against(alike[0].account, each.account) if len(alike) == 1 else each.departure
            )
            assert difference is not None
            wrong.append((each, difference))
        shown = min((difference for _, difference in wrong), key=place)
        clusters = self._listed()
        for each in inside:
            if shown.names[0] in each.names:
                others = [other.names for other in self.clusters if other is not each]
                clusters = ((ORACLE, *each.names), *others)
        note = "" if unpredicted is None else " (and differ in what it does not predict)"
        verb = "agrees" if sum(len(each.names) for each in inside) == 1 else "agree"
        reason = f"{members(inside)} {verb} with the oracle{note}, unlike {members(outside)}"
        return judge_records(self.case, inside, self._diverge(reason, wrong, clusters))

    def _diverge(
        self,
        reason: str,
        wrong: Sequence[tuple[Cluster, Difference]],
        clusters: tuple[tuple[str, ...], ...],
    ) -> Verdict:
        """Backends are the culprits; each of their clusters has a cause of its own."""
        departures = tuple(
            Departure(each.names, _cause(difference, self.case, each)) for each, difference in wrong
        )
        shown, difference = min(wrong, key=lambda pair: place(pair[1]))
        return Verdict(
            Status.DIVERGE,
            reason + self.absentees,
            culprit=members(each for each, _ in wrong),
            signature="; ".join(map(str, departures)),
            difference=difference,
            clusters=clusters,
            expectation=shown.expectation,
            departures=departures,
        )

    def _departures(self) -> tuple[Departure, ...]:
        found = ((each, each.departure) for each in self.clusters)
        return tuple(
            Departure(each.names, _cause(difference, self.case, each))
            for each, difference in found
            if difference is not None
        )

    def _inconclusive(self, why: str) -> Verdict:
        difference = first_disagreement(self.clusters)
        if difference is None:
            # Whatever they differ in directly may be a choice: only the oracle tells.
            left = [each.departure for each in self.clusters]
            difference = min((each for each in left if each is not None), key=place)
        shown = next(each for each in self.clusters if difference.names[1] in each.names)
        groups = " / ".join(cluster.label for cluster in self.clusters)
        return Verdict(
            Status.INCONCLUSIVE,
            f"the backends differ among themselves ({groups}), and {why}{self.absentees}",
            culprit=UNKNOWN,
            signature=signature(f"{UNKNOWN} ({groups})", difference, self.case),
            difference=difference,
            clusters=self._listed(),
            expectation=shown.expectation,
            departures=self._departures(),
        )


def _cause(difference: Difference, case: Case, cluster: Cluster) -> str:
    shown = len(cluster.account.events)
    return backend_cause(difference, case, cluster.expectation, shown)


def _way(difference: Difference) -> tuple[object, ...]:
    right = difference.right
    return difference.compared, difference.how, None if right is None else compared_part(right)
