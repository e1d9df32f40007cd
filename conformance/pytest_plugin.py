"""The pytest plugin: options, fixtures and the decorator for differential tests.

A differential test in another project:

    from conformance import cases, differential, memory_maps

    @differential(cases(memory_maps=memory_maps(max_regions=4)))
    def test_small_maps(result):
        assert result.observations[0].trace, "the kernel said nothing"

It is run as `pytest --backend qemu --backend bochs`. Every case is run on all backends; where they
or the oracle differ, the test fails with the smallest case that shows it. The body may demand more.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from conformance.case.case import Case
    from conformance.case.image import Image, ImageId
    from conformance.config import Config
    from conformance.engine.causes import Check
    from conformance.engine.finding import Finding
    from conformance.engine.harness import Harness, Listener
    from conformance.engine.runner import Result
    from conformance.engine.setup import Probed
    from conformance.judge.known import KnownDivergence

# A backend's author sees what a contract test compared.
pytest.register_assert_rewrite("backends.contract")

__all__ = ["DifferentialTest", "RunState", "differential"]

_DEFAULT_CASES = 100


@dataclass
class RunState:
    """What one pytest session has of the harness; made when the first test asks for it.

    Attributes:
        config: pytest's.
        listener: is told about progress.
        harness: None until a test asks for it.
        usable: the backends it runs on.
        images: the kernel images.
    """

    config: pytest.Config
    listener: Listener | None = None
    harness: Harness | None = None
    usable: tuple[Probed, ...] = ()
    images: tuple[Image, ...] = ()

    def get(self) -> Harness:
        """The harness.

        Raises:
            ConformanceError: it cannot be set up.
        """
        if self.harness is None:
            from conformance.engine.setup import build_harness, choose_images

            option = self.config.getoption
            folder = option("conformance_image")
            self.images = choose_images(None if folder is None else Path(folder))
            seed, out = option("conformance_seed"), option("conformance_out")
            self.harness, usable = build_harness(
                self._settings(),
                names=option("conformance_backends") or (),
                images=self.images,
                seed=secrets.randbits(32) if seed is None else seed,
                cases=option("conformance_cases"),
                folder=None if out is None else Path(out),
                listener=self.listener,
                known=not option("conformance_no_known"),
            )
            self.usable = tuple(usable)
        return self.harness

    def image_id(self, architecture: str) -> ImageId:
        """The image for an architecture; skips the test where this run has none."""
        for image in self.images:
            if image.architecture == architecture:
                return image.id
        names = ", ".join(image.name for image in self.images)
        pytest.skip(f"no image for {architecture} in this run; there is {names}")

    def known_entries(self) -> tuple[KnownDivergence, ...]:
        """The known divergences, whether or not they count.

        Raises:
            ConformanceError: a list of them is malformed.
        """
        from conformance.engine.setup import known_entries

        return known_entries(self._settings())

    def _settings(self) -> Config:
        from conformance.config import load_config

        file = self.config.getoption("conformance_config")
        return load_config(None if file is None else Path(file), folder=self.config.rootpath)


_STATE = pytest.StashKey[RunState]()


class DifferentialTest:
    """What a test gets to run cases with: the fixture `differential_test`."""

    def __init__(
        self, harness: Harness, suite: str, name: str, properties: list[tuple[str, object]]
    ) -> None:
        self.harness = harness
        self.suite = suite
        self.name = name
        self._properties = properties

    def check(self, case: Case, check: Check | None = None) -> Result:
        """Run one case; fail where it diverges, unless in a way that is known."""
        with self._noting_known():
            result = self.harness.check(case, suite=self.suite, what=self.name, check=check)
        if not result.passes:
            from conformance.engine.causes import causes_of

            _fail([self.harness.findings[each] for each in causes_of(result.verdict)])
        return result

    def explore(
        self, strategy: SearchStrategy[Case], check: Check | None = None, cases: int | None = None
    ) -> None:
        """Run generated cases; fail where one diverges, unless in a way that is known."""
        with self._noting_known():
            findings = self.harness.explore(
                strategy, suite=self.suite, what=self.name, check=check, cases=cases
            )
        if findings:
            _fail(findings)

    def check_known(self, divergence: KnownDivergence, image: ImageId) -> None:
        """Run the case of a known divergence; fail where it no longer shows up.

        Skips where no backend of the run should show it.
        """
        from conformance.engine.finding import load_record

        if not self.harness.runner.known.applicable(divergence):
            pytest.skip(f"no {divergence.kind} {divergence.versions} in this run")
        case = replace(load_record(divergence.case).case, image=image)
        with self._noting_known():
            complaint = self.harness.check_known(divergence, case, suite=self.suite)
        if complaint:
            pytest.fail(complaint, pytrace=False)

    @contextlib.contextmanager
    def _noting_known(self) -> Iterator[None]:
        """The known divergences that are seen become properties of the test's report."""
        before = self.harness.known_counts.copy()
        try:
            yield
        finally:
            for known, count in (self.harness.known_counts - before).items():
                self._properties.append((f"known {known.signature}", f"{count}: {known.sentence}"))


