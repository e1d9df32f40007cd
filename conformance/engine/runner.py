"""The runner: the one place where cases, backends, oracle and judge meet."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from backends.backend import Backend, Request, Session
from conformance.case.case import Case
from conformance.case.image import Image, ImageId
from conformance.case.machine import Machine
from conformance.case.payload import encode_payload
from conformance.errors import BackendError, InvalidArgument
from conformance.judge.known import KnownDivergences, Recognised, judge_with_known
from conformance.judge.verdict import Status, Verdict
from conformance.observe.observation import Observation, Outcome
from conformance.observe.trace import Event
from conformance.oracle.expect import expect
from conformance.oracle.expectation import Expectation
from conformance.oracle.frames import frame_extent
from conformance.protocol import PROTOCOL
from conformance.report.symbols import Symbols

__all__ = ["BackendStatistics", "PendingResult", "Result", "Runner"]

_WITNESSES = 8


@dataclass(frozen=True, slots=True)
class Result:
    """One case, all the way: what happened, what should have, and what that means.

    Attributes:
        case: what was run.
        observations: what each backend did.
        verdict: what that means.
        image: the kernel.
        known: the known divergences that were seen.
    """

    case: Case
    observations: tuple[Observation, ...]
    verdict: Verdict
    image: Image
    known: tuple[Recognised, ...] = ()

    @property
    def expectation(self) -> Expectation | None:
        """What the verdict was measured against."""
        return self.verdict.expectation

    @property
    def symbols(self) -> Symbols:
        """The kernel's symbols, for reports."""
        return Symbols(self.image.symbols)

    @property
    def agrees(self) -> bool:
        """The backends agree with each other and with the oracle."""
        return self.verdict.status is Status.AGREE

    @property
    def passes(self) -> bool:
        """They agree, but for what is known."""
        return self.verdict.status in (Status.AGREE, Status.KNOWN)


@dataclass(frozen=True, slots=True)
class PendingResult:
    """A case that the backends are working on."""

    case: Case
    _judge: Callable[[], Result]

    def result(self) -> Result:
        """Wait for all backends, and judge."""
        return self._judge()


@dataclass(slots=True)
class BackendStatistics:
    """What one backend did in a run.

    Attributes:
        counted: how many cases of the suites it ran.
        runs: how often it ran, for shrinking and confirming too.
        seconds: the wall-clock time that took.
        traces: SHA-256 over the traces and state digests of the counted cases, in their order; but
            for those that a timer schedules, which need not be the same again.
    """

    counted: int = 0
    runs: int = 0
    seconds: float = 0.0
    traces: hashlib._Hash = field(default_factory=hashlib.sha256)


class _Lane:
    """A backend with the thread that its sessions live in.

    Sessions stay open between cases, the newest few: a run alternates between few machines. One
    session serves all cases on its hardware: what else a machine is, the payload says.
    """

    _OPEN = 4
    # An engine that does not start this often in a row is not asked again: its first words stand.
    _TRIES = 3

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.name = backend.config.name
        self.statistics = BackendStatistics()
        self._sessions: dict[tuple[ImageId, Machine], Session] = {}
        self._current: Session | None = None
        self._failures: dict[tuple[ImageId, Machine], list[Observation]] = {}
        self._stopping = False
        self._guard = threading.Lock()
        self.executor = ThreadPoolExecutor(1, thread_name_prefix=f"conformance-{self.name}")

    def run(self, image: Image, machine: Machine, request: Request) -> Observation:
        """Run a case in the open session of its image and machine."""
        machine = machine.hardware
        failures = self._failures.setdefault((image.id, machine), [])
        if len(failures) >= self._TRIES:
            return failures[0]
        try:
            session = self._session(image, machine)
        except Exception as error:
            failures.append(_not_opened(self.name, error))
            return failures[-1]
        failures.clear()
        try:
            return self._timed(session, request)
        except Exception as error:
            # Whoever raises here is in a state that nobody knows.
            del self._sessions[image.id, machine]
            _close(session)
            return _broken(self.name, error)

    def run_fresh(self, image: Image, machine: Machine, request: Request) -> Observation:
        """Run a case in a process of its own."""
        try:
            session = self.backend.open(image, machine.hardware)
        except Exception as error:
            return _not_opened(self.name, error)
        try:
            return self._timed(session, request)
        except Exception as error:
            return _broken(self.name, error)
        finally:
            _close(session)

    def close(self) -> None:
        """Close all sessions; in this lane's thread."""
        while self._sessions:
            _close(self._sessions.popitem()[1])

    def abort(self) -> None:
        """From another thread: let the case in progress end now."""
        with self._guard:
            self._stopping = True
            if self._current is not None:
                self._current.abort()

    def _session(self, image: Image, machine: Machine) -> Session:
        key = (image.id, machine)
        session = self._sessions.pop(key, None)
        if session is None:
            while len(self._sessions) >= self._OPEN:
                oldest = next(iter(self._sessions))
                _close(self._sessions.pop(oldest))
            session = self.backend.open(image, machine)
        self._sessions[key] = session
        return session

    def _timed(self, session: Session, request: Request) -> Observation:
        with self._guard:
            if self._stopping:
                return Observation(self.name, Outcome.REFUSED, "the run was stopped")
            self._current = session
        start = time.perf_counter()
        try:
            return session.run(request)
        finally:
            self.statistics.seconds += time.perf_counter() - start
            self.statistics.runs += 1
            with self._guard:
                self._current = None


