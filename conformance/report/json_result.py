"""The JSON result of a run: `conformance run --json FILE`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from conformance.case.codec import dump_case
from conformance.case.image import Image
from conformance.engine.finding import Finding
from conformance.engine.harness import Harness
from conformance.engine.setup import Probed
from conformance.judge.known import KnownDivergence
from conformance.judge.verdict import Status
from conformance.report.difference import as_json

__all__ = ["dump_result"]


def dump_result(harness: Harness, usable: Sequence[Probed], images: Sequence[Image]) -> str:
    """The result of a run, as JSON text."""
    statistics = harness.runner.statistics
    form = {
        "images": {image.name: {"sha256": image.id.sha256} for image in images},
        "seed": harness.seed,
        "backends": {
            each.instance.name: {
                "kind": each.instance.kind,
                "version": each.availability.version,
                "cases": statistics[each.instance.name].counted,
                "runs": statistics[each.instance.name].runs,
                "seconds": round(statistics[each.instance.name].seconds, 3),
                "traces_sha256": statistics[each.instance.name].traces.hexdigest(),
            }
            for each in usable
        },
        "verdicts": {str(status): harness.verdicts[status] for status in Status},
        "divergences": [_divergence(finding) for finding in harness.findings.values()],
        "known": [_known(known, count) for known, count in harness.known_counts.items()],
        "stale": harness.stale_lines(),
        "skipped": [{"what": each.what, "reason": each.reason} for each in harness.skipped],
    }
    return json.dumps(form, indent=2) + "\n"


def _divergence(finding: Finding) -> dict[str, Any]:
    result = finding.result
    verdict = result.verdict
    return {
        "signature": finding.signature,
        "status": "flaky" if finding.flaky else str(verdict.status),
        "culprit": verdict.culprit,
        "reason": verdict.reason,
        "permitted": list(verdict.choices),
        "suite": finding.suite,
        "backends": [observation.backend for observation in result.observations],
        "instances": finding.instances,
        "shrunk": finding.shrunk,
        "file": None if finding.path is None else str(finding.path),
        "case": json.loads(dump_case(result.case)),
        "first_difference": as_json(verdict, result.observations, result.symbols),
    }


def _known(known: KnownDivergence, count: int) -> dict[str, Any]:
    return {
        "signature": known.signature,
        "count": count,
        "sentence": known.sentence,
        "section": known.section,
        "link": known.link,
    }
