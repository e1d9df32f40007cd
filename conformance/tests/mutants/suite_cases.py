"""The cases that seeded defects are hunted with: those of the suites `faults` and `guard-pages`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import hypothesis
from hypothesis.strategies import SearchStrategy

from conformance.case.case import Case
from conformance.case.image import ImageId
from conformance.case.strategies import fault_cases, guard_page_cases
from conformance.suites import test_faults, test_guard_pages

__all__ = ["directed_cases", "generate", "generated_cases", "written_in"]

_NO_IMAGE = ImageId("i686", "0" * 64)


def generated_cases(count: int, seed: int) -> list[Case]:
    """So many that each suite generates, in turn. They name no image."""
    strategies = (fault_cases(image=_NO_IMAGE), guard_page_cases(image=_NO_IMAGE))
    both = [generate(strategy, count, seed) for strategy in strategies]
    return list(itertools.chain.from_iterable(zip(*both, strict=True)))


def directed_cases() -> list[Case]:
    """Those that the suites' authors have written down. They name no image.

    In turn the smallest, which are about one thing, and the largest, which are about many.
    """
    cases = [*written_in(test_faults), *written_in(test_guard_pages)]
    rising = sorted(cases, key=lambda case: len(case.program.operations))
    middle = len(rising) // 2
    small, large = rising[:middle], rising[middle:]
    pairs = itertools.zip_longest(small, reversed(large))
    return [case for case in itertools.chain.from_iterable(pairs) if case is not None]


def generate(strategy: SearchStrategy[Case], count: int, seed: int) -> list[Case]:
    """So many of a strategy's cases."""
    found: list[Case] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        phases=[hypothesis.Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategy)
    def collect(case: Case) -> None:
        found.append(case)

    collect()
    return found


class _Collector:
    """Stands for the `differential_test` of a suite's tests, and runs nothing."""

    def __init__(self) -> None:
        self.cases: list[Case] = []

    def check(self, case: Case, *_: object) -> None:
        self.cases.append(case)

    def explore(self, strategy: SearchStrategy[Case]) -> None:
        """Generated ones are not wanted here."""


def written_in(suite: ModuleType) -> list[Case]:
    """The directed cases of a suite."""
    collector = _Collector()
    for name, test in vars(suite).items():
        if name.startswith("test_") and name != "test_known_divergence":
            for arguments in _parameters(test):
                test(differential_test=collector, image_id=_NO_IMAGE, **arguments)
    assert collector.cases, f"{suite.__name__} has no directed cases"
    return collector.cases


def _parameters(test: Any) -> Iterator[dict[str, Any]]:
    """What pytest would call a test with, for all its `parametrize`."""
    marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    choices = []
    for mark in marks:
        names, sets = mark.args
        one = isinstance(names, str) and "," not in names
        keys = [names] if one else list(names)
        choices.append([dict(zip(keys, _values(each, one=one), strict=True)) for each in sets])
    for chosen in itertools.product(*choices):
        yield {key: value for each in chosen for key, value in each.items()}


def _values(parameters: Any, *, one: bool) -> Sequence[Any]:
    # pytest.param keeps them in a tuple of its own kind.
    if hasattr(parameters, "values") and hasattr(parameters, "marks"):
        values: Sequence[Any] = parameters.values
        return values
    return (parameters,) if one else parameters
