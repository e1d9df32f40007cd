"""`conformance export` and `decode`: a case that runs without the harness."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from backends.backend import InstanceConfig, create_backend
from conformance.case.case import Case
from conformance.case.codec import dump_case
from conformance.case.image import ImageId, default_image
from conformance.case.memory_map import MemoryMap, Region
from conformance.case.program import Allocate, AllocateRun, Dump, FreeAddress, Program
from conformance.cli import cli
from conformance.errors import InvalidInput

CASE = Case(
    default_image().id,
    memory_map=MemoryMap(
        (Region(0, 0x9FC00), Region(0x1000800, 0x400000), Region(0x1100000, 1, 2))
    ),
    program=Program((Allocate(), AllocateRun(3, 4), FreeAddress(0x100000), Dump())),
)


def run(*words: str | Path) -> str:
    done = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def reproducer(tmp_path: Path) -> Path:
    case = tmp_path / "case.json"
    case.write_text(dump_case(CASE))
    run("export", case, tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize("kind", ["qemu", "bochs"])
def test_the_reproducer_runs_by_itself_and_leaves_the_expected_trace(
    kind: str, reproducer: Path
) -> None:
    availability = create_backend(InstanceConfig(kind, kind)).probe()
    if not availability.usable and not os.environ.get("CI"):
        pytest.skip(availability.reason)
    subprocess.run([reproducer / f"run-{kind}.sh"], capture_output=True, timeout=60, check=False)
    trace = reproducer / f"trace-{kind}.bin"
    assert run("decode", trace) == (reproducer / "expected.txt").read_text()
    # What is not compared is there as well, for those who want to see it.
    assert run("decode", "--raw", trace) != run("decode", trace)


def test_the_exported_case_is_the_case(reproducer: Path) -> None:
    assert (reproducer / "case.json").read_text() == dump_case(CASE)


def test_a_cut_trace_shows_what_is_there_and_says_so(reproducer: Path, tmp_path: Path) -> None:
    whole = default_trace()
    cut = tmp_path / "cut.bin"
    cut.write_bytes(b"noise before " + whole[:-10])
    with pytest.raises(InvalidInput, match="10 bytes too early"):
        run("decode", cut)


def default_trace() -> bytes:
    """A trace buffer's header and records, as the reference model leaves them."""
    from backends.backend import Request
    from conformance.case.machine import Machine
    from conformance.case.payload import encode_payload
    from conformance.protocol import PROTOCOL

    session = create_backend(InstanceConfig("unicorn", "unicorn")).open(default_image(), Machine())
    trace = session.run(Request(encode_payload(CASE))).trace
    session.close()
    header = PROTOCOL.trace_header.pack(
        magic=PROTOCOL.trace_magic,
        version=PROTOCOL.version,
        capacity=1 << 18,
        written=len(trace),
        records=1,
        status=PROTOCOL.trace_status["completed"],
    )
    return header + trace


def test_a_file_that_is_no_trace_is_refused(tmp_path: Path) -> None:
    noise = tmp_path / "noise.bin"
    noise.write_bytes(b"x" * 100)
    with pytest.raises(InvalidInput, match="no trace in it"):
        run("decode", noise)


def test_a_case_for_another_image_is_refused(tmp_path: Path) -> None:
    case = tmp_path / "case.json"
    case.write_text(dump_case(Case(ImageId("i686", "0" * 64))))
    with pytest.raises(InvalidInput, match="is for image 000000000000"):
        run("export", case, tmp_path / "out")
