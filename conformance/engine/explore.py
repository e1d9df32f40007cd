"""Exploring: Hypothesis generates cases, all of them are run, and each cause is shrunk once."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis.strategies import SearchStrategy

from conformance.case.case import Case
from conformance.engine.runner import PendingResult, Result, Runner

__all__ = ["Causes", "explore", "shrink"]

Causes = Callable[[Result], tuple[str, ...]]
"""What is wrong with a result, as signatures; none where nothing is."""

# So many cases are handed out before the first has to be done: engines of different speed need not
# wait for each other at every case.
_AHEAD = 8


class _Reproduced(Exception):
    """Tells Hypothesis that a case has the cause that is being shrunk."""


def _settings(cases: int, *phases: Phase) -> hypothesis.settings:
    return hypothesis.settings(
        max_examples=cases,
        phases=phases,
        database=None,
        deadline=None,
        derandomize=False,
        report_multiple_bugs=False,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
        verbosity=hypothesis.Verbosity.quiet,
    )


def explore(
    runner: Runner,
    strategy: SearchStrategy[Case],
    *,
    cases: int,
    seed: int,
    on_result: Callable[[Result], None],
) -> None:
    """Generate cases and run them all, whatever they show.

    Args:
        cases: how many; fewer where the strategy has no more.
        seed: of the generation. The same seed gives the same cases.
        on_result: called for each, in the order of generation.
    """
    pending: deque[PendingResult] = deque()

    @hypothesis.seed(seed)
    @_settings(cases, Phase.generate)
    @hypothesis.given(strategy)
    def generate(case: Case) -> None:
        if len(pending) >= _AHEAD:
            on_result(pending.popleft().result())
        pending.append(runner.submit(case, counted=True))

    generate()
    while pending:
        on_result(pending.popleft().result())


def shrink(
    runner: Runner,
    strategy: SearchStrategy[Case],
    signature: str,
    *,
    causes: Causes,
    cases: int,
    seed: int,
    known: dict[Case, tuple[str, ...]],
    on_smaller: Callable[[Result], None],
    in_time: Callable[[], bool] = lambda: True,
) -> None:
    """Shrink the first generated case that has a signature.

    Hypothesis generates the same cases again, from the same seed; those that were run already are
    not run a second time.

    Args:
        causes: what is wrong with a result.
        cases, seed: as they were for `explore`.
        known: the causes of the cases that were run already; those run here are added.
        on_smaller: called for each case that has that signature; the last one is the smallest.
        in_time: false from when on nothing more is to be run.
    """

    @hypothesis.seed(seed)
    @_settings(cases, Phase.generate, Phase.shrink)
    @hypothesis.given(strategy)
    def reproduce(case: Case) -> None:
        if signature not in known.get(case, (signature,)) or not in_time():
            return
        result = runner.run(case)
        known[case] = causes(result)
        if signature in known[case]:
            on_smaller(result)
            raise _Reproduced

    with contextlib.suppress(_Reproduced, hypothesis.errors.Flaky):
        reproduce()
