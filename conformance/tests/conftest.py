"""What the harness's own tests share: the image, real backends, a small case, a wrong kernel."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import conformance
from backends.backend import BUILT_IN, Backend, InstanceConfig, create_backend
from conformance.case.case import Case
from conformance.case.image import Image, default_image
from conformance.case.memory_map import MemoryMap, Region, RegionType
from conformance.case.program import Allocate, AllocateRun, Count, Dump, Free, Program
from conformance.engine.runner import Runner
from conformance.protocol import PROTOCOL

TESTS = Path(__file__).parent
# For broken_backend.py, here and in the processes that are started.
sys.path.insert(0, str(TESTS))


# A slow machine is not a failure.
settings.register_profile("no-clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no-clock")


@pytest.fixture(scope="session")
def image() -> Image:
    return default_image()


@pytest.fixture(scope="session")
def unicorn() -> Backend:
    return create_backend(InstanceConfig("unicorn", "unicorn"))


@pytest.fixture
def instance() -> Callable[..., Backend]:
    """A reference model of another name."""

    def make(name: str, **options: object) -> Backend:
        return create_backend(InstanceConfig(name, "unicorn", **options))  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def built_in() -> list[Backend]:
    """All three engines; where one is missing, only a developer's machine may pass over it."""
    backends = [create_backend(InstanceConfig(kind, kind)) for kind in BUILT_IN]
    for backend in backends:
        availability = backend.probe()
        if not availability.usable:
            reason = f"{backend.config.name}: {availability.reason}"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
    return backends


@pytest.fixture
def make_runner(image: Image) -> Iterator[Callable[..., Runner]]:
    """Runners that are closed in the end."""
    with contextlib.ExitStack() as stack:
        yield lambda *backends: stack.enter_context(Runner(backends, [image]))


@pytest.fixture(scope="session")
def small_case(image: Image) -> Case:
    """Two regions and five operations, one event of most kinds."""
    regions = (
        Region(0, 0x9FC00),
        Region(0x100000, 0x700000),
        Region(0xF0000, 0x10000, RegionType.RESERVED),
    )
    program = Program((Allocate(), AllocateRun(4, 4), Count(), Free(1), Dump()))
    return Case(image.id, memory_map=MemoryMap(regions), program=program)


@pytest.fixture(scope="session")
def wrong_image(image: Image) -> Image:
    """A kernel that keeps no frame 0 back: its `first_frame` is the empty range."""
    (symbol,) = (name for name in image.symbols if name.endswith("first_frameE"))
    address = image.physical(symbol)
    (segment,) = (each for each in image.segments if 0 <= address - each.address < len(each.data))
    # The segment's bytes, which come once in the file, with that range overwritten.
    assert image.kernel.count(segment.data) == 1
    at = image.kernel.index(segment.data) + address - segment.address
    assert struct.unpack_from("<QQ", image.kernel, at) == (0, PROTOCOL.constants["frame_size"])
    kernel = bytearray(image.kernel)
    struct.pack_into("<QQ", kernel, at, 0, 0)
    return Image(image.name, bytes(kernel), image.loader)


@pytest.fixture(scope="session")
def wrong_image_folder(wrong_image: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wrong") / "i686"
    folder.mkdir()
    (folder / "kernel.elf").write_bytes(wrong_image.kernel)
    (folder / "loader.elf").write_bytes(wrong_image.loader)
    return folder


@pytest.fixture(scope="session")
def faulty_binary(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program for the `binary` of a reference model, whose options are a fault and a number."""
    script = tmp_path_factory.mktemp("faulty") / "worker"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{TESTS}/faulty_worker.py" "$@"\n')
    script.chmod(0o755)
    return str(script)


def children_of(parent: int) -> set[int]:
    """The live processes that a process, or one of its descendants, has started."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # pid (name) state parent …; the name may hold anything.
                state, above = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    parents[int(entry.name)] = int(above)
    found: set[int] = set()
    while fresh := {each for each, above in parents.items() if above in found | {parent}} - found:
        found |= fresh
    return found


@pytest.fixture
def children() -> Callable[[], set[int]]:
    """The processes that a test has started and that still live."""
    before = children_of(os.getpid())
    return lambda: children_of(os.getpid()) - before


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment of a process that finds the package, installed or not, from any folder."""
    variables = dict(os.environ)
    for name in ("CI", "PYTHONPATH", "PYTEST_ADDOPTS", "COLUMNS"):
        variables.pop(name, None)
    try:
        importlib.metadata.version("conformance")
    except importlib.metadata.PackageNotFoundError:
        variables["PYTHONPATH"] = str(Path(conformance.__file__).resolve().parents[1])
    return variables
