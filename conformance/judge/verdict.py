"""Verdicts: what a case's observations mean."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from conformance.errors import InvalidArgument
from conformance.judge.compare import Difference

__all__ = ["KERNEL", "NOBODY", "UNKNOWN", "Status", "Verdict"]

NOBODY = "none"
"""Culprit where all agree."""

KERNEL = "kernel"
"""Culprit where all backends agree with each other, and not with the oracle."""

UNKNOWN = "unknown"
"""Culprit where there is no telling."""


class Status(StrEnum):
    """The kinds of verdict."""

    AGREE = "agree"
    DIVERGE = "diverge"
    INCONCLUSIVE = "inconclusive"
    FLAKY = "flaky"
    """The difference did not come back when the case was run again."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a case's observations mean.

    Attributes:
        status: the kind of verdict.
        reason: one sentence, always.
        culprit: NOBODY, KERNEL, UNKNOWN, backends' names joined by `, `, or `kernel or NAME` where
            only one backend ran, so that the two cannot be told apart.
        signature: the root cause; empty where all agree.
        difference: the first one; None where there is none to show.
        clusters: names of those who agree with each other; the oracle is among them. A backend
            that refused the case is in none.

    Raises:
        InvalidArgument: there is no reason.
    """

    status: Status
    reason: str
    culprit: str = NOBODY
    signature: str = ""
    difference: Difference | None = None
    clusters: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise InvalidArgument(f"a verdict needs a reason, got {self.reason!r}")
