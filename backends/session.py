"""The session that the built-in backends share: an engine that is started anew when it broke."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from backends.backend import Request
from backends.guest import Result, unfit
from conformance.errors import BackendError
from conformance.observe.observation import Observation, Outcome

__all__ = ["Engine", "RestartingSession"]

# After these the engine's process is gone, or its state is anybody's guess.
_BROKEN = frozenset({Outcome.DEADLINE, Outcome.BACKEND_CRASHED, Outcome.GARBLED})


class Engine(Protocol):
    """One running engine.

    Attributes:
        command: its exact command line.
        console: the last bytes the guest printed in the last case.
    """

    command: tuple[str, ...]
    console: bytearray

    def serve(self, request: Request) -> Result:
        """Run one case from reset; whatever happens is a result."""

    def kill(self) -> None:
        """Kill the process; it is reaped by `close`. From any thread."""

    def close(self) -> None:
        """End the process and free everything."""


class RestartingSession:
    """A session on one engine at a time; the case after a crash or a deadline gets a new one.

    Args:
        name: the instance's name.
        launch: starts an engine, or raises BackendError.
    """

    def __init__(self, name: str, launch: Callable[[], Engine]) -> None:
        self._name = name
        self._launch = launch
        self._closed = False
        # Held where the engine changes, and while it is killed from outside: `abort` must not meet
        # one whose process is reaped already, nor miss one that is just being started.
        self._guard = threading.Lock()
        self._aborted = False
        self._engine: Engine | None = launch()

    def run(self, request: Request) -> Observation:
        """Run one case from reset."""
        if self._closed:
            raise BackendError(f"{self._name}: run() on a closed session; open a new one")
        reason = unfit(request.payload)
        if reason:
            return Observation(self._name, Outcome.REFUSED, reason)
        self._aborted = False
        engine = self._engine
        if engine is None:
            try:
                engine = self._launch()
            except BackendError as error:
                return Observation(
                    self._name,
                    Outcome.BACKEND_CRASHED,
                    str(error),
                    console=error.output,
                    command=error.command,
                )
            with self._guard:
                self._engine = engine
                if self._aborted:
                    engine.kill()
        result = engine.serve(request)
        observation = Observation(
            backend=self._name,
            outcome=result.outcome,
            detail=result.detail,
            trace=result.trace,
            state=result.state,
            console=bytes(engine.console),
            command=engine.command,
            faults=result.faults,
            control=result.control,
        )
        if result.outcome in _BROKEN:
            self._end()
        return observation

    def abort(self) -> None:
        """Kill the engine; from any thread."""
        with self._guard:
            self._aborted = True
            if self._engine is not None:
                self._engine.kill()

    def close(self) -> None:
        """End the engine and free what was opened."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        with self._guard:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()