def differential(
    strategy: SearchStrategy[Case], *, cases: int | None = None
) -> Callable[[Callable[[Result], object]], Callable[[DifferentialTest], None]]:
    """Turn a function of a Result into a test over generated cases.

    Args:
        strategy: where the cases come from.
        cases: how many; by default what `--cases` says.
    """

    def decorate(check: Callable[[Result], object]) -> Callable[[DifferentialTest], None]:
        def test(differential_test: DifferentialTest) -> None:
            differential_test.explore(strategy, check, cases)

        test.__name__ = check.__name__
        test.__qualname__ = check.__qualname__
        test.__doc__ = check.__doc__
        test.__module__ = check.__module__
        return test

    return decorate


def _fail(findings: list[Finding]) -> None:
    from conformance.report.finding_text import describe

    pytest.fail("\n\n".join(describe(finding) for finding in findings), pytrace=False)


@pytest.fixture(scope="session")
def conformance_harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """The harness that all tests of a session share."""
    from conformance.errors import ConformanceError

    state = request.config.stash[_STATE]
    try:
        harness = state.get()
    except ConformanceError as error:
        pytest.exit(str(error), returncode=2)
    with contextlib.closing(harness.runner):
        yield harness


@pytest.fixture(scope="session")
def image_id(request: pytest.FixtureRequest, conformance_harness: Harness) -> ImageId:
    """The kernel image of this run; of several, the first."""
    return request.config.stash[_STATE].images[0].id


@pytest.fixture
def differential_test(
    request: pytest.FixtureRequest, conformance_harness: Harness
) -> DifferentialTest:
    """Runs cases on all backends and judges them."""
    suite = request.path.stem.removeprefix("test_").replace("_", "-")
    properties = request.node.user_properties
    return DifferentialTest(conformance_harness, suite, request.node.name, properties)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the harness's options."""
    group = parser.getgroup("conformance", "differential conformance tests")

    def add(flag: str, destination: str, **attributes: Any) -> None:
        group.addoption(flag, dest=f"conformance_{destination}", **attributes)

    add(
        "--backend",
        "backends",
        action="append",
        metavar="NAME",
        help="backend instance to run on; may be given again (default: all that are usable)",
    )
    add(
        "--cases",
        "cases",
        type=int,
        default=_DEFAULT_CASES,
        metavar="N",
        help=f"generated cases in each differential test (default: {_DEFAULT_CASES})",
    )
    add("--conformance-seed", "seed", type=int, metavar="S", help="seed of the generation")
    add("--conformance-config", "config", metavar="FILE", help="configuration file")
    add("--conformance-image", "image", metavar="DIR", help="folder of another kernel image")
    add("--conformance-json", "json", metavar="FILE", help="write the JSON result here")
    add(
        "--conformance-no-known",
        "no_known",
        action="store_true",
        help="treat known divergences as new",
    )
    add("--conformance-out", "out", metavar="DIR", help="write divergences here")
    add(
        "--conformance-map",
        "maps",
        action="append",
        metavar="FILE",
        help="memory map to use instead of the fixtures and the generated ones",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make room for the session's state."""
    if config.getoption("conformance_cases") < 1:
        raise pytest.UsageError(f"--cases {config.getoption('conformance_cases')}: at least 1")
    for name in ("conformance_json", "conformance_out"):
        _check_writable(config.getoption(name))
    config.stash[_STATE] = RunState(config)


def _check_writable(target: str | None) -> None:
    if target is None:
        return
    from conformance.engine.files import check_writable
    from conformance.errors import InvalidArgument

    try:
        check_writable(Path(target))
    except InvalidArgument as error:
        raise pytest.UsageError(str(error)) from error


def run_state(config: pytest.Config) -> RunState:
    """The state of a session; for the command line, which reports in its own way."""
    return config.stash[_STATE]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the JSON result."""
    state = session.config.stash[_STATE]
    target = session.config.getoption("conformance_json")
    if target is not None and state.harness is not None:
        from conformance.engine.files import write_atomically
        from conformance.report.json_result import dump_result

        text = dump_result(state.harness, state.usable, state.images)
        write_atomically(Path(target), text)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say which backends were asked for."""
    names = config.getoption("conformance_backends")
    return f"conformance: backends {', '.join(names)}" if names else None


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what was run, and with which seed."""
    state = config.stash[_STATE]
    if state.harness is None:
        return
    from conformance.report.finding_text import summary

    terminalreporter.section("conformance")
    for line in summary(state.harness):
        terminalreporter.write_line(line)
