"""The cases that seeded defects are hunted with: those of the suites `faults` and `guard-pages`."""

from __future__ import annotations

import heapq
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import hypothesis
from hypothesis.strategies import SearchStrategy

from conformance.case.case import Case
from conformance.case.image import IMAGES, ImageId
from conformance.case.machine import Machine
from conformance.case.strategies import fault_cases, guard_page_cases
from conformance.suites import test_faults, test_guard_pages
from conformance.suites.directed import machine_in

__all__ = ["directed_cases", "generate", "generated_cases", "in_turn", "written_in"]

_NO_IMAGES = {name: ImageId(name, "0" * 64, name) for name in IMAGES}

_CASE = 10
"""A case takes the time of so many operations and of its own."""

_WORD = re.compile(r"\w+")


def generated_cases(count: int, seed: int, architecture: str = IMAGES[0]) -> list[Case]:
    """So many that each suite generates, in turn, without repetitions. They name no image."""
    image = _NO_IMAGES[architecture]
    strategies = (fault_cases(image=image), guard_page_cases(image=image))
    return list(
        dict.fromkeys(in_turn(*(generate(strategy, count, seed) for strategy in strategies)))
    )


def directed_cases(architecture: str = IMAGES[0]) -> list[Case]:
    """Those that the suites' authors have written down. They name no image.

    The cases of one test are much alike. So next is always one of the test that has had the fewest
    operations: of the small ones, there can be more.
    """
    suites = (test_faults, test_guard_pages)
    tests = [iter(cases) for suite in suites for cases in written_in(suite, architecture)]
    queue = [(0, index) for index in range(len(tests))]
    found = []
    while queue:
        operations, index = heapq.heappop(queue)
        case = next(tests[index], None)
        if case is not None:
            found.append(case)
            work = operations + _CASE + len(case.program.operations)
            heapq.heappush(queue, (work, index))
    return found


def in_turn(*sequences: Sequence[Case]) -> list[Case]:
    """The first of each, the second of each, …: the longest has the end for itself."""
    rounds = itertools.zip_longest(*sequences)
    return [each for each in itertools.chain.from_iterable(rounds) if each is not None]


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


def written_in(suite: ModuleType, architecture: str = IMAGES[0]) -> list[list[Case]]:
    """The directed cases for an architecture of each of a suite's tests that has some."""
    image, found = _NO_IMAGES[architecture], []
    for name, test in vars(suite).items():
        if name.startswith("test_") and name != "test_known_divergence":
            collector = _Collector()
            for arguments in _parameters(test):
                machine = machine_in(arguments) or Machine()
                if machine.architecture == architecture:
                    test(differential_test=collector, image_id=image, **arguments)
            found.append(collector.cases)
    assert any(found), f"{suite.__name__} has no directed cases"
    return found


def _parameters(test: Any) -> Iterator[dict[str, Any]]:
    """What pytest would call a test with, for all its `parametrize`: soon every value of each."""
    marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    choices = []
    for mark in marks:
        names, sets = mark.args
        one = isinstance(names, str) and "," not in names
        keys = [names] if one else list(names)
        choices.append([dict(zip(keys, _values(each, one=one), strict=True)) for each in sets])
    return _spread(
        [
            {key: value for each in chosen for key, value in each.items()}
            for chosen in itertools.product(*choices)
        ]
    )


def _spread(parameters: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The same in another order: next is always one with a value that has come least often.

    Values are told apart by their words: that is, of a machine, by its processor, mode and so on.
    """
    left = [
        ({(key, word) for key, value in each.items() for word in _WORD.findall(str(value))}, each)
        for each in parameters
    ]
    seen: Counter[tuple[str, str]] = Counter()
    while left:
        rarest = min(left, key=lambda pair: sorted(map(seen.__getitem__, pair[0])))
        left.remove(rarest)
        seen.update(rarest[0])
        yield rarest[1]


def _values(parameters: Any, *, one: bool) -> Sequence[Any]:
    # pytest.param keeps them in a tuple of its own kind.
    if hasattr(parameters, "values") and hasattr(parameters, "marks"):
        values: Sequence[Any] = parameters.values
        return values
    return (parameters,) if one else parameters
