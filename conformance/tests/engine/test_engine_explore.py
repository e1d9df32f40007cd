"""Exploring and shrinking: how many cases, which, and how small the last one is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from broken_backend import BrokenBackend, flip
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from backends.backend import Backend
from conformance.case.case import Case
from conformance.case.image import Image
from conformance.case.program import Count
from conformance.case.strategies import cases
from conformance.engine.causes import causes_of
from conformance.engine.explore import explore, shrink
from conformance.engine.runner import Result, Runner

MakeRunner = Callable[..., Runner]


@dataclass
class Exploration:
    """What an exploration ran."""

    cases: list[Case] = field(default_factory=list)
    causes: dict[Case, tuple[str, ...]] = field(default_factory=dict)

    def note(self, result: Result) -> None:
        self.cases.append(result.case)
        self.causes[result.case] = causes_of(result.verdict)


def exploration(
    runner: Runner, strategy: SearchStrategy[Case], *, count: int, seed: int
) -> Exploration:
    done = Exploration()
    explore(runner, strategy, cases=count, seed=seed, on_result=done.note)
    return done


@pytest.fixture(scope="module")
def strategy(image: Image) -> SearchStrategy[Case]:
    return cases(image=image.id)


@pytest.mark.parametrize("count", [1, 7, 23])
def test_exactly_so_many_cases_are_run_and_counted(
    count: int, make_runner: MakeRunner, unicorn: Backend, strategy: SearchStrategy[Case]
) -> None:
    runner = make_runner(unicorn)
    assert len(exploration(runner, strategy, count=count, seed=1).cases) == count
    assert runner.statistics["unicorn"].counted == runner.statistics["unicorn"].runs == count


def test_the_same_seed_gives_the_same_cases_and_traces(
    make_runner: MakeRunner, unicorn: Backend, strategy: SearchStrategy[Case]
) -> None:
    def run(seed: int) -> tuple[list[Case], str]:
        runner = make_runner(unicorn)
        done = exploration(runner, strategy, count=15, seed=seed)
        return done.cases, runner.statistics["unicorn"].traces.hexdigest()

    first, again, other = run(7), run(7), run(8)
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]


def test_results_come_in_the_order_of_generation(
    make_runner: MakeRunner, unicorn: Backend, image: Image
) -> None:
    drawn: list[Case] = []

    def note(case: Case) -> Case:
        drawn.append(case)
        return case

    strategy = cases(image=image.id).map(note)
    assert exploration(make_runner(unicorn), strategy, count=20, seed=3).cases == drawn


def test_a_strategy_that_has_no_more_ends_the_exploration(
    make_runner: MakeRunner, unicorn: Backend, small_case: Case
) -> None:
    done = exploration(make_runner(unicorn), st.just(small_case), count=50, seed=1)
    assert done.cases == [small_case]


def shrunk(runner: Runner, strategy: SearchStrategy[Case], *, in_time: bool = True) -> list[Result]:
    """The ever smaller cases of the first cause that an exploration finds."""
    done = exploration(runner, strategy, count=25, seed=5)
    ((signature,),) = set(done.causes.values()) - {()}
    results: list[Result] = []
    shrink(
        runner,
        strategy,
        signature,
        causes=lambda result: causes_of(result.verdict),
        cases=25,
        seed=5,
        known=done.causes,
        on_smaller=results.append,
        in_time=lambda: in_time,
    )
    assert all(causes_of(each.verdict) == (signature,) for each in results)
    return results


@pytest.fixture
def miscounting(make_runner: MakeRunner, unicorn: Backend) -> Runner:
    """A runner on a backend that counts too many frames: there are 2^20 at the most."""
    return make_runner(BrokenBackend(unicorn, flip("counted", "free_frames", bit=20)))


def test_the_smallest_case_is_found(miscounting: Runner, strategy: SearchStrategy[Case]) -> None:
    smallest = shrunk(miscounting, strategy)[-1].case
    assert smallest.program.operations == (Count(),)
    assert smallest.memory_map is not None  # or the kernel would not come that far
    assert len(smallest.memory_map.regions) == 1


def test_what_is_known_is_not_run_again(
    miscounting: Runner, strategy: SearchStrategy[Case]
) -> None:
    done = exploration(miscounting, strategy, count=25, seed=5)
    ((signature,),) = set(done.causes.values()) - {()}
    innocent = {case for case, cause in done.causes.items() if not cause}
    ran: list[Case] = []

    def causes(result: Result) -> tuple[str, ...]:
        ran.append(result.case)
        return causes_of(result.verdict)

    shrink(
        miscounting,
        strategy,
        signature,
        causes=causes,
        cases=25,
        seed=5,
        known=done.causes,
        on_smaller=lambda result: None,
    )
    assert innocent
    assert innocent.isdisjoint(ran)
    assert set(ran) <= set(done.causes)


def test_nothing_is_run_when_the_time_is_over(
    miscounting: Runner, strategy: SearchStrategy[Case]
) -> None:
    runs = miscounting.statistics["unicorn"]
    assert shrunk(miscounting, strategy, in_time=False) == []
    assert runs.runs == runs.counted
