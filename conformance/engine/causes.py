"""Causes: what findings are told apart by, of a verdict's or of a test's own making."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from conformance.engine.runner import Result
from conformance.judge.verdict import UNKNOWN, Status, Verdict

__all__ = ["Check", "assessed", "causes_of", "narrowed"]

Check = Callable[[Result], object]
"""A test's own demands on a result, beyond agreement; raises AssertionError."""


def assessed(result: Result, check: Check | None, what: str) -> Result:
    """The result with a test's own demands taken into account."""
    if check is None or not result.agrees:
        return result
    try:
        check(result)
    except AssertionError as error:
        lines = str(error).strip().splitlines() or ["assertion failed"]
        verdict = Verdict(
            Status.DIVERGE,
            lines[0],
            culprit=UNKNOWN,
            signature=f"assertion: {what}",
            expectation=result.expectation,
        )
        return replace(result, verdict=verdict)
    return result


def causes_of(verdict: Verdict) -> tuple[str, ...]:
    """What findings are told apart by: the signature, or where several backends are to blame, that
    of each; none where all agree, but for what is known.
    """
    if verdict.status in (Status.AGREE, Status.KNOWN):
        return ()
    if verdict.status is Status.DIVERGE and len(verdict.departures) > 1:
        causes = tuple(str(departure) for departure in verdict.departures)
        if verdict.signature == "; ".join(causes):
            return tuple(dict.fromkeys(causes))
    return (verdict.signature or f"{verdict.status}: {verdict.reason}",)


def narrowed(result: Result, signature: str) -> Result:
    """The result, as far as it concerns one of its causes."""
    for departure in result.verdict.departures:
        if str(departure) == signature != result.verdict.signature:
            verdict = replace(
                result.verdict, signature=signature, culprit=", ".join(departure.backends)
            )
            return replace(result, verdict=verdict)
    return result
