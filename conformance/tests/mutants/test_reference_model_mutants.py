"""Seeded defects of the reference model: all found, blamed on it, and shrunk.

Each file in fixtures/mutants/reference-model is a patch to backends/unicorn_model/ that gets one
rule of the manual wrong; in fixtures/mutants/reference-model-x86_64, one that only x86_64 shows.
The kernel is the right one. Slow: `tox -e mutants`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mutant_sources import model_with
from suite_cases import in_turn

from conformance.case.image import default_image

if TYPE_CHECKING:
    from collections.abc import Callable

    from mutant_hunt import Hunt

    from conformance.case.case import Case
    from conformance.case.image import Image

MUTANTS = Path(__file__).resolve().parents[3] / "fixtures" / "mutants"
PATCHES = sorted((MUTANTS / "reference-model").glob("*.patch"))
LONG_PATCHES = sorted((MUTANTS / "reference-model-x86_64").glob("*.patch"))

# Some of these mistakes are QEMU's as well: the blame would be, rightly, on both.
ENGINES = ("bochs", "unicorn")

_BROKEN = ("exit status", "UC_ERR_EXCEPTION")
"""Signs of an exception in the worker: it ends, or Unicorn does not get on in one of its hooks."""

pytestmark = pytest.mark.mutants


@pytest.mark.parametrize("patch", PATCHES, ids=[patch.stem for patch in PATCHES])
def test_mutant_is_caught(
    patch: Path,
    image: Image,
    hunt: Callable[..., Hunt],
    generated_cases: list[Case],
    directed_cases: list[Case],
    tmp_path: Path,
) -> None:
    search = hunt(image, engines=ENGINES, model=model_with(patch, tmp_path))
    # What is rare in generated cases, the suites' authors have thought of.
    search.run(in_turn(generated_cases, directed_cases), image)
    _assert_caught(search)


@pytest.mark.parametrize("patch", LONG_PATCHES, ids=[patch.stem for patch in LONG_PATCHES])
def test_mutant_of_64_bit_mode_is_caught(
    patch: Path, hunt: Callable[..., Hunt], long_cases: list[Case], tmp_path: Path
) -> None:
    image = default_image("x86_64")
    search = hunt(image, engines=ENGINES, model=model_with(patch, tmp_path))
    search.run(long_cases, image)
    _assert_caught(search)


def _assert_caught(search: Hunt) -> None:
    search.assert_caught("unicorn")
    for finding in search.harness.findings.values():
        (seen,) = (each for each in finding.result.observations if each.backend == "unicorn")
        # A patch that only breaks the program would be caught, too, and show nothing.
        assert not any(sign in seen.detail for sign in _BROKEN), seen.detail
