"""The harness: runs suites' cases, counts verdicts, and makes one finding of each cause."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from hypothesis.strategies import SearchStrategy

from backends.backend import InstanceConfig
from conformance.case.case import Case
from conformance.engine.causes import Check, assessed, causes_of, narrowed
from conformance.engine.explore import explore, shrink
from conformance.engine.finding import Finding
from conformance.engine.reduce import reduce_case
from conformance.engine.runner import Result, Runner
from conformance.engine.simplify import case_rank
from conformance.judge.known import KnownDivergence
from conformance.judge.verdict import Status, Verdict
from conformance.observe.observation import Outcome

__all__ = ["Harness", "Listener", "Skipped"]


class Listener(Protocol):
    """Is told what the harness does, while it does it."""

    def started(self, suite: str, what: str, cases: int) -> None:
        """So many cases of a suite are next."""

    def ran(self, suite: str) -> None:
        """One of them is done."""

    def found(self, finding: Finding) -> None:
        """A cause was seen for the first time, or its case has become smaller."""


class _Silent:
    def started(self, suite: str, what: str, cases: int) -> None: ...

    def ran(self, suite: str) -> None: ...

    def found(self, finding: Finding) -> None: ...


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that was not run, and why."""

    what: str
    reason: str


@dataclass
class Harness:
    """Everything one run of suites shares.

    Attributes:
        runner: runs the cases.
        instances: the backend instances it runs them on.
        seed: of all generation.
        cases: how many cases a generated test runs, unless it says otherwise.
        folder: where findings go; None to keep nothing.
        patience: seconds after which the shrinking of a finding is given up: where a case hangs,
            each attempt takes a backend's whole deadline.
        listener: is told about progress.
        verdicts: how many cases had which verdict.
        findings: by signature.
        skipped: what was not run.
        known_counts: how many cases showed each known divergence.
        stale: the known divergences that no longer show up, and the backends that lack them.
    """

    runner: Runner
    instances: tuple[InstanceConfig, ...]
    seed: int = 0
    cases: int = 100
    folder: Path | None = None
    patience: float = 120.0
    listener: Listener = field(default_factory=_Silent)
    verdicts: Counter[Status] = field(default_factory=Counter)
    findings: dict[str, Finding] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    known_counts: Counter[KnownDivergence] = field(default_factory=Counter)
    stale: dict[KnownDivergence, tuple[str, ...]] = field(default_factory=dict)
    _replayed: set[KnownDivergence] = field(default_factory=set)

    def check(self, case: Case, *, suite: str, what: str, check: Check | None = None) -> Result:
        """Run one case; what is wrong with it becomes a finding, reduced."""
        self.listener.started(suite, what, 1)

        def assess(result: Result) -> Result:
            return assessed(result, check, what)

        result = assess(self.runner.submit(case, counted=True).result())
        fresh = self._count(result, suite, assess)
        self.listener.ran(suite)
        for finding in filter(_can_shrink, fresh):
            self._reduce(finding, assess, self._clock())
        return result

    def explore(
        self,
        strategy: SearchStrategy[Case],
        *,
        suite: str,
        what: str,
        check: Check | None = None,
        cases: int | None = None,
    ) -> list[Finding]:
        """Run generated cases; each cause that is new becomes a finding, shrunk.

        Returns:
            all causes that were seen here, new or not.
        """
        count = self.cases if cases is None else cases
        self.listener.started(suite, what, count)
        known: dict[Case, tuple[str, ...]] = {}
        seen: dict[str, Finding] = {}
        fresh: list[Finding] = []

        def assess(result: Result) -> Result:
            return assessed(result, check, what)

        def on_result(raw: Result) -> None:
            result = assess(raw)
            known[result.case] = causes_of(result.verdict)
            self._count(result, suite, assess)
            for signature in causes_of(result.verdict):
                finding = seen[signature] = self.findings[signature]
                # Also one that was known from a file: what is generated shrinks further.
                if not finding.generated and not finding.flaky:
                    finding.generated = True
                    fresh.append(finding)
            self.listener.ran(suite)

        explore(self.runner, strategy, cases=count, seed=self.seed, on_result=on_result)
        for finding in filter(_can_shrink, fresh):
            self._shrink(finding, strategy, assess=assess, cases=count, known=known)
        return list(seen.values())

    def check_known(self, divergence: KnownDivergence, case: Case, *, suite: str) -> str:
        """Run the case of a known divergence, once in a run: does it still show up?

        Returns:
            a complaint; empty where every backend that should still shows it.
        """
        if divergence not in self._replayed:
            self._replayed.add(divergence)
            self.listener.started(suite, divergence.name, 1)
            result = self.runner.submit(case, counted=True).result()
            self._count(result, suite, lambda again: again)
            self.listener.ran(suite)
            shown = {each.backend for each in result.known if each.divergence == divergence}
            shown |= {
                each.backend for each in result.observations if each.outcome is Outcome.REFUSED
            }
            applicable = self.runner.known.applicable(divergence)
            missing = tuple(name for name in applicable if name not in shown)
            if missing:
                self.stale[divergence] = missing
        return self._stale_line(divergence) if divergence in self.stale else ""

    def stale_lines(self) -> list[str]:
        """The known divergences that no longer show up, a line each."""
        return [self._stale_line(divergence) for divergence in self.stale]

    def _stale_line(self, divergence: KnownDivergence) -> str:
        backends = ", ".join(self.stale[divergence])
        return f"known divergence no longer shows up: {divergence.signature} (on {backends})"

    def _count(
        self, result: Result, suite: str, assess: Callable[[Result], Result]
    ) -> list[Finding]:
        """Count a verdict; the findings that are new and have come back."""
        status = result.verdict.status
        self.known_counts.update({each.divergence for each in result.known})
        causes = causes_of(result.verdict)
        settled = [self.findings[each] for each in causes if self._is_settled(each)]
        for finding in settled:
            finding.instances += 1
        if len(settled) == len(causes):
            self.verdicts[status] += 1
            return []
        again = self._again(result.case, causes, assess)
        if self._unreliable(result.verdict):
            again = set()
        new = [each for each in causes if not self._is_settled(each)]
        came_back = settled or not again.isdisjoint(new)
        # Counted before it is told: an interrupted run says the same in both places.
        self.verdicts[status if came_back else Status.FLAKY] += 1
        fresh = []
        for signature in new:
            flaky = signature not in again
            finding = self._found(signature, suite, result, flaky=flaky)
            if not flaky:
                fresh.append(finding)
        return fresh

    def _again(
        self, case: Case, causes: tuple[str, ...], assess: Callable[[Result], Result]
    ) -> set[str]:
        """The causes that the case has in fresh processes."""
        again: set[str] = set()
        for _ in range(_tries(case)):
            again.update(causes_of(assess(self.runner.run(case, fresh=True)).verdict))
            if again.issuperset(causes):
                break
        return again

    def _is_settled(self, signature: str) -> bool:
        finding = self.findings.get(signature)
        return finding is not None and not finding.flaky

    def _found(self, signature: str, suite: str, result: Result, *, flaky: bool) -> Finding:
        """A cause that is new, or was flaky until now."""
        finding = self.findings.get(signature)
        if finding is None:
            finding = Finding(signature, suite, narrowed(result, signature), flaky=flaky)
            self.findings[signature] = finding
        else:
            finding.instances += 1
            if flaky:
                return finding
            # What was flaky until now is a cause after all, in this case.
            finding.result, finding.flaky = narrowed(result, signature), False
        self._save(finding)
        return finding

    def _unreliable(self, verdict: Verdict) -> bool:
        """A culprit does not promise to do the same again."""
        return not self.runner.unreliable.isdisjoint(verdict.culprit.split(", "))

    def _shrink(
        self,
        finding: Finding,
        strategy: SearchStrategy[Case],
        *,
        assess: Callable[[Result], Result],
        cases: int,
        known: dict[Case, tuple[str, ...]],
    ) -> None:
        in_time = self._clock()
        best: list[Result] = []

        def on_smaller(result: Result) -> None:
            best[:] = [narrowed(assess(result), finding.signature)]

        shrink(
            self.runner,
            strategy,
            finding.signature,
            causes=lambda result: causes_of(assess(result).verdict),
            cases=cases,
            seed=self.seed,
            known=known,
            on_smaller=on_smaller,
            in_time=in_time,
        )
        before, finding.result = finding.result, best[0] if best else finding.result
        # Hypothesis shrinks what was drawn, not what it means: an entry that the kernel never
        # reads may be left.
        self._reduce(finding, assess, in_time)
        if case_rank(before.case) < case_rank(finding.result.case):
            finding.result = before
            self._save(finding)

    def _reduce(
        self,
        finding: Finding,
        assess: Callable[[Result], Result],
        in_time: Callable[[], bool],
    ) -> None:
        def still_fails(case: Case) -> bool:
            if not in_time():
                return False
            for _ in range(_tries(case)):
                result = assess(self.runner.run(case))
                if finding.signature in causes_of(result.verdict):
                    finding.result = narrowed(result, finding.signature)
                    return True
            return False

        reduce_case(finding.result.case, still_fails)
        finding.shrunk = in_time()
        self._save(finding)

    def _clock(self) -> Callable[[], bool]:
        """Whether there is time left to shrink a finding that is begun now."""
        end = time.monotonic() + self.patience
        return lambda: time.monotonic() < end

    def _save(self, finding: Finding) -> None:
        if self.folder is not None:
            image = self.runner.image(finding.result.case)
            finding.save(
                self.folder / "divergences", image=image, instances=self.instances, seed=self.seed
            )
        self.listener.found(finding)


def _tries(case: Case) -> int:
    """How often a case is run to see a cause again: with a timer, it may need ticks at certain
    moments.
    """
    return 5 if case.program.schedule == "timer" else 1


def _can_shrink(finding: Finding) -> bool:
    """There is something to keep: where no engine took part, no case is smaller than another."""
    verdict = finding.result.verdict
    return verdict.difference is not None or verdict.status is Status.DIVERGE
