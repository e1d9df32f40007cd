"""End to end: whichever engine is wrong is blamed by its name, and by nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from broken_backend import BrokenBackend, Change, flip, flip_state

from backends.backend import BUILT_IN, Backend
from conformance.case.case import Case
from conformance.engine.runner import Result, Runner
from conformance.judge.verdict import KERNEL, Status
from conformance.protocol import PROTOCOL

MakeRunner = Callable[..., Runner]

SHOWN = {
    "counted": (flip("counted", "free_frames", bit=20), "counted.free_frames"),
    "memory": (flip_state("frame_bitmap"), "memory[frame_bitmap].checksum"),
}


def breaking(name: str, backends: list[Backend], change: Change) -> list[Backend]:
    return [BrokenBackend(each, change) if each.config.name == name else each for each in backends]


@pytest.fixture
def run_broken(
    make_runner: MakeRunner, built_in: list[Backend], small_case: Case
) -> Callable[[str, Change], Result]:
    def run(name: str, change: Change) -> Result:
        return make_runner(*breaking(name, built_in, change)).run(small_case)

    return run


@pytest.mark.parametrize("what", SHOWN)
@pytest.mark.parametrize("name", BUILT_IN)
def test_a_flipped_bit_is_blamed_on_its_backend(
    name: str, what: str, run_broken: Callable[[str, Change], Result]
) -> None:
    change, signature = SHOWN[what]
    verdict = run_broken(name, change).verdict
    assert (verdict.status, verdict.culprit) == (Status.DIVERGE, name)
    assert verdict.signature.startswith(f"{name}: {signature}"), verdict.signature


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_flipped_bit_that_the_protocol_masks_is_nothing(
    name: str, run_broken: Callable[[str, Change], Result]
) -> None:
    (field,) = (each for each in PROTOCOL.events["entry"].layout.fields if each.name == "eflags")
    masked = next(bit for bit in range(32) if field.mask is not None and not field.mask >> bit & 1)
    compared = next(bit for bit in range(32) if field.mask is not None and field.mask >> bit & 1)
    assert run_broken(name, flip("entry", "eflags", masked)).agrees
    assert run_broken(name, flip("entry", "eflags", compared)).verdict.culprit == name


def test_a_wrong_kernel_is_blamed_although_the_backends_agree(
    built_in: list[Backend], make_runner: MakeRunner, small_case: Case
) -> None:
    change, _ = SHOWN["counted"]
    verdict = make_runner(*(BrokenBackend(each, change) for each in built_in)).run(small_case)
    assert (verdict.verdict.status, verdict.verdict.culprit) == (Status.DIVERGE, KERNEL)


def test_two_backends_that_are_wrong_in_different_ways_are_both_blamed(
    built_in: list[Backend], make_runner: MakeRunner, small_case: Case
) -> None:
    change, _ = SHOWN["counted"]
    backends = breaking("qemu", built_in, change)
    backends = breaking("bochs", backends, flip("allocated", "frame"))
    verdict = make_runner(*backends).run(small_case).verdict
    assert (verdict.status, verdict.culprit) == (Status.DIVERGE, "bochs, qemu")
