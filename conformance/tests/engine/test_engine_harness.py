"""The harness: one finding for each cause, on disk before it is shrunk, and what is flaky."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from broken_backend import BrokenBackend, Change, flip, flip_state, once
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from backends.backend import Backend
from conformance.case.case import Case
from conformance.case.image import Image
from conformance.case.program import Allocate, Count, Dump, Program
from conformance.case.strategies import cases
from conformance.engine.finding import Finding
from conformance.engine.harness import Harness
from conformance.engine.runner import Result, Runner
from conformance.judge.verdict import Status

MakeHarness = Callable[..., Harness]

# There are 2^20 frames at the most: always too many.
MISCOUNT = flip("counted", "free_frames", bit=20)
COUNT_SIGNATURE = "kernel or unicorn: counted.free_frames higher after count (legacy)"


@dataclass
class Recorder:
    """A listener that keeps what the finding's file said each time."""

    calls: list[tuple[str, str]] = field(default_factory=list)
    saved: list[dict[str, Any]] = field(default_factory=list)

    def started(self, suite: str, what: str, cases: int) -> None:
        self.calls.append(("started", f"{suite} {what} {cases}"))

    def ran(self, suite: str) -> None:
        self.calls.append(("ran", suite))

    def found(self, finding: Finding) -> None:
        self.calls.append(("found", finding.signature))
        if finding.path is not None:
            self.saved.append(json.loads(finding.path.read_text()))


@pytest.fixture
def make_harness(
    make_runner: Callable[..., Runner], unicorn: Backend, tmp_path: Path
) -> MakeHarness:
    """Harnesses on one backend that is broken in a certain way."""

    def make(change: Change | None = None, **options: Any) -> Harness:
        backend = unicorn if change is None else BrokenBackend(unicorn, change)
        options = {"seed": 5, "cases": 20, "folder": tmp_path, "listener": Recorder()} | options
        return Harness(make_runner(backend), (unicorn.config,), **options)

    return make


def recorder(harness: Harness) -> Recorder:
    assert isinstance(harness.listener, Recorder)
    return harness.listener


@pytest.fixture(scope="module")
def strategy(image: Image) -> SearchStrategy[Case]:
    return cases(image=image.id)


@pytest.fixture
def counting(small_case: Case) -> Case:
    return replace(small_case, program=Program((Allocate(), Count(), Dump())))


def explore(harness: Harness, strategy: SearchStrategy[Case], **options: Any) -> list[Finding]:
    return harness.explore(strategy, suite="frames", what="test_it", **options)


def test_agreement_is_counted_and_leaves_nothing_on_disk(
    make_harness: MakeHarness, strategy: SearchStrategy[Case], tmp_path: Path
) -> None:
    harness = make_harness(cases=12)
    assert explore(harness, strategy) == []
    assert harness.verdicts == {Status.AGREE: 12}
    assert harness.findings == {}
    assert list(tmp_path.iterdir()) == []
    assert recorder(harness).calls == [("started", "frames test_it 12"), *[("ran", "frames")] * 12]


@pytest.fixture(scope="module")
def explored(
    image: Image,
    unicorn: Backend,
    strategy: SearchStrategy[Case],
    tmp_path_factory: pytest.TempPathFactory,
) -> Harness:
    """What an exploration on a backend that miscounts has left."""
    with Runner([BrokenBackend(unicorn, MISCOUNT)], [image]) as runner:
        folder = tmp_path_factory.mktemp("explored")
        harness = Harness(runner, (unicorn.config,), 5, 20, folder, listener=Recorder())
        explore(harness, strategy)
    return harness


def test_a_million_instances_of_one_cause_are_one_finding(explored: Harness) -> None:
    (finding,) = explored.findings.values()
    assert finding.signature == COUNT_SIGNATURE
    assert finding.suite == "frames"
    assert finding.instances == explored.verdicts[Status.DIVERGE] > 1
    assert explored.verdicts.total() == 20
    assert explored.verdicts[Status.FLAKY] == explored.verdicts[Status.INCONCLUSIVE] == 0


def test_the_smallest_case_is_kept(explored: Harness) -> None:
    (finding,) = explored.findings.values()
    case = finding.result.case
    assert finding.shrunk
    assert case.program == Program((Count(),))
    assert case.memory_map is not None
    assert len(case.memory_map.regions) == 1
    assert case.state_regions == ()


def test_a_finding_is_on_disk_before_it_is_shrunk_and_after(explored: Harness) -> None:
    (finding,) = explored.findings.values()
    assert finding.path is not None
    first, *_, last = recorder(explored).saved
    assert (first["shrunk"], last["shrunk"]) == (False, True)
    assert len(first["case"]["program"]) > len(last["case"]["program"]) == 1
    assert list(finding.path.parent.iterdir()) == [finding.path]
    assert json.loads(finding.path.read_text()) == last