def _predict(case: Case, image: Image, witness: Sequence[Event]) -> Expectation:
    return expect(case, image, witness)


def _close(session: Session) -> None:
    # A third party's backend must not keep the others from being closed.
    with contextlib.suppress(Exception):
        session.close()


def _not_opened(name: str, error: Exception) -> Observation:
    if isinstance(error, BackendError):
        return Observation(
            name, Outcome.REFUSED, str(error), console=error.output, command=error.command
        )
    return _broken(name, error)


def _broken(name: str, error: Exception) -> Observation:
    """What a backend shows that raises what it should have made an outcome of."""
    detail = f"the backend raised {type(error).__name__}: {error}"
    return Observation(name, Outcome.BACKEND_CRASHED, detail)


class Runner:
    """Runs cases on several backends at once, each in its own thread, and judges them.

    Args:
        backends: at least one; no two of the same name.
        images: those that cases may name.
        known: the divergences that are known of the backends.

    Raises:
        InvalidArgument: no backend, or two of one name.
    """

    def __init__(
        self,
        backends: Sequence[Backend],
        images: Sequence[Image],
        known: KnownDivergences | None = None,
    ) -> None:
        names = [backend.config.name for backend in backends]
        if not names or len(set(names)) != len(names):
            raise InvalidArgument(f"a runner needs backends of different names, got {names}")
        self.known = known or KnownDivergences()
        self._images = {image.id: image for image in images}
        self._lanes = [_Lane(backend) for backend in backends]
        self._closed = False

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def statistics(self) -> dict[str, BackendStatistics]:
        """By backend name."""
        return {lane.name: lane.statistics for lane in self._lanes}

    @property
    def unreliable(self) -> frozenset[str]:
        """Names of the backends that do not promise to do the same again."""
        return frozenset(lane.name for lane in self._lanes if not lane.backend.deterministic)

    def image(self, case: Case) -> Image:
        """The image a case names.

        Raises:
            InvalidArgument: the runner has no such image.
        """
        try:
            return self._images[case.image]
        except KeyError:
            known = ", ".join(f"{image.name} {image.sha256[:12]}" for image in self._images)
            raise InvalidArgument(
                f"the case is for image {case.image.name} {case.image.sha256[:12]}; here: {known}"
            ) from None

    def submit(self, case: Case, *, fresh: bool = False, counted: bool = False) -> PendingResult:
        """Hand a case to all backends.

        Args:
            fresh: run it in new processes.
            counted: its traces go into the backends' statistics, when `result` is called.

        Raises:
            InvalidArgument: the runner does not have the case's image.
            BackendError: the runner is closed.
        """
        if self._closed:
            raise BackendError("the runner is closed")
        image = self.image(case)
        regions = tuple(
            region for name, region in PROTOCOL.state_regions.items() if name in case.state_regions
        )
        request = Request(encode_payload(case), regions, frame_extent(case))
        futures: list[Future[Observation]] = [
            lane.executor.submit(
                lane.run_fresh if fresh else lane.run, image, case.machine, request
            )
            for lane in self._lanes
        ]

        def finish() -> Result:
            observations = tuple(future.result() for future in futures)
            if counted:
                self._count(case, observations)
            # Without a backend whose divergence is known, the same is asked again.
            predict = functools.lru_cache(_WITNESSES)(functools.partial(_predict, case, image))
            verdict, known = judge_with_known(case, predict, observations, self.known)
            return Result(case, observations, verdict, image, known)

        return PendingResult(case, finish)

    def run(self, case: Case, *, fresh: bool = False) -> Result:
        """Run a case on all backends and judge it."""
        return self.submit(case, fresh=fresh).result()

    def close(self) -> None:
        """Stop what is running and close every session. May be called twice."""
        self._closed = True
        for lane in self._lanes:
            lane.abort()
        for lane in self._lanes:
            with contextlib.suppress(RuntimeError):  # shut down by an earlier close()
                lane.executor.submit(lane.close)
            lane.executor.shutdown(cancel_futures=False)

    def _count(self, case: Case, observations: tuple[Observation, ...]) -> None:
        for lane, observation in zip(self._lanes, observations, strict=True):
            lane.statistics.counted += 1
            if case.program.schedule == "timer":
                continue
            traces = lane.statistics.traces
            traces.update(len(observation.trace).to_bytes(8, "little"))
            traces.update(observation.trace)
            for digest in observation.state:
                traces.update(bytes.fromhex(digest.sha256))
