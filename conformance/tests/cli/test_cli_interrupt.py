"""Ended in the middle: what was found is on disk, and no emulator stays behind."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from backends.process import tie_to_parent
from conformance.case.case import Case
from conformance.case.codec import dump_case

Words = tuple[object, ...]
Start = Callable[..., "Running"]


class Running:
    """`conformance run`, up to the line that says what one waits for."""

    def __init__(self, process: subprocess.Popen[str], children: Callable[[], set[int]]) -> None:
        self.process = process
        self._children = children

    def read_until(self, words: str) -> str:
        assert self.process.stdout is not None
        line = next((each for each in self.process.stdout if words in each), None)
        assert line is not None, f"it ended without saying {words!r}: {self._errors()}"
        return line

    def emulators(self) -> set[int]:
        return self._children() - {self.process.pid}

    def await_emulators(self, count: int) -> set[int]:
        while len(self.emulators()) < count:
            with pytest.raises(subprocess.TimeoutExpired):  # it is at work
                self.process.wait(timeout=0.02)
        return self.emulators()

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """The exit status and what was said on the error stream."""
        self.process.send_signal(number)
        status = self.process.wait(timeout=20)
        return status, self._errors()

    def _errors(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()


def close(*streams: IO[str] | None) -> None:
    for stream in streams:
        if stream is not None:
            stream.close()


def prepare() -> None:
    """In the child, before it becomes the command line."""
    tie_to_parent(os.getppid())  # or an endless run would outlive a test that is killed
    # Whoever runs the tests may have it ignored: then Ctrl-C would do nothing.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def await_end(pid: int) -> None:
    """Wait until a process that is no child of ours is gone; poll() of its descriptor tells."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            ready, _, _ = select.select([descriptor], [], [], 20)
            assert ready, f"process {pid} lives on"
        finally:
            os.close(descriptor)


@pytest.fixture
def start(
    environment: dict[str, str], tmp_path: Path, children: Callable[[], set[int]]
) -> Iterator[Start]:
    running: list[Running] = []

    def make(*words: object) -> Running:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "conformance.cli", *map(str, words)],
            cwd=tmp_path,
            env=environment | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=prepare,
        )
        running.append(Running(process, children))
        return running[-1]

    yield make
    for each in running:
        each.process.kill()
        each.process.wait()
        close(each.process.stdout, each.process.stderr)


# More than is ever run here, but not endless: a test that fails comes to an end.
LONG = ("--cases", 3000, "--seed", 7, "--json", "out.json")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_leaves_what_it_has_found(
    number: signal.Signals,
    start: Start,
    wrong_image_folder: Path,
    map_file: Path,
    tmp_path: Path,
) -> None:
    words = (
        "run",
        "--suite",
        "frames",
        "--backend",
        "unicorn",
        "--map",
        map_file,
        "--image",
        wrong_image_folder,
    )
    run = start(*words, *LONG)
    run.read_until("diverge: kernel or unicorn: reserved[first_frame]")
    assert run.emulators()
    status, errors = run.end(number)
    assert status == 130
    assert errors == "conformance: interrupted; what was found before is on disk\n"
    assert run.emulators() == set()
    form: dict[str, Any] = json.loads((tmp_path / "out.json").read_text())
    (divergence,) = form["divergences"]
    assert divergence["signature"].startswith("kernel or unicorn: reserved[first_frame]")
    assert form["verdicts"]["diverge"] >= 1
    saved = json.loads(Path(divergence["file"]).read_text())
    assert saved["signature"] == divergence["signature"]


def test_an_interrupted_run_of_all_engines_leaves_no_process(
    start: Start, built_in: list[object], map_file: Path, tmp_path: Path
) -> None:
    run = start("run", "--suite", "frames", "--map", map_file, *LONG)
    run.await_emulators(3)
    status, _ = run.end(signal.SIGINT)
    assert status == 130
    assert run.emulators() == set()
    assert json.loads((tmp_path / "out.json").read_text())["divergences"] == []


def test_a_killed_run_leaves_no_process(
    start: Start, built_in: list[object], map_file: Path
) -> None:
    run = start("run", "--suite", "frames", "--map", map_file, *LONG)
    emulators = run.await_emulators(3)
    status, _ = run.end(signal.SIGKILL)
    assert status == -signal.SIGKILL
    for pid in emulators:
        await_end(pid)


def test_an_interrupted_replay(
    start: Start, faulty_binary: str, tmp_path: Path, small_case: Case
) -> None:
    (tmp_path / "case.json").write_text(dump_case(small_case))
    (tmp_path / "conformance.toml").write_text(
        f'[backends.hanging]\nkind = "unicorn"\nbinary = "{faulty_binary}"\n'
        'options = ["hang", "0"]\ndeadline = 3600\n'
    )
    run = start("replay", "case.json")
    run.await_emulators(1)
    status, errors = run.end(signal.SIGTERM)
    assert status == 130
    assert errors.strip() == "conformance: interrupted"
    assert run.emulators() == set()
