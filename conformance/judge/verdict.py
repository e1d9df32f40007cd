"""Verdicts: what a case's observations mean."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from conformance.errors import InvalidArgument
from conformance.judge.compare import Difference
from conformance.oracle.expectation import Expectation

__all__ = ["KERNEL", "NOBODY", "UNKNOWN", "Departure", "Status", "Verdict"]

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
    KNOWN = "known"
    """Whatever differs is on the list of known divergences."""


@dataclass(frozen=True, slots=True)
class Departure:
    """Where backends that are alike leave what is expected of them, whoever is to blame.

    Attributes:
        backends: their names.
        cause: the signature's words after the culprit, if these backends are the culprits: the
            list of known divergences is searched for them.
    """

    backends: tuple[str, ...]
    cause: str

    def __str__(self) -> str:
        return f"{', '.join(self.backends)}: {self.cause}"


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
        expectation: what the difference was measured against; None without an oracle.
        choices: what the manual leaves open and the case depends on, a line each.
        departures: of all backends that differ from what is expected of them.

    Raises:
        InvalidArgument: there is no reason.
    """

    status: Status
    reason: str
    culprit: str = NOBODY
    signature: str = ""
    difference: Difference | None = None
    clusters: tuple[tuple[str, ...], ...] = ()
    expectation: Expectation | None = None
    choices: tuple[str, ...] = ()
    departures: tuple[Departure, ...] = ()

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise InvalidArgument(f"a verdict needs a reason, got {self.reason!r}")
