"""The pipe that engines log into."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.leftovers import Belongings
from backends.log_pipe import LogPipe, WholeLines
from backends.process import TAIL


@pytest.fixture
def taken() -> list[bytes]:
    return []


@pytest.fixture
def pipe(taken: list[bytes]) -> Iterator[LogPipe]:
    with contextlib.closing(LogPipe(taken.append)) as pipe:
        yield pipe


def test_what_was_written_by_name_is_taken(pipe: LogPipe, taken: list[bytes]) -> None:
    with open(pipe.path, "wb", buffering=0) as log:  # noqa: PTH123 - as an engine does it
        log.write(b"one\n")
        pipe.drain()
        log.write(b"two\n")
    pipe.drain()
    assert b"".join(taken) == b"one\ntwo\n"


def test_nothing_to_take(pipe: LogPipe, taken: list[bytes]) -> None:
    pipe.drain()
    assert taken == []


def test_only_the_end_is_kept(pipe: LogPipe) -> None:
    for byte in (b"a", b"b"):
        os.write(pipe.writer, byte * 3000)
        pipe.drain()
    assert pipe.tail == b"a" * (TAIL - 3000) + b"b" * 3000


def test_it_holds_what_a_sound_guest_causes(pipe: LogPipe, taken: list[bytes]) -> None:
    """A thousand exceptions between two looks; a writer would block beyond that."""
    os.set_blocking(pipe.writer, False)
    for _ in range(1000):
        assert os.write(pipe.writer, b"x" * 1000) == 1000
    pipe.drain()
    assert sum(map(len, taken)) == 1_000_000


def test_a_closed_one_keeps_nobody_waiting(taken: list[bytes]) -> None:
    before = Belongings.now()
    pipe = LogPipe(taken.append)
    engine = os.open(pipe.path, os.O_WRONLY)
    pipe.close()
    pipe.close()
    pipe.drain()
    with pytest.raises(BrokenPipeError):
        os.write(engine, b"x")
    os.close(engine)
    assert Belongings.now().beyond(before) == Belongings()


@given(st.lists(st.sampled_from([b"a", b"bc\n", b"\n", b"d\ne", b""])))
def test_lines_are_whole(pieces: list[bytes]) -> None:
    lines = WholeLines()
    read = [lines(piece) for piece in pieces]
    assert all(piece.endswith(b"\n") for piece in read if piece)
    whole = b"".join(pieces)
    assert b"".join(read) == whole[: whole.rfind(b"\n") + 1]


def test_a_line_without_end_is_cut() -> None:
    lines = WholeLines()
    for _ in range(100):
        assert lines(b"x" * 1000) == b""
    assert len(lines(b"\n")) < 10_000
    lines(b"half")
    lines.clear()
    assert lines(b"whole\n") == b"whole\n"
