"""Child processes: they start, stop and never outlive the harness."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backends import hostile
from backends.backend import BUILT_IN, Backend
from backends.contract_cases import hostile_request, small_request
from backends.leftovers import Belongings, children
from backends.process import TAIL, memory_file, popen, stop, tail
from conformance.case.image import Image
from conformance.case.machine import Machine
from conformance.observe.observation import Outcome

PATIENCE = 20.0

HARNESS = """
import sys
from backends import hostile
from backends.backend import InstanceConfig, create_backend
from backends.contract_cases import hostile_request
from conformance.case.image import default_image
from conformance.case.machine import Machine
image = hostile.hostile_image(default_image(), hostile.SPIN)
session = create_backend(InstanceConfig("it", sys.argv[1], deadline=600)).open(image, Machine())
print("open", flush=True)
session.run(hostile_request())
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-P", "-c", code]


def alive(process: int) -> bool:
    """Whether a process is there, and not a zombie that nobody has collected yet."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def eventually(condition: Callable[[], object]) -> bool:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            return False
        threading.Event().wait(0.01)
    return True


@pytest.fixture
def descriptor() -> Iterator[int]:
    descriptor = memory_file("test")
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("kind", BUILT_IN)
def test_engines_die_with_the_harness(kind: str, instance: Callable[..., Backend]) -> None:
    """Even when it is killed in the middle of a case, with no chance to clean up."""
    instance(kind)
    with subprocess.Popen([*python(HARNESS), kind], stdout=subprocess.PIPE) as harness:
        assert harness.stdout is not None
        assert harness.stdout.readline() == b"open\n"
        engines = children(harness.pid)
        assert engines
        harness.kill()
    gone = eventually(lambda: not any(map(alive, engines)))
    assert gone, engines


@pytest.mark.parametrize("kind", BUILT_IN)
def test_an_engine_that_is_killed_is_replaced(
    kind: str, image: Image, instance: Callable[..., Backend]
) -> None:
    bad = hostile.hostile_image(image, hostile.SPIN)
    before = set(children(os.getpid()))
    with contextlib.closing(instance(kind, deadline=60).open(bad, Machine())) as session:
        first = session.run(small_request())
        (engine,) = set(children(os.getpid())) - before
        timer = threading.Timer(0.2, os.kill, (engine, signal.SIGKILL))
        timer.start()
        crashed = session.run(hostile_request())
        timer.join()
        assert crashed.outcome is Outcome.BACKEND_CRASHED
        assert "-9" in crashed.detail or "signal 9" in crashed.detail
        assert session.run(small_request()).trace == first.trace
    assert set(children(os.getpid())) == before


@pytest.mark.parametrize("kind", BUILT_IN)
def test_an_engine_that_was_killed_between_cases_is_replaced(
    kind: str, image: Image, instance: Callable[..., Backend]
) -> None:
    before = set(children(os.getpid()))
    with contextlib.closing(instance(kind).open(image, Machine())) as session:
        session.run(small_request())
        (engine,) = set(children(os.getpid())) - before
        os.kill(engine, signal.SIGKILL)
        assert session.run(small_request()).outcome is Outcome.BACKEND_CRASHED
        assert session.run(small_request()).outcome is Outcome.COMPLETED


def test_a_child_dies_with_its_parent() -> None:
    code = f"""
from backends.process import popen
print(popen({python("import signal; signal.pause()")!r}).pid, flush=True)
import signal
signal.pause()
"""
    with subprocess.Popen(python(code), stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.kill()
    assert eventually(lambda: not alive(child))


def test_a_child_does_not_get_the_terminals_signals() -> None:
    process = popen(python("import signal; signal.pause()"))
    assert os.getsid(process.pid) == process.pid != os.getsid(0)
    stop(process)


def test_a_child_inherits_what_it_is_given_and_no_more(descriptor: int) -> None:
    other = memory_file("other")
    os.set_inheritable(other, True)
    code = f"""
import os
os.write({descriptor}, b" ".join(n.encode() for n in sorted(os.listdir("/proc/self/fd"))))
"""
    popen(python(code), pass_fds=(descriptor,)).wait(PATIENCE)
    os.close(other)
    inherited = {int(word) for word in tail(descriptor).split()}
    # One more is that of the folder itself.
    assert {0, 1, 2, descriptor} <= inherited
    assert len(inherited) == 5
    assert other not in inherited or other == 3


def test_stop_is_soft_first(descriptor: int) -> None:
    code = f"""
import os, signal, sys
def end(*_):
    os.write({descriptor}, b"farewell")
    sys.exit(7)
signal.signal(signal.SIGTERM, end)
os.write({descriptor}, b"ready ")
signal.pause()
"""
    process = popen(python(code), pass_fds=(descriptor,))
    assert eventually(lambda: tail(descriptor))
    stop(process, patience=PATIENCE)
    assert process.returncode == 7
    assert tail(descriptor) == b"ready farewell"


def test_stop_is_hard_then(descriptor: int) -> None:
    code = f"""
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write({descriptor}, b"ready")
while True:
    signal.pause()
"""
    process = popen(python(code), pass_fds=(descriptor,))
    assert eventually(lambda: tail(descriptor))
    stop(process, patience=0.1)
    assert process.returncode == -signal.SIGKILL
    assert not Path(f"/proc/{process.pid}").exists()


def test_stop_of_what_has_ended() -> None:
    process = popen(python("raise SystemExit(3)"))
    process.wait(PATIENCE)
    stop(process)
    stop(process)
    assert process.returncode == 3


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        popen(["no-such-program"])


def test_a_memory_file_has_content_and_size() -> None:
    descriptor = memory_file("some", b"content", size=100)
    assert os.pread(descriptor, 200, 0) == b"content".ljust(100, b"\0")
    assert Path(f"/proc/self/fd/{descriptor}").read_bytes().startswith(b"content")
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


def test_the_tail_is_the_end(descriptor: int) -> None:
    assert tail(descriptor) == b""
    os.pwrite(descriptor, b"a" * TAIL + b"end", 0)
    assert tail(descriptor) == b"a" * (TAIL - 3) + b"end"


def test_belongings_are_seen() -> None:
    """The contract's leak check is worth nothing if it sees nothing."""
    before = Belongings.now()
    descriptor = memory_file("leak")
    process = popen(python("import signal; signal.pause()"))
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="left over")
    thread.start()
    left = Belongings.now().beyond(before)
    assert any("leak" in each for each in left.descriptors)
    assert [each.split()[0] for each in left.processes] == [str(process.pid)]
    assert any("left over" in each for each in left.threads)
    process.kill()
    # Without reaping it: a zombie counts.
    assert eventually(lambda: not alive(process.pid))
    assert Belongings.now().beyond(before).processes
    process.wait()
    os.close(descriptor)
    release.set()
    thread.join()
    assert Belongings.now().beyond(before) == Belongings()
