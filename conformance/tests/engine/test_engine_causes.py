"""Causes: how many a verdict has, and a result as far as one of them goes."""

from __future__ import annotations

import pytest

from conformance.case.case import Case
from conformance.case.image import Image
from conformance.engine.causes import assessed, causes_of, narrowed
from conformance.engine.runner import Result
from conformance.judge.verdict import KERNEL, UNKNOWN, Departure, Status, Verdict

LOW = Departure(("bochs", "qemu"), "count.frames lower")
HIGH = Departure(("unicorn",), "count.frames higher")
BOTH = Verdict(
    Status.DIVERGE, "wrong", "bochs, qemu, unicorn", f"{LOW}; {HIGH}", departures=(LOW, HIGH)
)
OF_THE_KERNEL = Verdict(
    Status.DIVERGE, "wrong", KERNEL, "kernel: count.frames lower", departures=(LOW, HIGH)
)


@pytest.mark.parametrize(
    ("verdict", "causes"),
    [
        (Verdict(Status.AGREE, "fine", signature="?"), ()),
        (Verdict(Status.KNOWN, "known", "qemu", "qemu: count.frames lower"), ()),
        (Verdict(Status.INCONCLUSIVE, "nobody ran"), ("inconclusive: nobody ran",)),
        (OF_THE_KERNEL, ("kernel: count.frames lower",)),
        (BOTH, ("bochs, qemu: count.frames lower", "unicorn: count.frames higher")),
        (
            Verdict(Status.DIVERGE, "wrong", "bochs, qemu", f"{LOW}; {LOW}", departures=(LOW, LOW)),
            (str(LOW),),
        ),
    ],
    ids=["agree", "known", "inconclusive", "kernel", "two backends", "one cause twice"],
)
def test_what_a_verdict_is_told_by(verdict: Verdict, causes: tuple[str, ...]) -> None:
    assert causes_of(verdict) == causes


@pytest.fixture
def result(small_case: Case, image: Image) -> Result:
    return Result(small_case, (), BOTH, image)


def test_a_result_as_far_as_one_of_two_causes_goes(result: Result) -> None:
    verdict = narrowed(result, str(HIGH)).verdict
    assert (verdict.culprit, verdict.signature) == ("unicorn", str(HIGH))
    assert narrowed(result, str(LOW)).verdict.culprit == "bochs, qemu"


def test_a_result_with_another_cause_stays_whole(result: Result) -> None:
    assert narrowed(result, BOTH.signature) is result
    assert narrowed(result, "kernel: something else") is result


def test_a_demand_is_made_only_where_all_agree(small_case: Case, image: Image) -> None:
    def demand(result: Result) -> None:
        raise AssertionError("too slow\nby far")

    agreed = Result(small_case, (), Verdict(Status.AGREE, "fine"), image)
    verdict = assessed(agreed, demand, "test_speed").verdict
    assert (verdict.status, verdict.culprit) == (Status.DIVERGE, UNKNOWN)
    assert (verdict.reason, verdict.signature) == ("too slow", "assertion: test_speed")
    assert assessed(agreed, None, "test_speed") is agreed
    differs = Result(small_case, (), BOTH, image)
    assert assessed(differs, demand, "test_speed") is differs
