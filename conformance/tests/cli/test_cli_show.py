"""`conformance show`: what a case does, drawn; a divergence, side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conformance.case.case import Case
from conformance.case.codec import dump_case
from conformance.case.image import Image
from conformance.case.program import Block, Body, Lock, Program, Sleep, Spawn, Unlock

Command = Callable[..., Any]
SIGNATURE = "kernel or unicorn: reserved[first_frame].end lower (legacy)"
TWO = '[backends.one]\nkind = "unicorn"\n[backends.two]\nkind = "unicorn"\n'


@pytest.fixture
def plain(small_case: Case, tmp_path: Path) -> Path:
    """A case without tasks."""
    path = tmp_path / "plain.json"
    path.write_text(dump_case(small_case))
    return path


@pytest.fixture
def tasks(small_case: Case, tmp_path: Path) -> Path:
    """A case with two tasks: one sleeps with a mutex, the other waits for that."""
    first = (Body(), Lock(0), Sleep(1), Unlock(0))
    program = Program((Spawn(0), Spawn(1), *first, Body(), Lock(0), Unlock(0)), stacks=2)
    path = tmp_path / "tasks.json"
    path.write_text(dump_case(replace(small_case, program=program)))
    return path


def test_a_case_with_tasks_is_a_timeline(conformance: Command, tasks: Path, image: Image) -> None:
    done = conformance("show", tasks, "--backend", "unicorn", COLUMNS="70")
    assert (done.status, done.errors) == (0, "")
    lines = done.output.splitlines()
    assert lines[:2] == [
        f"image    i686 {image.id.sha256[:12]}",
        "backends unicorn, and the oracle",
    ]
    assert "    3: lock mutex=0" in lines
    assert any(line.startswith("oracle, unicorn: completed, ") for line in lines)
    row = {line.split()[0]: "" for line in lines if line}
    for line in filter(None, lines):
        row[line.split()[0]] += line[5:]
    for words in ("start stack 0", "lock 0", "wait sleep 1", "unlock 0 for 2", "stack 0 back"):
        assert words in row["1"]
    for words in ("start stack 1", "wait mutex 0", "woken mutex by 1", "lock 0"):
        assert words in row["2"]
    for words in ("idle at 0", "tick 1", "to 1: idle"):
        assert words in row["idle"]
    assert "wait all 2" in row["main"]
    assert max(map(len, lines)) <= 70
    assert "\x1b" not in done.output
    assert lines[-1] == "agree: unicorn agrees with the oracle"


def test_backends_that_agree_share_a_drawing(
    conformance: Command, tasks: Path, tmp_path: Path
) -> None:
    (tmp_path / "two.toml").write_text(TWO)
    done = conformance("show", tasks, "--config", tmp_path / "two.toml")
    assert done.status == 0
    assert done.output.count("spawn 1 body 0") == 1
    assert "oracle, one, two: completed, " in done.output


def test_a_deadlock_is_drawn(conformance: Command, small_case: Case, tmp_path: Path) -> None:
    program = Program((Spawn(0), Body(), Block()), stacks=1)
    (tmp_path / "case.json").write_text(dump_case(replace(small_case, program=program)))
    done = conformance("show", "case.json", "--backend", "unicorn")
    assert done.status == 0
    assert "PANIC deadlock 2" in done.output


def test_a_divergence_is_drawn_from_its_file_alone(conformance: Command, found: Path) -> None:
    done = conformance("show", found.name)
    assert (done.status, done.errors) == (1, "")
    at = done.output.index("first difference: event ")
    for words in (
        "\noracle: panicked, ",
        "reserved pass=first_frame first=0 end=1\n",
        "\nunicorn: panicked, ",
        "reserved pass=first_frame first=0 end=0\n",
        f"\ndiverge: {SIGNATURE}\n",
        "\n  why       unicorn is the only backend that ran",
    ):
        at = done.output.index(words, at)


def test_a_divergence_that_is_fixed(conformance: Command, found: Path, image: Image) -> None:
    done = conformance("show", found, "--current")
    assert done.status == 0
    assert f"image    i686 {image.id.sha256[:12]}" in done.output
    assert "agree: unicorn agrees with the oracle" in done.output
    assert "first difference" not in done.output


def test_a_case_without_tasks_is_a_list(conformance: Command, plain: Path) -> None:
    done = conformance("show", plain, "--backend", "unicorn")
    assert done.status == 0
    lines = done.output.splitlines()
    start = next(number for number, line in enumerate(lines) if "oracle, unicorn: " in line)
    assert lines[start + 1].split()[1:] == ["allocated", "operation=0", "frame=1", "count=1"]
    assert any(line.endswith("completed operations=5") for line in lines)
    assert "runs   . is ready" not in done.output


def test_only_some_events(conformance: Command, plain: Path) -> None:
    done = conformance("show", plain, "--backend", "unicorn", "--from", 1, "--to", 3)
    numbers = [line.split()[0] for line in done.output.splitlines() if line.startswith("     ")]
    assert numbers == ["1", "2"]
    assert "not shown of " in done.output


def test_the_oracle_alone(conformance: Command, plain: Path, tasks: Path, tmp_path: Path) -> None:
    # No backend is there, and none is asked for.
    (tmp_path / "conformance.toml").write_text('[backends.x]\nkind = "qemu"\nbinary = "/none"\n')
    for path, words in ((plain, "counted operation=2"), (tasks, "wait mutex 0")):
        done = conformance("show", path, "--no-run")
        assert (done.status, done.errors) == (3, "")
        assert "oracle: completed, " in done.output
        assert words in done.output
        assert done.output.endswith("nothing was run\n")
        assert "no backend is usable" in conformance("show", path).complaint


def test_colours_for_a_terminal_that_wants_them(conformance: Command, tasks: Path) -> None:
    words = ("show", tasks, "--no-run")
    plain = conformance(*words).output
    assert "\x1b" not in plain
    coloured = conformance(*words, FORCE_COLOR="1", TERM="xterm").output
    assert "\x1b[1m" in coloured
    unwanted = conformance(*words, FORCE_COLOR="1", TERM="xterm", NO_COLOR="1").output
    assert "\x1b[3" not in unwanted


def test_a_file_cannot_send_escape_sequences_to_the_terminal(
    conformance: Command, found: Path
) -> None:
    form = json.loads(found.read_text())
    form["image"]["name"] = "\x1b[31mevil"
    found.write_text(json.dumps(form))
    assert "\x1b" not in repr(conformance("show", found))
