"""The session's own part: engines that come and go beneath it, and calls from other threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from backends.backend import Request
from backends.contract_cases import small_request
from backends.guest import Result
from backends.session import RestartingSession
from conformance.errors import BackendError
from conformance.observe.observation import ControlRegisters, MachineFault, Observation, Outcome

FAULTS = (MachineFault(14, 2, 0x1000, 0xC0101234),)
CONTROL = ControlRegisters(0x80010001, 0x1000, 0x1A3000, 0)
BROKEN = {Outcome.DEADLINE, Outcome.BACKEND_CRASHED, Outcome.GARBLED}


class EngineStub:
    """An engine whose runs end as they are told, or crash once it was killed."""

    def __init__(self, number: int, outcomes: list[Outcome]) -> None:
        self.command = ("engine", str(number))
        self.console = bytearray(b"printed")
        self.outcomes = outcomes
        self.calls: list[str] = []

    def serve(self, request: Request) -> Result:
        self.calls.append("serve")
        killed = "kill" in self.calls
        outcome = Outcome.BACKEND_CRASHED if killed else self.outcomes.pop(0)
        return Result(outcome, "why", b"trace", (), FAULTS, CONTROL)

    def kill(self) -> None:
        assert "close" not in self.calls, "killed what is reaped"
        self.calls.append("kill")

    def close(self) -> None:
        self.calls.append("close")


class Launcher:
    """Launches engines, and remembers them."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = [*outcomes]
        self.engines: list[EngineStub] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.error: BackendError | None = None

    def __call__(self) -> EngineStub:
        if self.error is not None:
            raise self.error
        self.engines.append(EngineStub(len(self.engines), self.outcomes))
        self.meanwhile()
        return self.engines[-1]


def test_an_observation_has_it_all() -> None:
    session = RestartingSession("mine", Launcher(Outcome.PANICKED))
    assert session.run(small_request()) == Observation(
        "mine",
        Outcome.PANICKED,
        "why",
        b"trace",
        console=b"printed",
        command=("engine", "0"),
        faults=FAULTS,
        control=CONTROL,
    )


@pytest.mark.parametrize("outcome", [*Outcome])
def test_only_a_broken_engine_is_replaced(outcome: Outcome) -> None:
    launcher = Launcher(outcome, Outcome.COMPLETED)
    session = RestartingSession("mine", launcher)
    assert session.run(small_request()).outcome is outcome
    assert ("close" in launcher.engines[0].calls) == (outcome in BROKEN)
    assert session.run(small_request()).outcome is Outcome.COMPLETED
    assert len(launcher.engines) == (2 if outcome in BROKEN else 1)


def test_an_engine_that_does_not_start_again() -> None:
    launcher = Launcher(Outcome.DEADLINE, Outcome.COMPLETED)
    session = RestartingSession("mine", launcher)
    session.run(small_request())
    launcher.error = BackendError("no more", command=("engine", "x"), output=b"words")
    crashed = session.run(small_request())
    assert crashed == Observation(
        "mine", Outcome.BACKEND_CRASHED, "no more", console=b"words", command=("engine", "x")
    )
    launcher.error = None
    assert session.run(small_request()).outcome is Outcome.COMPLETED


def test_the_first_engine_has_to_start() -> None:
    launcher = Launcher()
    launcher.error = BackendError("never")
    with pytest.raises(BackendError, match="never"):
        RestartingSession("mine", launcher)


def test_an_unfit_payload_never_reaches_the_engine() -> None:
    launcher = Launcher(Outcome.COMPLETED)
    session = RestartingSession("mine", launcher)
    refused = session.run(replace(small_request(), payload=b"short"))
    assert refused.outcome is Outcome.REFUSED
    assert "5 bytes" in refused.detail
    assert launcher.engines[0].calls == []


def test_a_closed_session() -> None:
    launcher = Launcher()
    session = RestartingSession("mine", launcher)
    session.close()
    session.close()
    session.abort()
    assert launcher.engines[0].calls == ["close"]
    with pytest.raises(BackendError, match=r"mine: run\(\) on a closed session"):
        session.run(small_request())


def test_an_abort_while_the_engine_starts_is_not_lost() -> None:
    launcher = Launcher(Outcome.DEADLINE, Outcome.COMPLETED)
    session = RestartingSession("mine", launcher)
    session.run(small_request())
    launcher.meanwhile = session.abort
    assert session.run(small_request()).outcome is Outcome.BACKEND_CRASHED
    launcher.meanwhile = lambda: None
    assert session.run(small_request()).outcome is Outcome.COMPLETED


def test_an_abort_is_not_remembered() -> None:
    """It is for the case in progress, not for the first one after it."""
    launcher = Launcher(Outcome.DEADLINE, Outcome.COMPLETED)
    session = RestartingSession("mine", launcher)
    session.run(small_request())
    session.abort()  # there is no engine at the moment
    assert session.run(small_request()).outcome is Outcome.COMPLETED
