"""Lanes: what sessions a backend has, how long, and what becomes of one that breaks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest

from backends.backend import Availability, Backend, Request, Session
from conformance.case.case import Case
from conformance.case.image import Image
from conformance.case.machine import Machine
from conformance.case.program import Program
from conformance.engine.runner import Runner
from conformance.judge.verdict import Status
from conformance.observe.observation import Observation, Outcome

MakeRunner = Callable[..., Runner]
MakeInstance = Callable[..., Backend]


class RecordingBackend:
    """A real backend, with a log of what is asked of its sessions, as (what, RAM in MiB)."""

    deterministic = True

    def __init__(self, real: Backend) -> None:
        self.real = real
        self.config = real.config
        self.log: list[tuple[str, int]] = []

    def probe(self) -> Availability:
        return self.real.probe()

    def open(self, image: Image, machine: Machine) -> Session:
        self.log.append(("open", machine.ram_mib))
        return _RecordingSession(self.real.open(image, machine), machine.ram_mib, self.log)


class _RecordingSession:
    def __init__(self, real: Session, ram_mib: int, log: list[tuple[str, int]]) -> None:
        self._real, self._ram_mib, self._log = real, ram_mib, log

    def run(self, request: Request) -> Observation:
        self._log.append(("run", self._ram_mib))
        return self._real.run(request)

    def abort(self) -> None:
        self._real.abort()

    def close(self) -> None:
        self._log.append(("close", self._ram_mib))
        self._real.close()


@pytest.fixture
def recording(unicorn: Backend) -> RecordingBackend:
    return RecordingBackend(unicorn)


def on(case: Case, ram_mib: int) -> Case:
    return replace(case, machine=Machine(ram_mib))


def test_only_counted_cases_go_into_the_traces(
    make_runner: MakeRunner, unicorn: Backend, small_case: Case
) -> None:
    runner = make_runner(unicorn)
    statistics = runner.statistics["unicorn"]
    observations = [runner.submit(small_case, counted=True).result().observations[0]]
    runner.run(small_case)
    other = replace(small_case, program=Program())
    observations.append(runner.submit(other, counted=True).result().observations[0])
    assert (statistics.counted, statistics.runs) == (2, 3)
    assert statistics.seconds > 0
    expected = hashlib.sha256()
    for each in observations:
        expected.update(len(each.trace).to_bytes(8, "little") + each.trace)
        expected.update(b"".join(bytes.fromhex(digest.sha256) for digest in each.state))
    assert statistics.traces.hexdigest() == expected.hexdigest()


def test_a_session_is_kept_for_each_of_the_newest_machines(
    make_runner: MakeRunner, recording: RecordingBackend, small_case: Case
) -> None:
    runner = make_runner(recording)
    sizes = [16, 32, 64, 128, 16, 256, 32]
    for ram_mib in sizes:
        assert runner.run(on(small_case, ram_mib)).agrees
    runner.close()
    events = [event for event in recording.log if event[0] != "run"]
    assert events[:8] == [
        ("open", 16),
        ("open", 32),
        ("open", 64),
        ("open", 128),
        ("close", 32),  # 16 was used since
        ("open", 256),
        ("close", 64),
        ("open", 32),
    ]
    assert sorted(events[8:]) == [("close", 16), ("close", 32), ("close", 128), ("close", 256)]
    assert [ram_mib for what, ram_mib in recording.log if what == "run"] == sizes


def test_a_session_serves_all_paging_modes(
    make_runner: MakeRunner, recording: RecordingBackend, small_case: Case
) -> None:
    runner = make_runner(recording)
    for paging in ("legacy", "pae", "legacy"):
        runner.run(replace(small_case, machine=Machine(paging=paging)))
    assert [what for what, _ in recording.log] == ["open", "run", "run", "run"]


def test_a_fresh_run_has_a_session_of_its_own(
    make_runner: MakeRunner, recording: RecordingBackend, small_case: Case
) -> None:
    runner = make_runner(recording)
    runner.run(small_case)
    runner.run(small_case, fresh=True)
    runner.run(small_case)
    session = [("open", 16), ("run", 16)]
    assert recording.log == [*session, *session, ("close", 16), ("run", 16)]


def test_closing_twice_and_from_an_exception(
    image: Image, recording: RecordingBackend, small_case: Case, children: Callable[[], set[int]]
) -> None:
    def work() -> None:
        with runner:
            runner.run(small_case)
            assert children()
            raise ZeroDivisionError

    runner = Runner([recording], [image])
    with pytest.raises(ZeroDivisionError):
        work()
    assert not children()
    runner.close()
    assert [event for event in recording.log if event[0] == "close"] == [("close", 16)]


def test_a_backend_that_does_not_start_does_not_stop_the_others(
    make_runner: MakeRunner, unicorn: Backend, instance: MakeInstance, small_case: Case
) -> None:
    missing = instance("missing", binary="/nonexistent/emulator")
    result = make_runner(missing, unicorn).run(small_case)
    assert result.observations[0].outcome is Outcome.REFUSED
    assert "/nonexistent/emulator" in result.observations[0].detail
    assert result.agrees
    assert "missing" in result.verdict.reason


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("crash", Outcome.BACKEND_CRASHED),
        ("hang", Outcome.DEADLINE),
        ("garbage", Outcome.BACKEND_CRASHED),
    ],
)
def test_an_engine_that_breaks_is_blamed_and_the_run_goes_on(
    fault: str,
    outcome: Outcome,
    make_runner: MakeRunner,
    unicorn: Backend,
    instance: MakeInstance,
    faulty_binary: str,
    small_case: Case,
) -> None:
    faulty = instance("faulty", binary=faulty_binary, options=(fault, "1"), deadline=0.5)
    runner = make_runner(faulty, unicorn)
    assert runner.run(small_case).agrees
    broken = runner.run(small_case)
    assert broken.observations[0].outcome is outcome, broken.observations[0].detail
    assert (broken.verdict.status, broken.verdict.culprit) == (Status.DIVERGE, "faulty")
    assert runner.run(small_case).agrees  # by a new process


class RaisingBackend:
    """A third party's backend that raises what it should not, at its first run."""

    deterministic = True

    def __init__(self, real: Backend, where: str) -> None:
        self.real, self.where, self.config = real, where, real.config
        self.closed = 0

    def probe(self) -> Availability:
        return self.real.probe()

    def open(self, image: Image, machine: Machine) -> Session:
        if self._now("open"):
            raise OSError("no more file descriptors\x1b[31m")
        return _RaisingSession(self, self.real.open(image, machine))

    def _now(self, where: str) -> bool:
        now = self.where == where
        self.where = "" if now else self.where
        return now