def test_the_same_seed_finds_and_shrinks_the_same(
    explored: Harness, make_harness: MakeHarness, strategy: SearchStrategy[Case]
) -> None:
    again = make_harness(MISCOUNT)
    (finding,) = explore(again, strategy)
    assert finding.result.case == explored.findings[COUNT_SIGNATURE].result.case
    assert again.verdicts == explored.verdicts
    runners = again.runner, explored.runner
    traces = {each.statistics["unicorn"].traces.hexdigest() for each in runners}
    assert len(traces) == 1


def test_two_causes_are_two_findings(
    make_harness: MakeHarness, strategy: SearchStrategy[Case], tmp_path: Path
) -> None:
    read = flip("map_end", "entries", bit=31)
    harness = make_harness(lambda seen: MISCOUNT(seen) if MISCOUNT(seen) != seen else read(seen))
    found = explore(harness, strategy)
    signatures = {finding.signature for finding in found}
    assert signatures == {COUNT_SIGNATURE, "kernel or unicorn: map_end.entries higher (legacy)"}
    assert len(list((tmp_path / "divergences").iterdir())) == 2
    assert sum(finding.instances for finding in found) == harness.verdicts[Status.DIVERGE]


def test_what_was_found_before_is_named_again(
    make_harness: MakeHarness, strategy: SearchStrategy[Case]
) -> None:
    harness = make_harness(MISCOUNT, patience=0.0)
    first, second = explore(harness, strategy), explore(harness, strategy)
    assert first == second
    assert list(harness.findings) == [COUNT_SIGNATURE]


def test_a_given_case_is_reduced(make_harness: MakeHarness, counting: Case) -> None:
    harness = make_harness(MISCOUNT)
    result = harness.check(counting, suite="frames", what="test_it")
    assert not result.agrees
    assert result.case == counting
    finding = harness.findings[COUNT_SIGNATURE]
    assert finding.shrunk
    assert finding.result.case.program == Program((Count(),))
    assert [entry["shrunk"] for entry in recorder(harness).saved] == [False, True]


def test_nothing_is_kept_without_a_folder(
    make_harness: MakeHarness, counting: Case, tmp_path: Path
) -> None:
    harness = make_harness(MISCOUNT, folder=None)
    harness.check(counting, suite="frames", what="test_it")
    assert harness.findings[COUNT_SIGNATURE].path is None
    assert list(tmp_path.iterdir()) == []


def test_a_difference_that_does_not_come_back_is_flaky(
    make_harness: MakeHarness, strategy: SearchStrategy[Case], counting: Case
) -> None:
    harness = make_harness(once(MISCOUNT))
    harness.check(counting, suite="frames", what="test_it")
    assert harness.verdicts == {Status.FLAKY: 1}
    finding = harness.findings[COUNT_SIGNATURE]
    assert (finding.flaky, finding.shrunk) == (True, False)
    (saved,) = recorder(harness).saved
    assert saved["status"] == "flaky"
    assert explore(harness, strategy) == []
    assert harness.verdicts == {Status.FLAKY: 1, Status.AGREE: 20}


def test_a_flaky_difference_does_not_hide_a_real_one_of_the_same_cause(
    make_harness: MakeHarness, counting: Case
) -> None:
    changes = iter([MISCOUNT, lambda seen: seen])
    harness = make_harness(lambda seen: next(changes, MISCOUNT)(seen))
    harness.check(counting, suite="frames", what="test_it")
    finding = harness.findings[COUNT_SIGNATURE]
    assert finding.flaky
    harness.check(counting, suite="frames", what="test_it")
    assert harness.findings == {COUNT_SIGNATURE: finding}
    assert (finding.flaky, finding.shrunk, finding.instances) == (False, True, 2)
    assert harness.verdicts == {Status.FLAKY: 1, Status.DIVERGE: 1}


@pytest.mark.parametrize(("schedule", "flaky"), [("timer", False), ("stepped", True)])
def test_with_a_timer_a_cause_may_take_its_time_to_come_back(
    make_harness: MakeHarness, counting: Case, schedule: str, flaky: bool
) -> None:
    timed = replace(counting, program=replace(counting.program, schedule=schedule))
    changes = iter([MISCOUNT, *[lambda seen: seen] * 4])
    harness = make_harness(lambda seen: next(changes, MISCOUNT)(seen))
    harness.check(timed, suite="scheduler", what="test_it")
    (finding,) = harness.findings.values()
    assert finding.flaky is flaky
    assert finding.result.case.program.schedule == ("stepped" if flaky else "cooperative")


