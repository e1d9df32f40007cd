"""The contract as a third party uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MISSING = """
from backends.backend import InstanceConfig
from backends.contract import BackendContract

class TestMine(BackendContract):
    config = InstanceConfig("mine", "qemu", binary="no-such-qemu")
"""

FORGETFUL = """
from dataclasses import replace

from backends.backend import Availability, InstanceConfig
from backends.contract import BackendContract
from backends.contract_cases import small_request
from conformance.errors import BackendError
from conformance.observe.observation import Observation, Outcome

class Session:
    runs = 0
    closed = False

    def run(self, request):
        self.runs += 1
        return Observation("mine", Outcome.COMPLETED, trace=bytes([self.runs]))

    def abort(self): ...
    def close(self): ...

class Backend:
    deterministic = True

    def __init__(self, config):
        self.config = config

    def probe(self):
        return Availability(True, version="1")

    def open(self, image, machine):
        return Session()

class TestMine(BackendContract):
    config = InstanceConfig("mine", "not-registered")

    def create(self, config):
        return Backend(config)
"""


def run(folder: Path, code: str, **environment: str) -> tuple[int, str]:
    (folder / "test_mine.py").write_text(code)
    inherited = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "--tb=line", "-p", "no:cacheprovider", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env=inherited | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment,
    )
    return done.returncode, done.stdout


def test_a_missing_engine_is_a_skip_with_its_reason(tmp_path: Path) -> None:
    status, output = run(tmp_path, MISSING)
    assert status == 0
    assert "1 passed" in output  # probe() has to work everywhere
    assert "mine: no-such-qemu not found; apt-get install qemu-system-x86" in output


def test_a_missing_engine_fails_under_ci(tmp_path: Path) -> None:
    status, output = run(tmp_path, MISSING, CI="1")
    assert status == 1
    assert "mine: no-such-qemu not found" in output
    assert "skipped" not in output


@pytest.mark.parametrize(
    "test",
    [
        "test_the_same_request_gives_the_same_observation",
        "test_the_state_is_what_the_kernel_says",
        "test_a_panic",
        "test_a_triple_fault",
        "test_abort_ends_a_hang",
        "test_a_closed_session_says_so",
        "test_damaged_payloads_are_refused",
        "test_a_hang_ends_at_the_deadline[spinning]",
        "test_a_garbled_end[no trace]",
    ],
)
def test_a_backend_that_only_pretends_fails(forgetful: str, test: str) -> None:
    assert f"FAILED test_mine.py::TestMine::{test}" in forgetful


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> str:
    status, output = run(tmp_path_factory.mktemp("forgetful"), FORGETFUL)
    assert status == 1
    return output
