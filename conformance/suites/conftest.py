"""What the suites share: the images and the memory maps they run on."""

from __future__ import annotations

from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from conformance.case.case import Case
from conformance.case.codec import load_case
from conformance.case.fixtures import load_fixture, map_names
from conformance.case.image import IMAGES, ImageId
from conformance.case.importers import import_map
from conformance.case.memory_map import MemoryMap
from conformance.engine.finding import load_record
from conformance.engine.harness import Harness
from conformance.errors import ConformanceError
from conformance.pytest_plugin import run_state
from conformance.resources import resource
from conformance.suites.directed import machine_in


def _given(config: pytest.Config) -> dict[str, MemoryMap]:
    paths = [Path(name) for name in config.getoption("conformance_maps") or ()]
    return {path.name: import_map(path) for path in paths}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with `architecture` runs on every image; one with `named_map` on every fixture, or on
    the maps that were given.
    """
    if "architecture" in metafunc.fixturenames:
        metafunc.parametrize("architecture", IMAGES)
    if "named_map" in metafunc.fixturenames:
        given = _given(metafunc.config)
        maps = given or {name: load_fixture(name).memory_map for name in map_names()}
        metafunc.parametrize("named_map", maps.values(), ids=maps.keys())
    if "regression" in metafunc.fixturenames:
        files = sorted(resource("fixtures/regressions").glob("*.json"))
        metafunc.parametrize("regression", files, ids=[file.stem for file in files], indirect=True)
    if "known_divergence" in metafunc.fixturenames:
        metafunc.parametrize("known_divergence", _known(metafunc.config))


def _known(config: pytest.Config) -> list[ParameterSet]:
    """The known divergences to replay; a run that has to find them by itself replays none."""
    try:
        entries = run_state(config).known_entries()
    except ConformanceError:
        # The harness cannot be set up with such a list, and says why as soon as it is asked.
        return [pytest.param(None, id="malformed")]
    no_known = config.getoption("conformance_no_known")
    if no_known or not entries:
        why = "--no-known" if no_known else "there are no known divergences"
        return [pytest.param(None, marks=pytest.mark.skip(reason=why), id="none")]
    return [pytest.param(each, id=each.name) for each in entries]


@pytest.fixture
def image_id(request: pytest.FixtureRequest, conformance_harness: Harness) -> ImageId:
    """The image for what the test is about; for i686 where it does not say."""
    assert conformance_harness.runner  # it has been set up, and with it the images
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    architecture = parameters.get("architecture")
    machine = machine_in(parameters)
    if machine is not None:
        architecture = machine.architecture
    if parameters.get("known_divergence") is not None:
        architecture = load_record(parameters["known_divergence"].case).case.image.architecture
    return run_state(request.config).image_id(architecture or IMAGES[0])


@pytest.fixture
def regression(request: pytest.FixtureRequest) -> Case:
    """A case that once diverged, on the image of its time."""
    return load_case(request.param.read_bytes(), source=str(request.param))


@pytest.fixture(scope="session")
def given_maps(request: pytest.FixtureRequest) -> tuple[MemoryMap, ...]:
    """The maps that were given on the command line; none for the generated ones."""
    return tuple(_given(request.config).values())
