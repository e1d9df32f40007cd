"""The runner: what it hands to whom, what comes back, and that nothing outlives it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from backends.backend import Backend
from conformance.case.case import Case
from conformance.case.image import Image, ImageId
from conformance.case.program import Count, Program
from conformance.engine.runner import Runner
from conformance.errors import BackendError, InvalidArgument
from conformance.observe.observation import Outcome

MakeRunner = Callable[..., Runner]
MakeInstance = Callable[..., Backend]


def test_all_backends_agree_with_each_other_and_the_oracle(
    built_in: list[Backend], make_runner: MakeRunner, small_case: Case
) -> None:
    result = make_runner(*built_in).run(small_case)
    assert result.agrees, result.verdict.reason
    assert [each.backend for each in result.observations] == ["qemu", "bochs", "unicorn"]
    assert all(each.trace and each.state and each.command for each in result.observations)


def test_observations_come_in_the_backends_order(
    make_runner: MakeRunner, instance: MakeInstance, small_case: Case
) -> None:
    runner = make_runner(instance("second"), instance("first"))
    assert [each.backend for each in runner.run(small_case).observations] == ["second", "first"]
    assert list(runner.statistics) == ["second", "first"]


def test_results_of_several_submitted_cases_are_their_own(
    make_runner: MakeRunner, unicorn: Backend, small_case: Case
) -> None:
    runner = make_runner(unicorn)
    cases = [replace(small_case, program=Program((Count(),) * number)) for number in range(6)]
    pending = [runner.submit(case) for case in cases]
    for case, waiting in zip(reversed(cases), reversed(pending), strict=True):
        result = waiting.result()
        assert result.case == case
        assert result.agrees, result.verdict.reason


def test_only_the_state_that_a_case_names_is_read(
    make_runner: MakeRunner, unicorn: Backend, small_case: Case
) -> None:
    case = replace(small_case, state_regions=("frame_owned",))
    result = make_runner(unicorn).run(case)
    assert [digest.region for digest in result.observations[0].state] == ["frame_owned"]
    assert result.agrees, result.verdict.reason


def test_an_image_that_the_runner_does_not_have(
    make_runner: MakeRunner, unicorn: Backend, image: Image, small_case: Case
) -> None:
    case = replace(small_case, image=ImageId("i686", "0" * 64))
    with pytest.raises(InvalidArgument, match=r"i686 000000000000; here: i686 [0-9a-f]{12}") as got:
        make_runner(unicorn).run(case)
    assert image.id.sha256[:12] in str(got.value)


@pytest.mark.parametrize("names", [["one", "one"], []])
def test_backends_need_different_names(
    names: list[str], image: Image, instance: MakeInstance
) -> None:
    with pytest.raises(InvalidArgument, match="different names") as got:
        Runner([instance(name) for name in names], [image])
    assert str(names) in str(got.value)


def test_closing_does_not_wait_for_a_case_in_progress(
    image: Image,
    instance: MakeInstance,
    faulty_binary: str,
    small_case: Case,
    children: Callable[[], set[int]],
) -> None:
    hanging = instance("hanging", binary=faulty_binary, options=("hang", "0"), deadline=10.0)
    runner = Runner([hanging], [image])
    pending = [runner.submit(small_case) for _ in range(3)]
    runner.close()
    assert not children()
    outcomes = {waiting.result().observations[0].outcome for waiting in pending}
    assert outcomes <= {Outcome.BACKEND_CRASHED, Outcome.REFUSED}


def test_an_interrupt_in_the_middle_leaves_nothing_behind(
    image: Image,
    built_in: list[Backend],
    small_case: Case,
    children: Callable[[], set[int]],
) -> None:
    def work() -> None:
        with Runner(built_in, [image]) as runner:
            runner.run(small_case)
            assert len(children()) == 3
            for _ in range(5):
                runner.submit(small_case)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert not children()


def test_a_closed_runner_says_so(image: Image, unicorn: Backend, small_case: Case) -> None:
    runner = Runner([unicorn], [image])
    runner.close()
    with pytest.raises(BackendError, match="closed"):
        runner.run(small_case)
