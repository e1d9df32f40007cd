"""Seeded defects of the kernel's scheduler: all found, blamed on it, and shrunk.

Each file in fixtures/mutants/scheduler is a patch to kernel/ that makes one mistake a kernel author
could make. Slow (each is built and run on all backends): `tox -e mutants`.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import suite_cases

from conformance.case.image import ImageId
from conformance.case.program import SCHEDULES, Body, Compute, Program, Spawn
from conformance.case.strategies import task_cases
from conformance.judge.verdict import KERNEL
from conformance.suites import test_scheduler

if TYPE_CHECKING:
    from collections.abc import Callable

    from mutant_hunt import Hunt
    from mutant_sources import Kernels

    from conformance.case.case import Case

PATCHES = sorted(
    (Path(__file__).resolve().parents[3] / "fixtures" / "mutants" / "scheduler").glob("*.patch")
)
NO_IMAGE = ImageId("i686", "0" * 64)
SEED = 7
CASES = 60
"""Of each schedule, at most."""
MANY = 1000
"""Of stacks and operations: most cases have few."""
LONG = 10_000
"""Iterations of a computation that is there for being long."""
DEADLINE = 10.0
PATIENCE = 300.0
"""Seconds for a reduction, in which a kernel that ticks no more hangs at almost every step."""
OPERATIONS = 8
"""Of a small case: two lists, of a task that does something and one that notices."""

pytestmark = pytest.mark.mutants


@pytest.fixture(scope="module")
def hunting_grounds() -> list[list[Case]]:
    """Lists of cases, each of one schedule: what is generated, and what is written down.

    The schedule `timer` comes last: what shows without it does not have to wait for ticks.
    """
    written = sorted(
        filter(_is_short, itertools.chain.from_iterable(suite_cases.written_in(test_scheduler))),
        key=lambda case: len(case.program.operations),
    )
    grounds = []
    for schedule in SCHEDULES:
        # Much is rare in what is generated; the suite's author has thought of it.
        generated = suite_cases.generate(task_cases(image=NO_IMAGE, schedule=schedule), CASES, SEED)
        both = [generated, [case for case in written if case.program.schedule == schedule]]
        # A kernel that ticks no more hangs in every case: the smallest first.
        grounds += reversed(both) if schedule == "timer" else both
    return grounds


def _is_short(case: Case) -> bool:
    """A case that a busy machine comes to the end of, on every engine, before its deadline."""
    program = case.program
    iterations = [each.iterations for each in program.operations if isinstance(each, Compute)]
    return (
        max(program.stacks, len(program.operations)) < MANY
        and max(iterations, default=0) < LONG
        and not _spawns_itself(program)
    )


def _spawns_itself(program: Program) -> bool:
    """There is a body whose tasks make more of their kind, until no number is left."""
    body = -1
    for operation in program.operations:
        if isinstance(operation, Body):
            body += 1
        elif isinstance(operation, Spawn) and operation.body == body:
            return True
    return False


@pytest.mark.parametrize("patch", PATCHES, ids=[patch.stem for patch in PATCHES])
def test_mutant_is_caught(
    patch: Path,
    kernels: Kernels,
    hunt: Callable[..., Hunt],
    hunting_grounds: list[list[Case]],
    tmp_path: Path,
) -> None:
    image = kernels.build(patch, tmp_path / "image")
    search = hunt(image, deadline=DEADLINE)
    search.patience = PATIENCE
    for cases in hunting_grounds:
        if not search.harness.findings:
            search.run(cases, image)
    search.assert_caught(KERNEL, operations=OPERATIONS)
