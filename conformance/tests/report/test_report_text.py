"""Reports: what they say, and that nothing in them can steer a terminal."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from broken_backend import BrokenBackend, flip
from rich.console import Console

from backends.backend import Availability, Backend
from conformance.case.case import Case
from conformance.case.image import Image
from conformance.case.memory_map import MemoryMap, Region
from conformance.case.program import Allocate, Program
from conformance.engine.finding import Finding
from conformance.engine.harness import Harness, Skipped
from conformance.engine.runner import Runner
from conformance.engine.setup import Probed
from conformance.judge.verdict import Status
from conformance.report.console import RunConsole
from conformance.report.finding_text import describe, describe_case, summary
from conformance.report.json_result import dump_result

EVIL = "\x1b[31mred\x1b]0;title\x07\r\n\x9b2J\u202e"


@pytest.fixture
def harness(make_runner: Callable[..., Runner], unicorn: Backend, small_case: Case) -> Harness:
    """A harness that has found one thing."""
    runner = make_runner(BrokenBackend(unicorn, flip("counted", "free_frames", bit=20)))
    harness = Harness(runner, (unicorn.config,), seed=7)
    harness.check(small_case, suite="frames", what="test_it")
    return harness


@pytest.fixture
def finding(harness: Harness) -> Finding:
    (finding,) = harness.findings.values()
    return finding


@pytest.fixture
def evil(finding: Finding) -> Finding:
    """A finding all of whose words are an attack."""
    observation = replace(finding.result.observations[0], detail=EVIL, console=EVIL.encode())
    verdict = replace(finding.result.verdict, reason=EVIL, culprit=EVIL, signature=EVIL)
    result = replace(finding.result, verdict=verdict, observations=(observation,))
    return Finding(EVIL, EVIL, result)


def harmless(text: str) -> bool:
    return all(letter.isprintable() or letter == "\n" for letter in text)


def test_a_finding_is_described(finding: Finding) -> None:
    finding.instances = 3
    lines = describe(finding).splitlines()
    assert lines[:6] == [
        "diverge: kernel or unicorn: counted.free_frames higher after count (legacy)",
        "  culprit   kernel or unicorn",
        "  why       unicorn is the only backend that ran, and it differs from the oracle",
        "  seen in   3 cases of suite frames",
        "  smallest case:",
        "    region [0x100000, 0x800000) available",
    ]
    assert any(line.strip() == "0: count" for line in lines)
    assert any("first difference" in line for line in lines)
    assert all(len(line) <= 100 for line in lines)


def test_a_flaky_finding_says_so(finding: Finding) -> None:
    finding.flaky = True
    assert describe(finding).startswith("flaky: ")


def described(finding: Finding, case: Case, *, shrunk: bool) -> list[str]:
    result = replace(finding.result, case=case)
    return describe_case(Finding("s", "frames", result, shrunk=shrunk))


def test_a_large_case_is_cut(finding: Finding, small_case: Case) -> None:
    regions = tuple(Region(number << 12, 4096) for number in range(100))
    case = replace(small_case, memory_map=MemoryMap(regions), program=Program((Allocate(),) * 100))
    lines = described(finding, case, shrunk=False)
    assert lines[0].strip() == "case (not shrunk):"
    assert "    … 92 more regions" in lines
    assert lines[-1] == "    … 88 more operations"
    assert len(lines) < 30


def test_maps_that_are_none_or_empty(finding: Finding, small_case: Case) -> None:
    assert "    no memory map" in described(
        finding, replace(small_case, memory_map=None), shrunk=True
    )
    assert "    an empty memory map" in described(
        finding, replace(small_case, memory_map=MemoryMap()), shrunk=True
    )


def test_a_run_is_summed_up(harness: Harness) -> None:
    harness.verdicts[Status.AGREE] = 4
    harness.skipped.append(Skipped("backend bochs", "not found"))
    first, second, third = summary(harness)
    assert first == "seed 7: 4 agree, 1 diverge"
    assert second.startswith("unicorn: 1 cases, ")
    assert third == "skipped backend bochs: not found"


def test_a_run_of_nothing_says_so(make_runner: Callable[..., Runner], unicorn: Backend) -> None:
    harness = Harness(make_runner(unicorn), (unicorn.config,))
    assert summary(harness)[0] == "seed 0: nothing was run"


def test_no_description_can_steer_a_terminal(evil: Finding, harness: Harness) -> None:
    assert harmless(describe(evil))
    assert "\\x1b[31mred" in describe(evil)
    assert describe(evil).count("\n") == describe(evil).replace("\\n", "").count("\n")
    harness.skipped.append(Skipped(EVIL, EVIL))
    assert all(harmless(line) and "\n" not in line for line in summary(harness))


def shown(
    harness: Harness, image: Image, work: Callable[[RunConsole], None], **options: Any
) -> str:
    output = io.StringIO()
    console = Console(file=output, highlight=False, width=120, **options)
    probed = [
        Probed(instance, BrokenBackend, Availability(True, version=f"1.0{EVIL}"))  # type: ignore[arg-type]
        for instance in harness.instances
    ]
    with RunConsole(console) as run_console:
        run_console.begin(harness, probed, [image], 5)
        work(run_console)
        run_console.conclude(harness, [])
    return output.getvalue()


def test_the_console_shows_what_happened(harness: Harness, finding: Finding, image: Image) -> None:
    def work(console: RunConsole) -> None:
        console.started("frames", "test_it", 5)
        console.found(finding)
        console.found(finding)
        console.ran("frames")
        finding.flaky = True
        console.found(finding)
        finding.flaky = False

    text = shown(harness, image, work)
    assert f"image    i686 {image.id.sha256[:12]}" in text
    assert "seed     7" in text
    announcement = f"diverge: {finding.signature}\n"
    assert text.count(announcement) == 2  # as it was found, and in its description
    assert text.count(f"flaky: {finding.signature}") == 1
    assert "0 agree  1 diverge  0 inconclusive  0 flaky" in text


def test_the_console_is_not_steered(harness: Harness, evil: Finding, image: Image) -> None:
    harness.findings = {EVIL: evil}
    harness.skipped.append(Skipped(EVIL, EVIL))
    text = shown(harness, image, lambda console: console.found(evil))
    assert harmless(text)
    assert "\\x1b[31mred" in text


def test_markup_is_no_markup(harness: Harness, finding: Finding, image: Image) -> None:
    finding.signature = "[bold]x[/bold] :warning:"
    text = shown(harness, image, lambda console: console.found(finding), force_terminal=True)
    assert "[bold]x[/bold] :warning:" in text


def test_the_json_result_escapes_everything(
    harness: Harness, evil: Finding, unicorn: Backend, image: Image
) -> None:
    harness.findings = {EVIL: evil}
    harness.skipped.append(Skipped(EVIL, EVIL))
    probed = [Probed(unicorn.config, unicorn, Availability(True, version=EVIL))]
    text = dump_result(harness, probed, [image])
    assert harmless(text)
    assert text.isascii()
    form = json.loads(text)
    assert form["divergences"][0]["signature"] == EVIL
    assert form["skipped"] == [{"what": EVIL, "reason": EVIL}]
