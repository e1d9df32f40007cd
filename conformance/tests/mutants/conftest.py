"""What the tests of seeded defects share: kernels and models with one, and what finds it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from backends.backend import BUILT_IN, InstanceConfig
from conformance.case.case import Case
from conformance.case.image import Image
from conformance.config import Config
from conformance.engine.setup import build_harness

# For the modules beside this one.
sys.path.insert(0, str(Path(__file__).parent))

import suite_cases
from mutant_hunt import Hunt
from mutant_sources import Kernels

_SEED = 7
_CASES = 60
"""Of each of the strategies, at most."""
_DEADLINE = 4.0
"""Seconds: a kernel with a defect may hang, and then does so in every step of the reduction."""


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    """Builds kernels with defects."""
    return Kernels(tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def hunt() -> Iterator[Callable[..., Hunt]]:
    """Starts a hunt, for as long as the test takes: with an image, on some engines or all.

    `model` is the `binary` of the reference model, where that is another one.
    """
    with contextlib.ExitStack() as stack:

        def start(
            image: Image,
            *,
            engines: Sequence[str] = BUILT_IN,
            model: str = "",
            deadline: float = _DEADLINE,
        ) -> Hunt:
            binaries = {"unicorn": model}
            instances = tuple(
                InstanceConfig(kind, kind, binary=binaries.get(kind, ""), deadline=deadline)
                for kind in engines
            )
            harness, _ = build_harness(
                Config(instances), names=engines, images=[image], seed=_SEED, cases=_CASES
            )
            stack.enter_context(harness.runner)
            return Hunt(harness)

        yield start


@pytest.fixture(scope="session")
def generated_cases() -> list[Case]:
    """What the suites generate."""
    return suite_cases.generated_cases(_CASES, _SEED)


@pytest.fixture(scope="session")
def long_cases() -> list[Case]:
    """Both, of x86_64."""
    return suite_cases.in_turn(
        suite_cases.generated_cases(_CASES, _SEED, "x86_64"), suite_cases.directed_cases("x86_64")
    )


@pytest.fixture(scope="session")
def directed_cases() -> list[Case]:
    """What is written down in the suites."""
    return suite_cases.directed_cases()