class _RaisingSession:
    def __init__(self, backend: RaisingBackend, real: Session) -> None:
        self._backend, self._real = backend, real

    def run(self, request: Request) -> Observation:
        if self._backend._now("run"):
            raise ValueError("no such register")
        return self._real.run(request)

    def abort(self) -> None:
        self._real.abort()

    def close(self) -> None:
        self._backend.closed += 1
        self._real.close()


@pytest.mark.parametrize(
    ("where", "detail"),
    [("open", "OSError: no more file"), ("run", "ValueError: no such register")],
)
def test_a_backend_that_raises_is_blamed_and_the_run_goes_on(
    where: str,
    detail: str,
    make_runner: MakeRunner,
    unicorn: Backend,
    instance: MakeInstance,
    small_case: Case,
) -> None:
    raising = RaisingBackend(instance("raising"), where)
    runner = make_runner(raising, unicorn)
    broken = runner.run(small_case)
    assert broken.observations[0].outcome is Outcome.BACKEND_CRASHED
    assert detail in broken.observations[0].detail
    assert broken.verdict.culprit == "raising"
    assert raising.closed == (where == "run")  # a session that raised is not trusted again
    assert runner.run(small_case).agrees


def test_sessions_do_not_see_each_others_cases(
    make_runner: MakeRunner, unicorn: Backend, small_case: Case
) -> None:
    runner = make_runner(unicorn)
    other = replace(small_case, memory_map=None)
    seen = [runner.run(case).observations[0] for case in (small_case, other, small_case, other)]
    assert seen[:2] == seen[2:]
    assert seen[0].trace != seen[1].trace
