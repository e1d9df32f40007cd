"""Values of strategies, always the same ones: some, one with a certain feature, the smallest."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis.errors import NoSuchExample
from hypothesis.strategies import SearchStrategy

__all__ = ["drawn", "reach", "reached"]


def drawn(strategy: SearchStrategy[Any], count: int) -> list[Any]:
    """So many values."""
    values: list[Any] = []

    @_options(count, Phase.generate)
    @given(strategy)
    def collect(value: Any) -> None:
        values.append(value)

    collect()
    return values


def reach(
    strategy: SearchStrategy[Any],
    condition: Callable[[Any], Any],
    *,
    shrink: bool,
    most: int = 2000,
) -> Any:
    """One of the first values that fulfils a condition; the smallest one, if it is to shrink."""
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    options = _options(most, *phases)
    return find(strategy, lambda value: bool(condition(value)), settings=options)


def reached(
    strategy: SearchStrategy[Any], features: dict[str, Callable[[Any], Any]], *, most: int = 2000
) -> set[str]:
    """The features among the first values, or fewer once all of them were seen."""
    seen: set[str] = set()

    def complete(value: Any) -> bool:
        seen.update(
            name for name, condition in features.items() if name not in seen and condition(value)
        )
        return len(seen) == len(features)

    with suppress(NoSuchExample):
        reach(strategy, complete, shrink=False, most=most)
    return seen


def _options(most: int, *phases: Phase) -> settings:
    return settings(
        max_examples=most,
        database=None,
        derandomize=True,
        phases=phases,
        suppress_health_check=[HealthCheck.too_slow],
    )
