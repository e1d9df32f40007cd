"""The contract: tests that every backend passes, third-party ones too.

In a test file:

    from backends.contract import BackendContract

    class TestMyEngine(BackendContract):
        config = InstanceConfig("my-engine", "my-engine")

A backend that cannot be used here is skipped with its reason, or, where the environment says `CI`,
fails. The guests come from the image that the harness brings along, some of them bent by
`backends.hostile`. Each test also checks that nothing it opened is left behind.
"""

# ruff: noqa: D102 - a test is what its name says

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import ClassVar

import pytest

from backends import hostile
from backends.backend import Backend, InstanceConfig, Session, create_backend
from backends.contract_cases import (
    DAMAGES,
    GARBLINGS,
    HANGS,
    LARGE_MAP,
    LARGE_PROGRAM,
    MAPS,
    PARTIAL,
    PROGRAMS,
    faulting_request,
    hostile_request,
    machine_name,
    request_of,
    small_request,
    trace_room,
)
from backends.contract_record import RecordContract
from backends.leftovers import Belongings
from backends.process import TAIL
from conformance.case.image import default_image
from conformance.case.machine import Machine, every_machine
from conformance.case.memory_map import MemoryMap
from conformance.errors import BackendError
from conformance.observe.observation import Observation, Outcome
from conformance.observe.trace import UNDECODABLE, decode
from conformance.protocol import PROTOCOL

__all__ = ["BackendContract"]

_SHORT = 1.0  # seconds, for guests that hang
_LONG = 60.0  # seconds, that no test waits for
_SOON = 10.0  # seconds; what takes longer has not ended by itself


def _seen(observation: Observation) -> Observation:
    """What is compared: the console never is, and a command line names descriptors."""
    return replace(observation, console=b"", command=())


