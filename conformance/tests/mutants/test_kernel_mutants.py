"""Seeded defects of the kernel's paging, faults and stacks: all found, blamed on it, and shrunk.

Each file in fixtures/mutants/kernel is a patch to kernel/ that makes one mistake a kernel author
could make; in fixtures/mutants/kernel-x86_64, one that only x86_64 shows. Slow (each is built and
run on all backends): `tox -e mutants`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conformance.case.stack_operations import Overflow
from conformance.judge.verdict import KERNEL

if TYPE_CHECKING:
    from collections.abc import Callable

    from mutant_hunt import Hunt
    from mutant_sources import Kernels

    from conformance.case.case import Case

MUTANTS = Path(__file__).resolve().parents[3] / "fixtures" / "mutants"
PATCHES = sorted((MUTANTS / "kernel").glob("*.patch"))
LONG_PATCHES = sorted((MUTANTS / "kernel-x86_64").glob("*.patch"))

_RUNS_WILD = {"stacks-reached-through-the-window"}
"""Where nothing ends an overflow, a kernel overwrites itself; what comes then, each engine does in
its own way. These are hunted with overflows that come to an end by themselves."""

_UP_TO_THE_ENGINE = {"guard-page-not-invalidated"}
"""Here the kernel leaves a translation behind of which the oracle knows nothing. Whether it is
still there when it would be used is each engine's own affair: one that has dropped it looks right,
and the others to blame."""

_ENDLESS = ("push", "call", "recursion")

pytestmark = pytest.mark.mutants


@pytest.mark.parametrize("patch", PATCHES, ids=[patch.stem for patch in PATCHES])
def test_mutant_is_caught(
    patch: Path,
    kernels: Kernels,
    hunt: Callable[..., Hunt],
    generated_cases: list[Case],
    directed_cases: list[Case],
    tmp_path: Path,
) -> None:
    image = kernels.build(patch, tmp_path / "image")
    if patch.stem in _RUNS_WILD:
        generated_cases = [case for case in generated_cases if _comes_to_an_end(case)]
    search = hunt(image)
    search.run(generated_cases, image)
    if not search.harness.findings:
        # Rare in what is generated; the suites' authors have thought of it.
        search.run(directed_cases, image)
    # A large page takes one more with 32-bit paging: CR4.PSE comes first.
    search.assert_caught(KERNEL, operations=5, every=patch.stem not in _UP_TO_THE_ENGINE)


@pytest.mark.parametrize("patch", LONG_PATCHES, ids=[patch.stem for patch in LONG_PATCHES])
def test_mutant_of_x86_64_is_caught(
    patch: Path,
    kernels: Kernels,
    hunt: Callable[..., Hunt],
    long_cases: list[Case],
    tmp_path: Path,
) -> None:
    image = kernels.build(patch, tmp_path / "image", "x86_64")
    search = hunt(image)
    search.run(long_cases, image)
    search.assert_caught(KERNEL)


def _comes_to_an_end(case: Case) -> bool:
    overflows = (each for each in case.program.operations if isinstance(each, Overflow))
    return all(each.how not in _ENDLESS for each in overflows)
