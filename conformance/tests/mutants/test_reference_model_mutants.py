"""Seeded defects of the reference model: all found, blamed on it, and shrunk.

Each file in fixtures/mutants/reference-model is a patch to backends/unicorn_model/ that gets one
rule of the manual wrong. The kernel is the right one. Slow: `tox -e mutants`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mutant_sources import model_with

if TYPE_CHECKING:
    from collections.abc import Callable

    from mutant_hunt import Hunt

    from conformance.case.case import Case
    from conformance.case.image import Image

PATCHES = sorted(
    (Path(__file__).resolve().parents[3] / "fixtures" / "mutants" / "reference-model").glob(
        "*.patch"
    )
)

# Some of these mistakes are QEMU's as well: the blame would be, rightly, on both.
ENGINES = ("bochs", "unicorn")

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
    search.run(generated_cases, image)
    if not search.harness.findings:
        # Rare in what is generated; the suites' authors have thought of it.
        search.run(directed_cases, image)
    search.assert_caught("unicorn")