class BackendContract(RecordContract):
    """Subclass it as `class TestMyEngine(BackendContract)` and name the instance.

    A backend that is not registered is made by overriding `create`.
    """

    config: ClassVar[InstanceConfig]

    def create(self, config: InstanceConfig) -> Backend:
        """The backend of a configuration; the contract asks for several, with other deadlines."""
        return create_backend(config)

    @pytest.fixture
    def backend(self) -> Backend:
        """The backend, if it can be used here."""
        backend = self.create(self.config)
        availability = backend.probe()
        if not availability.usable:
            message = f"{self.config.name}: {availability.reason}; {availability.remedy}"
            if os.environ.get("CI"):
                pytest.fail(message)
            pytest.skip(message)
        return backend

    @pytest.fixture
    def session(self, backend: Backend) -> Iterator[Session]:
        """A session on the harness's image."""
        with contextlib.closing(backend.open(default_image(), Machine())) as session:
            yield session

    @pytest.fixture(autouse=True)
    def _nothing_left(self) -> Iterator[None]:
        before = Belongings.now()
        yield
        assert Belongings.now().beyond(before) == Belongings()

    @contextlib.contextmanager
    def opened(self, code: bytes, deadline: float = _SHORT) -> Iterator[Session]:
        """A session on an image with hostile code."""
        backend = self.create(replace(self.config, deadline=deadline))
        image = hostile.hostile_image(default_image(), code)
        with contextlib.closing(backend.open(image, Machine())) as session:
            yield session

    def test_probe_tells_the_version_or_the_reason(self) -> None:
        backend = self.create(self.config)
        availability = backend.probe()
        if availability.usable:
            assert availability.version
        else:
            assert availability.reason
            assert availability.remedy
        assert backend.probe() == availability

    def test_it_is_a_backend(self, backend: Backend, session: Session) -> None:
        assert isinstance(backend, Backend)
        assert isinstance(session, Session)
        assert backend.config == self.config
        assert isinstance(backend.deterministic, bool)

    @pytest.mark.parametrize("machine", every_machine(), ids=machine_name)
    def test_every_machine_completes(self, backend: Backend, machine: Machine) -> None:
        machine, image = replace(machine, ram_mib=64), default_image(machine.architecture)
        with contextlib.closing(backend.open(image, machine)) as session:
            observation = session.run(request_of(paging=machine.paging))
        assert (observation.outcome, observation.detail) == (Outcome.COMPLETED, "")
        assert observation.backend == self.config.name
        assert decode(observation.trace)[-1].kind == "completed"

    def test_each_case_gets_its_own_result(self, session: Session) -> None:
        for memory_map, program in [*zip(MAPS, PROGRAMS, strict=True)] * 3:
            trace = session.run(request_of(memory_map, program)).trace
            events = decode(trace)
            regions = () if memory_map is None else memory_map.regions
            bases = [event.fields["base"] for event in events if event.kind == "region"]
            assert bases == [region.base for region in regions]
            if memory_map is not None:
                assert dict(events[-1].fields) == {"operations": len(program.operations)}

    def test_a_large_case(self, session: Session) -> None:
        events = decode(session.run(request_of(LARGE_MAP, LARGE_PROGRAM)).trace)
        kinds = [event.kind for event in events]
        assert kinds.count("region") == len(LARGE_MAP.regions)
        assert kinds.count("allocated") + kinds.count("allocation_failed") == len(
            LARGE_PROGRAM.operations
        )
        assert kinds[-1] == "completed"

    def test_the_same_request_gives_the_same_observation(self, backend: Backend) -> None:
        if not backend.deterministic:
            pytest.skip(f"{self.config.name} says that it is not deterministic")
        seen = []
        for _ in range(2):
            with contextlib.closing(backend.open(default_image(), Machine())) as session:
                seen += [session.run(small_request()) for _ in range(5)]
                for memory_map, program in zip(MAPS, PROGRAMS, strict=True):
                    session.run(request_of(memory_map, program))
                    session.run(faulting_request("legacy"))
                    seen.append(session.run(small_request()))
        assert {*map(_seen, seen)} == {_seen(seen[0])}

    def test_sessions_do_not_disturb_each_other(self, backend: Backend) -> None:
        image, machine = default_image(), Machine()
        requests = [
            request_of(memory_map, program)
            for memory_map, program in zip(MAPS, PROGRAMS, strict=True)
        ]
        with contextlib.closing(backend.open(image, machine)) as one:
            alone = [_seen(one.run(request)) for request in requests]
            with contextlib.closing(backend.open(image, machine)) as other:
                both = [
                    (_seen(one.run(request)), _seen(other.run(reverse)))
                    for request, reverse in zip(requests, reversed(requests), strict=True)
                ]
                other.abort()
            assert _seen(one.run(requests[0])) == alone[0]
        assert both == [*zip(alone, reversed(alone), strict=True)]

    def test_sessions_run_in_threads(self, backend: Backend) -> None:
        def work(_: int) -> list[Observation]:
            with contextlib.closing(backend.open(default_image(), Machine())) as session:
                return [_seen(session.run(small_request())) for _ in range(5)]

        with ThreadPoolExecutor(2) as executor:
            first, second = executor.map(work, range(2))
        assert first == second
        assert first[0].outcome is Outcome.COMPLETED

    def test_damaged_payloads_are_refused(self, session: Session) -> None:
        good = small_request()
        before = session.run(good)
        for name, damage in DAMAGES.items():
            refused = session.run(replace(good, payload=damage(good.payload)))
            assert (name, refused.outcome) == (name, Outcome.REFUSED)
            assert refused.detail
            assert (refused.trace, refused.state) == (b"", ())
            assert _seen(session.run(good)) == _seen(before)

    def test_a_panic(self, session: Session) -> None:
        observation = session.run(request_of(MemoryMap()))
        assert observation.outcome is Outcome.PANICKED
        last = decode(observation.trace)[-1]
        assert (last.kind, last.show("reason")) == ("panic", "no_usable_frame")
        assert observation.state == ()
        assert session.run(small_request()).outcome is Outcome.COMPLETED

    def test_the_state_is_what_the_kernel_says(self, session: Session) -> None:
        observation = session.run(small_request())
        inside = [
            (event.show("region"), event.fields["words"], event.fields["checksum"])
            for event in decode(observation.trace)
            if event.kind == "state"
        ]
        outside = [(digest.region, digest.words, digest.checksum) for digest in observation.state]
        assert outside == inside
        assert [name for name, *_ in outside] == [*PROTOCOL.state_regions]

    @pytest.mark.parametrize("names", [(), ("frame_owned",)])
    def test_only_the_state_that_was_asked_for(
        self, session: Session, names: tuple[str, ...]
    ) -> None:
        regions = tuple(PROTOCOL.state_regions[name] for name in names)
        observation = session.run(replace(small_request(), state_regions=regions))
        assert tuple(digest.region for digest in observation.state) == names

    @pytest.mark.usefixtures("backend")
    @pytest.mark.parametrize("hang", HANGS)
    def test_a_hang_ends_at_the_deadline(self, hang: str) -> None:
        trace = hostile.store_trace(default_image(), PARTIAL, status="running")
        with self.opened(trace + HANGS[hang]) as session:
            before = session.run(small_request())
            start = time.monotonic()
            hung = session.run(hostile_request())
            assert time.monotonic() - start < _SHORT + _SOON
            assert hung.outcome is Outcome.DEADLINE
            assert hung.detail
            assert hung.trace == PARTIAL
            assert len(hung.console) <= TAIL
            assert before.outcome is Outcome.COMPLETED
            assert _seen(session.run(small_request())) == _seen(before)

    @pytest.mark.usefixtures("backend")
    def test_a_talkative_guest(self) -> None:
        """It prints more than anything on the way buffers, and then ends well."""
        code = hostile.print_bytes(100_000) + hostile.store_trace(default_image(), PARTIAL)
        with self.opened(code + hostile.end_run(), _SOON) as session:
            before = session.run(small_request())
            observation = session.run(hostile_request())
            assert (observation.outcome, observation.trace) == (Outcome.COMPLETED, PARTIAL)
            assert len(observation.console) <= TAIL
            assert _seen(session.run(small_request())) == _seen(before)

    @pytest.mark.usefixtures("backend")
    def test_abort_ends_a_hang(self) -> None:
        with self.opened(hostile.SPIN, _LONG) as session:
            before = session.run(small_request())
            timer = threading.Timer(0.3, session.abort)
            start = time.monotonic()
            timer.start()
            hung = session.run(hostile_request())
            timer.join()
            assert time.monotonic() - start < _SOON
            assert hung.outcome is Outcome.BACKEND_CRASHED
            assert _seen(session.run(small_request())) == _seen(before)

    def test_abort_between_runs(self, session: Session) -> None:
        session.abort()
        session.run(small_request())
        assert session.run(small_request()).outcome is Outcome.COMPLETED

    @pytest.mark.usefixtures("backend")
    def test_a_triple_fault(self) -> None:
        trace = hostile.store_trace(default_image(), PARTIAL, status="running")
        with self.opened(trace + hostile.UNDEFINED_INSTRUCTION) as session:
            before = session.run(small_request())
            for _ in range(2):
                fault = session.run(hostile_request())
                assert fault.outcome is Outcome.TRIPLE_FAULT
                assert fault.trace == PARTIAL
                assert fault.faults in (None, ())
            assert _seen(session.run(small_request())) == _seen(before)

    @pytest.mark.usefixtures("backend")
    @pytest.mark.parametrize("garbling", GARBLINGS)
    def test_a_garbled_end(self, garbling: str) -> None:
        code = GARBLINGS[garbling](default_image()) + hostile.end_run()
        with self.opened(code) as session:
            before = session.run(small_request())
            garbled = session.run(hostile_request())
            assert garbled.outcome is Outcome.GARBLED
            assert garbled.detail
            assert garbled.state == ()
            assert _seen(session.run(small_request())) == _seen(before)

    @pytest.mark.usefixtures("backend")
    def test_a_trace_of_garbage(self) -> None:
        room = trace_room(default_image())
        code = hostile.store_trace(default_image(), PARTIAL + b"\xff" * 64, written=room)
        with self.opened(code + hostile.end_run()) as session:
            before = session.run(small_request())
            observation = session.run(hostile_request())
            assert observation.outcome is Outcome.COMPLETED
            assert len(observation.trace) == room
            assert observation.trace.startswith(PARTIAL + b"\xff" * 64)
            assert [event.kind for event in decode(observation.trace)] == ["completed", UNDECODABLE]
            assert _seen(session.run(small_request())) == _seen(before)

    def test_a_closed_session_says_so(self, backend: Backend) -> None:
        session = backend.open(default_image(), Machine())
        session.run(small_request())
        session.close()
        session.close()
        session.abort()
        with pytest.raises(BackendError):
            session.run(small_request())

    def test_close_leaves_nothing(self, backend: Backend) -> None:
        before = Belongings.now()
        session = backend.open(default_image(), Machine())
        session.run(small_request())
        session.close()
        assert Belongings.now().beyond(before) == Belongings()
