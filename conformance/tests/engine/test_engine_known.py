"""Known divergences in a run: counted, not shrunk, replayed, and missed when they are gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from broken_backend import BrokenBackend, Change, flip

from backends.backend import Backend, InstanceConfig
from conformance.case.case import Case
from conformance.case.codec import dump_case
from conformance.case.image import Image
from conformance.case.program import Allocate, Count, Dump, Program
from conformance.case.strategies import cases
from conformance.commands.run import exit_status
from conformance.config import Config
from conformance.engine.finding import load_record
from conformance.engine.harness import Harness
from conformance.engine.runner import Runner
from conformance.engine.setup import build_harness
from conformance.errors import BackendError, InvalidInput
from conformance.judge.known import Engine, KnownDivergence, KnownDivergences
from conformance.judge.known_file import entry_text
from conformance.judge.verdict import Status
from conformance.report.console import RunConsole
from conformance.report.finding_text import describe, known_lines, summary
from conformance.report.json_result import dump_result

MISCOUNT = flip("counted", "free_frames", bit=20)
MISREAD = flip("map_end", "entries", bit=31)
CAUSE = "counted.free_frames higher after count (legacy)"
STALE = f"known divergence no longer shows up: unicorn: {CAUSE} (on wrong)"


@pytest.fixture
def divergence(small_case: Case, tmp_path: Path) -> KnownDivergence:
    path = tmp_path / "known" / "miscount.json"
    path.parent.mkdir()
    path.write_text(dump_case(replace(small_case, program=Program((Count(),)))))
    return KnownDivergence(
        f"unicorn: {CAUSE}", "unicorn", ">=2", "TRACE.md", "counts too many", "", path
    )


MakeHarness = Callable[..., Harness]


@pytest.fixture
def make_harness(
    image: Image, instance: Callable[..., Backend], divergence: KnownDivergence, tmp_path: Path
) -> Any:
    """Harnesses on a right backend, of an old version, and on one that is broken in some way."""
    runners = []

    def make(change: Change, **options: Any) -> Harness:
        right, wrong = instance("right"), BrokenBackend(instance("wrong"), change)
        engines = {"right": Engine("unicorn", "1.0"), "wrong": Engine("unicorn", "2.1.4")}
        known = KnownDivergences([divergence], engines)
        runners.append(Runner([right, wrong], [image], known))
        options = {"seed": 5, "cases": 20, "folder": tmp_path / "out"} | options
        return Harness(runners[-1], (right.config, wrong.config), **options)

    yield make
    for runner in runners:
        runner.close()


@pytest.fixture
def counting(small_case: Case) -> Case:
    return replace(small_case, program=Program((Allocate(), Count(), Dump())))


def test_a_known_divergence_is_counted_and_nothing_else(
    make_harness: MakeHarness, counting: Case, divergence: KnownDivergence, tmp_path: Path
) -> None:
    harness = make_harness(MISCOUNT)
    result = harness.check(counting, suite="frames", what="test_it")
    assert (result.agrees, result.passes) == (False, True)
    assert harness.verdicts == {Status.KNOWN: 1}
    assert harness.known_counts == {divergence: 1}
    assert harness.findings == {}
    assert not (tmp_path / "out").exists()
    assert harness.runner.statistics["wrong"].runs == 1, "neither confirmed nor shrunk"
    assert exit_status(harness) == 0


def test_generated_cases_are_counted_and_all_are_run(
    make_harness: MakeHarness, image: Image, divergence: KnownDivergence
) -> None:
    harness = make_harness(MISCOUNT)
    found = harness.explore(cases(image=image.id), suite="frames", what="test_generated")
    assert found == []
    assert harness.verdicts.total() == harness.runner.statistics["wrong"].runs == 20
    assert harness.known_counts[divergence] == harness.verdicts[Status.KNOWN] > 0
    assert exit_status(harness) == 0


def test_what_is_new_is_found_and_shrunk_beside_what_is_known(
    image: Image, instance: Callable[..., Backend], divergence: KnownDivergence
) -> None:
    right = instance("right")
    counts, reads = (
        BrokenBackend(instance(name), change)
        for name, change in (("counts", MISCOUNT), ("reads", MISREAD))
    )
    known = KnownDivergences([divergence], {"counts": Engine("unicorn", "2.1.4")})
    backends = [right, counts, reads]
    with Runner(backends, [image], known) as runner:
        harness = Harness(runner, tuple(each.config for each in backends), 5, 20)
        (finding,) = harness.explore(cases(image=image.id), suite="frames", what="test_generated")
    assert finding.signature == "reads: map_end.entries higher (legacy)"
    assert finding.result.verdict.culprit == "reads"
    assert finding.instances == harness.verdicts[Status.DIVERGE] == 20
    assert harness.known_counts[divergence] > 0
    assert finding.shrunk
    assert finding.result.case.program == Program()


def test_a_demand_is_not_made_of_what_is_known(make_harness: MakeHarness, counting: Case) -> None:
    asked: list[object] = []
    harness = make_harness(MISCOUNT)
    harness.check(counting, suite="frames", what="test_it", check=asked.append)
    assert asked == []


def right(seen: Any) -> Any:
    return seen


def test_what_still_shows_up_is_not_stale(
    make_harness: MakeHarness, counting: Case, divergence: KnownDivergence
) -> None:
    harness = make_harness(MISCOUNT)
    assert harness.check_known(divergence, counting, suite="faults") == ""
    assert (harness.stale, harness.verdicts) == ({}, {Status.KNOWN: 1})


def test_what_no_longer_shows_up_fails_the_run(
    make_harness: MakeHarness, counting: Case, divergence: KnownDivergence
) -> None:
    harness = make_harness(right)
    for _ in range(2):  # two suites replay the list, the second time for free
        assert harness.check_known(divergence, counting, suite="faults") == STALE
    assert harness.runner.statistics["wrong"].runs == 1
    assert harness.verdicts == {Status.AGREE: 1}
    assert harness.stale_lines() == [STALE]
    assert exit_status(harness) == 1


def test_another_divergence_in_its_place_is_stale_and_a_finding(
    make_harness: MakeHarness, counting: Case, divergence: KnownDivergence
) -> None:
    harness = make_harness(MISREAD)
    assert harness.check_known(divergence, counting, suite="faults") == STALE
    (finding,) = harness.findings.values()
    assert finding.signature == "wrong: map_end.entries higher (legacy)"


def test_who_does_not_start_is_not_asked(
    make_harness: MakeHarness, counting: Case, divergence: KnownDivergence
) -> None:
    harness = make_harness(right)

    def refuse(*_: object) -> object:
        raise BackendError("not today")

    for lane in harness.runner._lanes:
        if lane.name == "wrong":
            lane.backend.open = refuse  # type: ignore[method-assign]
    assert harness.check_known(divergence, counting, suite="faults") == ""


def test_the_reports_say_it(
    make_harness: MakeHarness,
    counting: Case,
    divergence: KnownDivergence,
    image: Image,
    capsys: pytest.CaptureFixture[str],
) -> None:
    harness = make_harness(MISCOUNT)
    harness.check(counting, suite="frames", what="test_it")
    line = f"known 1 x {divergence.name}: counts too many"
    assert known_lines(harness) == [line]
    assert line in summary(harness)
    harness.stale[divergence] = ("wrong",)
    assert summary(harness)[-2:] == [line, STALE]
    form = json.loads(dump_result(harness, (), [image]))
    assert form["verdicts"]["known"] == 1
    assert form["known"] == [
        {
            "signature": f"unicorn: {CAUSE}",
            "count": 1,
            "sentence": "counts too many",
            "section": "TRACE.md",
            "link": "",
        }
    ]
    assert form["stale"] == [STALE]
    RunConsole().conclude(harness, [])
    output = capsys.readouterr().out
    assert line in output
    assert STALE in output
    assert "0 agree  0 diverge  0 inconclusive  0 flaky  1 known" in output


def test_a_divergence_file_says_what_the_list_needs(
    make_harness: MakeHarness, counting: Case, image: Image, tmp_path: Path
) -> None:
    harness = make_harness(MISREAD)
    harness.check(counting, suite="frames", what="test_it")
    (path,) = (tmp_path / "out" / "divergences").iterdir()
    assert load_record(path).causes == (("unicorn", "map_end.entries higher (legacy)"),)
    (finding,) = harness.findings.values()
    assert "  known " not in describe(finding)


def configured(folder: Path, divergence: KnownDivergence) -> Config:
    own = folder / "mine.toml"
    own.write_text(entry_text(divergence))
    return Config((InstanceConfig("unicorn", "unicorn"),), known=own)


@pytest.mark.parametrize("known", [True, False])
def test_the_users_own_list_counts_unless_told_otherwise(
    known: bool, divergence: KnownDivergence, image: Image, tmp_path: Path
) -> None:
    config = configured(tmp_path, divergence)
    harness, _ = build_harness(config, images=[image], seed=0, cases=1, known=known)
    with harness.runner as runner:
        assert runner.known.applicable(divergence) == (("unicorn",) if known else ())


def test_a_malformed_list_is_an_error(
    divergence: KnownDivergence, image: Image, tmp_path: Path
) -> None:
    config = configured(tmp_path, replace(divergence, versions="new"))
    with pytest.raises(InvalidInput, match="versions: expected versions like"):
        build_harness(config, images=[image], seed=0, cases=1)
