"""Blame where a kernel's record of its run is not what the machine itself recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from conformance.case.case import Case
from conformance.judge.clusters import Cluster
from conformance.judge.compare import Account, Difference
from conformance.judge.machine_record import (
    compare_control,
    compare_faults,
    has_control,
    has_faults,
)
from conformance.judge.signature import backend_cause, signature
from conformance.judge.verdict import KERNEL, UNKNOWN, Departure, Status, Verdict

__all__ = ["judge_records"]

_KINDS: tuple[
    tuple[str, Callable[[Account], bool], Callable[[Account, Case], Difference | None]], ...
] = (
    ("a fault", has_faults, compare_faults),
    ("the control registers", has_control, compare_control),
)


@dataclass(frozen=True, slots=True)
class _Wrong:
    """A backend whose record differs from the kernel's."""

    name: str
    cluster: Cluster
    difference: Difference
    cause: str


def judge_records(case: Case, clusters: Sequence[Cluster], verdict: Verdict) -> Verdict:
    """The verdict with the machines' own records taken into account.

    Args:
        case: for the signature.
        clusters: those that are right as far as their traces go.
        verdict: what the traces say.
    """
    for what, has_record, compare in _KINDS:
        recorders = [
            (cluster, account)
            for cluster in clusters
            for account in cluster.accounts
            if has_record(account)
        ]
        wrong = [
            _Wrong(
                account.name,
                cluster,
                difference,
                backend_cause(difference, case, cluster.expectation),
            )
            for cluster, account in recorders
            if (difference := compare(account, case)) is not None
        ]
        if wrong:
            return _blamed(case, what, wrong, len(recorders), verdict)
    return verdict


def _blamed(
    case: Case, what: str, wrong: Sequence[_Wrong], recorders: int, verdict: Verdict
) -> Verdict:
    groups: dict[str, list[str]] = {}
    for each in wrong:
        groups.setdefault(each.cause, []).append(each.name)
    departures = tuple(
        Departure(tuple(sorted(names)), cause) for cause, names in sorted(groups.items())
    )
    names = ", ".join(sorted(each.name for each in wrong))
    shown = min(wrong, key=lambda each: (each.difference.index is None, each.difference.index or 0))
    status = Status.DIVERGE
    reason = f"the kernel's record of {what} differs from the machine's on {names}"
    if len(wrong) < recorders:
        culprit = names
        reason += " only"
        named = "; ".join(map(str, departures))
    elif len(groups) == 1 and recorders > 1:
        culprit = KERNEL
        reason += ", alike"
        named = signature(culprit, shown.difference, case)
    elif recorders == 1:
        culprit = f"{KERNEL} or {names}"
        reason += ", the only one that keeps a record"
        named = signature(culprit, shown.difference, case)
    else:
        status, culprit = Status.INCONCLUSIVE, UNKNOWN
        reason += ", on each in another way"
        named = signature(f"{UNKNOWN} ({names})", shown.difference, case)
    if verdict.status is not Status.DIVERGE:
        return replace(
            verdict,
            status=status,
            reason=f"{reason}; otherwise {verdict.reason}",
            culprit=culprit,
            signature=named,
            difference=shown.difference,
            expectation=shown.cluster.expectation,
            departures=departures,
        )
    # What the traces differ in comes first; the rest is said as well.
    return replace(
        verdict,
        reason=f"{verdict.reason}; and {reason}",
        culprit=f"{verdict.culprit}, {culprit}",
        signature=f"{verdict.signature}; {named}",
        departures=verdict.departures + departures,
    )
