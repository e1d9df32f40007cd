"""The contract as a third party uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backends.backend import InstanceConfig, create_backend

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

LYING = """
from dataclasses import replace

from backends.backend import InstanceConfig, create_backend
from backends.contract import BackendContract
from conformance.observe.observation import MachineFault

CHANGES = {
    "forgotten": lambda faults: faults[:-1],
    "invented": lambda faults: (*faults, MachineFault(6)),
    "vector": lambda faults: (*faults[:-1], replace(faults[-1], vector=7)),
    "error code": lambda faults: tuple(replace(each, error_code=1) for each in faults),
    "no error code": lambda faults: tuple(replace(each, error_code=0) for each in faults),
    "address": lambda faults: tuple(replace(each, cr2=each.cr2 and 1) for each in faults),
    "instruction": lambda faults: tuple(replace(each, eip=1) for each in faults),
}
REGISTERS = ("cr0", "cr2", "cr3", "cr4", "efer")

class Session:
    def __init__(self, inner, lie):
        self.inner, self.lie = inner, lie
        self.abort, self.close = inner.abort, inner.close

    def run(self, request):
        seen = self.inner.run(request)
        faults, control = seen.faults, seen.control
        if faults and self.lie in CHANGES:
            faults = CHANGES[self.lie](faults)
        if self.lie == "late":
            faults, self.last = getattr(self, "last", ()), faults
        if control and self.lie in REGISTERS:
            control = replace(control, **{self.lie: getattr(control, self.lie) ^ 1})
        return replace(seen, faults=faults, control=control)

class Backend:
    deterministic = True

    def __init__(self, config):
        self.config = config
        self.inner = create_backend(InstanceConfig(config.name, "qemu"))
        self.probe = self.inner.probe

    def open(self, image, machine):
        return Session(self.inner.open(image, machine), self.config.kind)

def contract(lie):
    class Contract(BackendContract):
        config = InstanceConfig("mine", lie)

        def create(self, config):
            return Backend(config)
    return Contract

for lie in ("truth", "late", *CHANGES, *REGISTERS):
    name = "Test" + lie.title().replace(" ", "")
    globals()[name] = contract(lie)
del lie, name
"""

_RECORD = "test_the_record_is_the_kernels[pentium3-legacy]"
_CONTROL = "test_the_control_registers_are_the_kernels[legacy]"
LIES = [
    ("Late", "test_each_case_gets_its_own_record"),
    *((lie, _RECORD) for lie in ("Forgotten", "Invented", "Vector")),
    *((lie, _RECORD) for lie in ("ErrorCode", "NoErrorCode", "Address", "Instruction")),
    ("Forgotten", "test_a_shutdown_enters_no_handler"),
    *((lie, _CONTROL) for lie in ("Cr0", "Cr2", "Cr3", "Cr4", "Efer")),
]


def run(folder: Path, code: str, *tests: str, **environment: str) -> tuple[int, str]:
    (folder / "test_mine.py").write_text(code)
    inherited = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-rA", "--tb=line", "-p", "no:cacheprovider"),
            *(f"test_mine.py::{test}" for test in tests),
        ],
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


@pytest.fixture(scope="module")
def lying(tmp_path_factory: pytest.TempPathFactory) -> str:
    if not create_backend(InstanceConfig("qemu", "qemu")).probe().usable:
        pytest.skip("qemu, on which the lying backend is built, is not usable here")
    tests = [f"Test{lie}::{test}" for lie, test in (("Truth", _RECORD), *LIES)]
    status, output = run(tmp_path_factory.mktemp("lying"), LYING, *tests)
    assert status == 1
    return output


@pytest.mark.parametrize(("lie", "test"), LIES)
def test_a_record_that_is_not_true_fails(lying: str, lie: str, test: str) -> None:
    assert f"FAILED test_mine.py::Test{lie}::{test}" in lying


def test_a_record_that_is_true_passes(lying: str) -> None:
    assert "FAILED test_mine.py::TestTruth" not in lying
    assert f"PASSED test_mine.py::TestTruth::{_RECORD}" in lying
