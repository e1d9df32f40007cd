"""Lanes: a backend, the thread it works in, and the sessions that it keeps open between cases."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from backends.backend import Backend, Request, Session
from conformance.case.case import Case
from conformance.case.image import Image, ImageId
from conformance.case.machine import Machine
from conformance.errors import BackendError
from conformance.observe.observation import Observation, Outcome

__all__ = ["BackendStatistics", "Lane"]


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

    def count(self, case: Case, observation: Observation) -> None:
        """What it did with a case of the suites."""
        self.counted += 1
        if case.program.schedule == "timer":
            return
        self.traces.update(len(observation.trace).to_bytes(8, "little"))
        self.traces.update(observation.trace)
        for digest in observation.state:
            self.traces.update(bytes.fromhex(digest.sha256))


class Lane:
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
