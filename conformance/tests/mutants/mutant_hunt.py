"""The hunt for a seeded defect: cases are run until one shows it, and that one is reduced."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from conformance.case.case import Case
from conformance.case.image import Image
from conformance.engine.finding import Finding
from conformance.engine.harness import Harness
from conformance.judge.verdict import Status

__all__ = ["Hunt"]

_AFTERWARDS = 10
"""Cases that are run after the first finding: whatever they show, it has the same culprit."""
_PATIENCE = 30.0
"""Seconds for the reduction: a kernel with a defect may hang in every step of it."""


@dataclass
class Hunt:
    """Cases for a defect, until the first that shows it.

    Attributes:
        harness: has the finding afterwards.
        cases: how many were run until then.
        patience: seconds for the reduction.
    """

    harness: Harness
    cases: int = 0
    patience: float = _PATIENCE

    def run(self, cases: Sequence[Case], image: Image) -> None:
        """Run cases until there is a finding, which is reduced, and then a few more."""
        harness = self.harness
        harness.patience = self.patience
        rest = iter(replace(case, image=image.id) for case in cases)
        for case in rest:
            self.cases += 1
            harness.check(case, suite="mutants", what=image.name)
            if harness.findings:
                break
        else:
            return
        harness.patience = 0.0
        for case in itertools.islice(rest, _AFTERWARDS):
            harness.check(case, suite="mutants", what=image.name)

    def assert_caught(self, culprit: str, operations: int = 4, *, every: bool = True) -> None:
        """There is a finding, small; every one has this culprit, and nothing else was seen.

        Args:
            culprit: as in a verdict.
            operations: of a small case, at most.
            every: otherwise only the first finding has to have the culprit.
        """
        findings = list(self.harness.findings.values())
        assert findings, f"{self.cases} cases agree in spite of the defect"
        first = findings[0]
        print(f"\ncaught after {self.cases} cases: {_described(first)}")
        for finding in findings if every else [first]:
            verdict = finding.result.verdict
            assert verdict.culprit == culprit, f"{_described(finding)}: {verdict.reason}"
        verdicts = self.harness.verdicts
        assert verdicts[Status.FLAKY] == verdicts[Status.INCONCLUSIVE] == 0
        assert first.shrunk
        case = first.result.case
        assert case.memory_map is None or len(case.memory_map.regions) <= 2
        assert len(case.program.operations) <= operations


def _described(finding: Finding) -> str:
    case = finding.result.case
    program = "; ".join(map(str, case.program.operations))
    return f"{finding.signature} [{case.machine.paging} {case.machine.cpu_profile}: {program}]"