def test_the_blame_of_a_backend_that_promises_nothing_is_flaky(
    make_runner: Callable[..., Runner],
    unicorn: Backend,
    instance: Callable[..., Backend],
    counting: Case,
) -> None:
    broken = BrokenBackend(instance("moody"), MISCOUNT)
    broken.deterministic = False
    harness = Harness(make_runner(unicorn, broken), (unicorn.config, broken.config))
    harness.check(counting, suite="frames", what="test_it")
    assert harness.verdicts == {Status.FLAKY: 1}


def test_memory_that_differs_is_a_finding_too(make_harness: MakeHarness, counting: Case) -> None:
    harness = make_harness(flip_state("frame_owned"))
    harness.check(counting, suite="frames", what="test_it")
    (finding,) = harness.findings.values()
    assert "[frame_owned]" in finding.signature
    assert finding.result.case.state_regions == ("frame_owned",)


def no_dump(result: Result) -> None:
    assert Dump() not in result.case.program.operations, "a dump\nand more"


def test_a_tests_own_demand_is_a_finding_and_shrunk(
    make_harness: MakeHarness, strategy: SearchStrategy[Case]
) -> None:
    harness = make_harness()
    (finding,) = explore(harness, strategy, check=no_dump)
    assert finding.signature == "assertion: test_it"
    verdict = finding.result.verdict
    assert (verdict.status, verdict.reason) == (Status.DIVERGE, "a dump")
    assert finding.result.case.program == Program((Dump(),))
    assert not finding.flaky
    assert finding.instances == harness.verdicts[Status.DIVERGE]


def test_a_demand_without_words(make_harness: MakeHarness, counting: Case) -> None:
    def refuse(result: Result) -> None:
        raise AssertionError

    result = make_harness().check(counting, suite="frames", what="test_it", check=refuse)
    assert result.verdict.reason == "assertion failed"


def test_a_demand_that_fails_only_once_is_flaky(make_harness: MakeHarness, counting: Case) -> None:
    asked: list[Result] = []

    def refuse_once(result: Result) -> None:
        asked.append(result)
        assert len(asked) > 1

    harness = make_harness()
    harness.check(counting, suite="frames", what="test_it", check=refuse_once)
    assert harness.verdicts == {Status.FLAKY: 1}


def test_a_divergence_comes_before_a_tests_own_demand(
    make_harness: MakeHarness, counting: Case
) -> None:
    harness = make_harness(MISCOUNT)
    harness.check(counting, suite="frames", what="test_it", check=no_dump)
    assert list(harness.findings) == [COUNT_SIGNATURE]


def test_a_demand_that_breaks_is_no_finding(make_harness: MakeHarness, counting: Case) -> None:
    harness = make_harness()
    with pytest.raises(ZeroDivisionError):
        harness.check(
            counting,
            suite="frames",
            what="test_it",
            check=lambda result: 1 // len(()),
        )
    assert harness.findings == {}


def test_an_interrupt_while_shrinking_leaves_the_finding(
    make_harness: MakeHarness, strategy: SearchStrategy[Case], tmp_path: Path
) -> None:
    harness = make_harness(MISCOUNT)

    class Interrupting(Recorder):
        def found(self, finding: Finding) -> None:
            raise KeyboardInterrupt

    harness.listener = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        explore(harness, strategy)
    (path,) = (tmp_path / "divergences").iterdir()
    saved = json.loads(path.read_text())
    assert (saved["signature"], saved["shrunk"]) == (COUNT_SIGNATURE, False)
    assert list(harness.findings) == [COUNT_SIGNATURE]


def test_shrinking_is_given_up_in_the_end(
    make_harness: MakeHarness, strategy: SearchStrategy[Case], counting: Case
) -> None:
    harness = make_harness(MISCOUNT, patience=0.0)
    (finding,) = explore(harness, strategy)
    assert not finding.shrunk
    statistics = harness.runner.statistics["unicorn"]
    assert statistics.runs == statistics.counted + 1  # to see whether it comes back
    harness.check(counting, suite="frames", what="test_it")
    assert statistics.runs == statistics.counted + 1


def test_a_hanging_engine_is_a_finding(
    make_runner: Callable[..., Runner],
    unicorn: Backend,
    instance: Callable[..., Backend],
    faulty_binary: str,
    small_case: Case,
) -> None:
    hanging = instance("hanging", binary=faulty_binary, options=("hang", "0"), deadline=0.05)
    harness = Harness(make_runner(unicorn, hanging), (unicorn.config, hanging.config), patience=0.0)
    (finding,) = harness.explore(st.just(small_case), suite="frames", what="test_it", cases=1)
    assert finding.signature == "hanging: outcome:deadline (legacy)"
    assert harness.verdicts == {Status.DIVERGE: 1}
