"""Running the command line as a user does: as a process, in a folder of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from conformance.case.image import IMAGES
from conformance.case.map_file import NamedMap, dump_map
from conformance.case.memory_map import MemoryMap, Region
from conformance.resources import resource


@dataclass(frozen=True)
class Done:
    """What a command printed, and its exit status."""

    status: int
    output: str
    errors: str

    @property
    def complaint(self) -> str:
        """The one line of an error that the user has caused."""
        assert self.status == 2, self
        (line,) = self.errors.splitlines()
        assert line.startswith("conformance: ")
        return line.removeprefix("conformance: ")


Command = Callable[..., Done]


def command_line(*words: object) -> list[str]:
    return [sys.executable, "-P", "-m", "conformance.cli", *map(str, words)]


def run_command(environment: dict[str, str], folder: Path, *words: object) -> Done:
    """`conformance WORDS…` in a folder."""
    done = subprocess.run(
        command_line(*words),
        cwd=folder,
        env={"XDG_CACHE_HOME": str(folder / "cache")} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def conformance(environment: dict[str, str], tmp_path: Path) -> Command:
    """`conformance WORDS…` in an empty folder, with more in its environment."""

    def run(*words: object, cwd: Path = tmp_path, **variables: str) -> Done:
        return run_command(environment | variables, cwd, *words)

    return run


SMALL = NamedMap(
    "small", "", "", "test", MemoryMap((Region(0, 0x9FC00), Region(0x100000, 0x700000)))
)


@pytest.fixture
def map_file(tmp_path: Path) -> Path:
    """A map with two regions; a run on it is short."""
    path = tmp_path / "small.toml"
    path.write_text(dump_map(SMALL))
    return path


@pytest.fixture(scope="session")
def divergence(
    environment: dict[str, str], wrong_image_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The text of the one file that a run on a wrong kernel has left."""
    folder = tmp_path_factory.mktemp("divergence")
    (folder / "small.toml").write_text(dump_map(SMALL))
    words = (
        "--suite",
        "frames",
        "--backend",
        "unicorn",
        "--map",
        "small.toml",
        "--cases",
        1,
        "--seed",
        7,
    )
    done = run_command(environment, folder, "run", *words, "--image", wrong_image_folder)
    assert done.status == 1, done
    (path,) = (folder / "conformance-results" / "divergences").iterdir()
    return path.read_text()


@pytest.fixture
def found(divergence: str, tmp_path: Path) -> Path:
    """The one file of a run that has diverged, in a folder with nothing else."""
    path = tmp_path / "mail-attachment.json"
    path.write_text(divergence)
    return path


@pytest.fixture(scope="session")
def total_of_one() -> int:
    """How many cases a run of one image on one map with three generated cases has: the regressions
    as well.
    """
    return len(list(resource("fixtures/regressions").glob("*.json"))) + 1 + 1 + 3


@pytest.fixture(scope="session")
def total(total_of_one: int) -> int:
    """How many such a run of the harness's own images has."""
    return total_of_one * len(IMAGES)


@pytest.fixture
def model(map_file: Path) -> tuple[object, ...]:
    """Words for a short run on the reference model."""
    return (
        "--suite",
        "frames",
        "--backend",
        "unicorn",
        "--map",
        map_file,
        "--cases",
        3,
        "--seed",
        7,
    )
