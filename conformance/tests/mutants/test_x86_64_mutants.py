"""Seeded defects that only x86_64 shows: all found, blamed on the right one, and shrunk.

The patches in fixtures/mutants/kernel-x86_64 are to kernel/, those in reference-model-x86_64 to
backends/unicorn_model/. Slow: `tox -e mutants`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import suite_cases
from mutant_sources import model_with

from conformance.case.image import default_image
from conformance.judge.verdict import KERNEL

if TYPE_CHECKING:
    from collections.abc import Callable

    from mutant_hunt import Hunt
    from mutant_sources import Kernels

    from conformance.case.case import Case

MUTANTS = Path(__file__).resolve().parents[3] / "fixtures" / "mutants"
KERNELS = sorted((MUTANTS / "kernel-x86_64").glob("*.patch"))
MODELS = sorted((MUTANTS / "reference-model-x86_64").glob("*.patch"))
ARCHITECTURE = "x86_64"
SEED = 7
CASES = 60
"""Of each strategy, at most."""

pytestmark = pytest.mark.mutants


@pytest.fixture(scope="module")
def all_cases() -> list[Case]:
    """Generated and directed ones, in turn: the suites' authors have thought of what is rare."""
    generated = suite_cases.generated_cases(CASES, SEED, ARCHITECTURE)
    return suite_cases.in_turn(generated, suite_cases.directed_cases(ARCHITECTURE))


@pytest.mark.parametrize("patch", KERNELS, ids=[patch.stem for patch in KERNELS])
def test_kernel_mutant_is_caught(
    patch: Path,
    kernels: Kernels,
    hunt: Callable[..., Hunt],
    all_cases: list[Case],
    tmp_path: Path,
) -> None:
    image = kernels.build(patch, tmp_path / "image", ARCHITECTURE)
    search = hunt(image)
    search.run(all_cases, image)
    search.assert_caught(KERNEL)


@pytest.mark.parametrize("patch", MODELS, ids=[patch.stem for patch in MODELS])
def test_reference_model_mutant_is_caught(
    patch: Path, hunt: Callable[..., Hunt], all_cases: list[Case], tmp_path: Path
) -> None:
    image = default_image(ARCHITECTURE)
    search = hunt(image, engines=("bochs", "unicorn"), model=model_with(patch, tmp_path))
    search.run(all_cases, image)
    search.assert_caught("unicorn")
