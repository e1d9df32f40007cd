"""Seeded defects: the harness has to find every one, blame the kernel, and shrink the case.

Each file in fixtures/mutants/kernel-frames is a patch to kernel/ that makes one mistake a kernel
author could make. Slow (each is built and run on all backends): `tox -e mutants`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conformance.case.case import Case
from conformance.case.fixtures import load_fixture, map_names
from conformance.case.strategies import cases
from conformance.config import Config
from conformance.engine.setup import build_harness
from conformance.judge.verdict import KERNEL, Status

if TYPE_CHECKING:
    from mutant_sources import Kernels

PATCHES = sorted(
    (Path(__file__).resolve().parents[3] / "fixtures" / "mutants" / "kernel-frames").glob("*.patch")
)
SEED = 7
CASES = 200

pytestmark = pytest.mark.mutants


@pytest.mark.parametrize("patch", PATCHES, ids=[patch.stem for patch in PATCHES])
def test_mutant_is_caught(patch: Path, kernels: Kernels, tmp_path: Path) -> None:
    image = kernels.build(patch, tmp_path / "image")
    harness, _ = build_harness(Config(), images=[image], seed=SEED, cases=CASES)
    with harness.runner:
        harness.explore(cases(image=image.id), suite="frames", what=patch.stem)
        if not harness.findings:
            # Rare under generated maps; there are hand-made ones for that.
            for name in map_names():
                case = Case(image.id, memory_map=load_fixture(name).memory_map)
                harness.check(case, suite="frames", what=patch.stem)
    findings = list(harness.findings.values())
    assert findings, f"{CASES} cases and all fixtures agree on a kernel with a defect"
    assert {finding.result.verdict.culprit for finding in findings} == {KERNEL}
    assert harness.verdicts[Status.FLAKY] == harness.verdicts[Status.INCONCLUSIVE] == 0
    for finding in findings:
        case = finding.result.case
        regions = case.memory_map.regions if case.memory_map is not None else ()
        size = f"{len(regions)} regions, {len(case.program.operations)} operations"
        print(f"{finding.signature}: {finding.instances} cases; smallest: {size}")
        assert finding.shrunk
        assert len(regions) <= 3
        assert len(case.program.operations) <= 3
