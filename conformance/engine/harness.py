"""The harness: runs suites' cases, counts verdicts, and makes one finding of each cause."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from hypothesis.strategies import SearchStrategy

from backends.backend import InstanceConfig
from conformance.case.case import Case
from conformance.engine.explore import explore, shrink
from conformance.engine.finding import Finding
from conformance.engine.reduce import reduce_case
from conformance.engine.runner import Result, Runner
from conformance.judge.verdict import UNKNOWN, Status, Verdict

__all__ = ["Check", "Harness", "Listener", "Skipped", "signature_of"]

Check = Callable[[Result], object]
"""A test's own demands on a result, beyond agreement; raises AssertionError."""


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

    def check(self, case: Case, *, suite: str, what: str, check: Check | None = None) -> Result:
        """Run one case; what is wrong with it becomes a finding, reduced."""
        self.listener.started(suite, what, 1)

        def assess(result: Result) -> Result:
            return _assessed(result, check, what)

        result = assess(self.runner.submit(case, counted=True).result())
        finding = self._count(result, suite, assess)
        self.listener.ran(suite)
        if finding is not None and _can_shrink(finding):
            end = time.monotonic() + self.patience
            self._reduce(finding, assess, lambda: time.monotonic() < end)
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
        known: dict[Case, str] = {}
        seen: dict[str, Finding] = {}
        fresh: list[Finding] = []

        def assess(result: Result) -> Result:
            return _assessed(result, check, what)

        def on_result(raw: Result) -> None:
            result = assess(raw)
            known[result.case] = signature_of(result.verdict)
            self._count(result, suite, assess)
            if not result.agrees:
                signature = signature_of(result.verdict)
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

    def _count(
        self, result: Result, suite: str, assess: Callable[[Result], Result]
    ) -> Finding | None:
        """Count a verdict; the finding, if it is a new one that has come back."""
        status = result.verdict.status
        if status is Status.AGREE:
            self.verdicts[status] += 1
            return None
        signature = signature_of(result.verdict)
        finding = self.findings.get(signature)
        if finding is not None and not finding.flaky:
            finding.instances += 1
            self.verdicts[status] += 1
            return None
        again = assess(self.runner.run(result.case, fresh=True))
        flaky = signature_of(again.verdict) != signature or self._unreliable(result.verdict)
        self.verdicts[Status.FLAKY if flaky else status] += 1
        if finding is None:
            finding = self.findings[signature] = Finding(signature, suite, result, flaky=flaky)
        else:
            finding.instances += 1
            if flaky:
                return None
            # What was flaky until now is a cause after all, in this case.
            finding.result, finding.flaky = result, False
        self._save(finding)
        return None if flaky else finding

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
        known: dict[Case, str],
    ) -> None:
        end = time.monotonic() + self.patience

        def in_time() -> bool:
            return time.monotonic() < end

        best: list[Result] = []

        def on_smaller(result: Result) -> None:
            best[:] = [assess(result)]

        shrink(
            self.runner,
            strategy,
            finding.signature,
            cause=lambda result: signature_of(assess(result).verdict),
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
        if _size(before.case) < _size(finding.result.case):
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
            result = assess(self.runner.run(case))
            if signature_of(result.verdict) != finding.signature:
                return False
            finding.result = result
            return True

        reduce_case(finding.result.case, still_fails)
        finding.shrunk = in_time()
        self._save(finding)

    def _save(self, finding: Finding) -> None:
        if self.folder is not None:
            image = self.runner.image(finding.result.case)
            finding.save(
                self.folder / "divergences", image=image, instances=self.instances, seed=self.seed
            )
        self.listener.found(finding)


def _can_shrink(finding: Finding) -> bool:
    """There is something to keep: where no engine took part, no case is smaller than another."""
    verdict = finding.result.verdict
    return verdict.difference is not None or verdict.status is Status.DIVERGE


def _size(case: Case) -> tuple[int, int, int]:
    """What makes a case small: regions, operations, and then the numbers in them."""
    regions = () if case.memory_map is None else case.memory_map.regions
    operations = case.program.operations
    numbers = sum(region.base + region.length for region in regions)
    numbers += sum(sum(operation.operands().values()) for operation in operations)
    return len(regions), len(operations), numbers


def _assessed(result: Result, check: Check | None, what: str) -> Result:
    """The result with a test's own demands taken into account."""
    if check is None or not result.agrees:
        return result
    try:
        check(result)
    except AssertionError as error:
        lines = str(error).strip().splitlines() or ["assertion failed"]
        verdict = Verdict(Status.DIVERGE, lines[0], culprit=UNKNOWN, signature=f"assertion: {what}")
        return replace(result, verdict=verdict)
    return result


def signature_of(verdict: Verdict) -> str:
    """What findings are told apart by; empty where all agree."""
    if verdict.status is Status.AGREE:
        return ""
    return verdict.signature or f"{verdict.status}: {verdict.reason}"
