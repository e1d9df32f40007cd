"""The runner: the one place where cases, backends, oracle and judge meet."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from backends.backend import Backend, Request
from conformance.case.case import Case
from conformance.case.image import Image
from conformance.case.payload import encode_payload
from conformance.engine.lane import BackendStatistics, Lane
from conformance.errors import BackendError, InvalidArgument
from conformance.judge.known import KnownDivergences, Recognised, judge_with_known
from conformance.judge.verdict import Status, Verdict
from conformance.observe.observation import Observation
from conformance.observe.trace import Event
from conformance.oracle.expect import expect
from conformance.oracle.expectation import Expectation
from conformance.oracle.frames import frame_extent
from conformance.protocol import PROTOCOL
from conformance.report.symbols import Symbols

__all__ = ["PendingResult", "Result", "Runner"]

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


def _predict(case: Case, image: Image, witness: Sequence[Event]) -> Expectation:
    return expect(case, image, witness)


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
        self._lanes = [Lane(backend) for backend in backends]
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
                for lane, observation in zip(self._lanes, observations, strict=True):
                    lane.statistics.count(case, observation)
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
