"""Findings and runs as plain text."""

from __future__ import annotations

from conformance.case.program import SCHEDULES
from conformance.case.wire import one_line
from conformance.engine.finding import Finding
from conformance.engine.harness import Harness
from conformance.judge.verdict import Status
from conformance.report.difference import show

__all__ = ["describe", "describe_case", "known_lines", "summary"]

_REGIONS_SHOWN = 8
_OPERATIONS_SHOWN = 12


def describe(finding: Finding) -> str:
    """A finding: what, who, the smallest case, the first difference, where the file is."""
    result = finding.result
    verdict = result.verdict
    instances = "1 case" if finding.instances == 1 else f"{finding.instances} cases"
    status = "flaky" if finding.flaky else verdict.status
    lines = [
        f"{status}: {one_line(finding.signature)}",
        f"  culprit   {one_line(verdict.culprit)}",
        f"  why       {one_line(verdict.reason)}",
        f"  seen in   {instances} of suite {one_line(finding.suite)}",
    ]
    for recognised in result.known:
        known = recognised.divergence
        lines.append(f"  known     {one_line(f'{recognised.backend}: {known.sentence}')}")
        lines.append(
            f"            {one_line(', '.join(filter(None, (known.section, known.link))))}"
        )
    lines += [f"  permitted {one_line(choice)}" for choice in verdict.choices]
    lines += describe_case(finding)
    if verdict.difference is not None:
        lines += ["", show(verdict, result.observations, result.symbols)]
    if finding.path is not None:
        lines += ["", f"  replay    conformance replay {one_line(str(finding.path))}"]
    return "\n".join(lines)


def describe_case(finding: Finding) -> list[str]:
    """The finding's case in a few lines."""
    case = finding.result.case
    size = "smallest case" if finding.shrunk else "case (not shrunk)"
    lines = [f"  {size}:"]
    if case.memory_map is None:
        lines.append("    no memory map")
    else:
        regions = case.memory_map.regions
        lines += [f"    region {region}" for region in regions[:_REGIONS_SHOWN]]
        if len(regions) > _REGIONS_SHOWN:
            lines.append(f"    … {len(regions) - _REGIONS_SHOWN} more regions")
        if not regions:
            lines.append("    an empty memory map")
    program = case.program
    if program.schedule != SCHEDULES[0]:
        lines.append(f"    schedule {program.schedule}, quantum {program.quantum}")
    if program.priorities:
        lines.append("    tasks run by priority")
    operations = program.operations
    lines += [
        f"    {number}: {operation}"
        for number, operation in enumerate(operations[:_OPERATIONS_SHOWN])
    ]
    if len(operations) > _OPERATIONS_SHOWN:
        lines.append(f"    … {len(operations) - _OPERATIONS_SHOWN} more operations")
    return lines


def summary(harness: Harness) -> list[str]:
    """What a run did, a line each."""
    counts = ", ".join(
        f"{harness.verdicts[status]} {status}" for status in Status if harness.verdicts[status]
    )
    lines = [f"seed {harness.seed}: {counts or 'nothing was run'}"]
    for name, statistics in harness.runner.statistics.items():
        lines.append(f"{name}: {statistics.counted} cases, {statistics.seconds:.1f} s")
    lines += [one_line(f"skipped {each.what}: {each.reason}") for each in harness.skipped]
    return lines + known_lines(harness)


def known_lines(harness: Harness) -> list[str]:
    """The known divergences that were seen, and those that were not where they should have been."""
    lines = [
        one_line(f"known {count} x {known.name}: {known.sentence}")
        for known, count in harness.known_counts.items()
    ]
    return lines + [one_line(stale) for stale in harness.stale_lines()]
