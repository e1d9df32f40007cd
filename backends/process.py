"""Child processes that never outlive the harness, and never keep it waiting."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

__all__ = ["TAIL", "memory_file", "popen", "stop", "tail", "tie_to_parent"]

TAIL = 4096
"""Bytes of an engine's output that are kept."""

_PR_SET_PDEATHSIG = 1

_prctl: Callable[..., int] | None = None
if sys.platform == "linux":
    _prctl = ctypes.CDLL(None, use_errno=True).prctl


def tie_to_parent(parent: int) -> None:
    """In a child, before exec: die with the harness, however it dies (prctl(2)).

    The signal comes when the *thread* that started the child ends, so a session has to be opened
    in a thread that lives as long as it does.

    Args:
        parent: the harness's process; it may have died before the child could ask for the signal.
    """
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def popen(
    command: Sequence[str],
    *,
    pass_fds: Sequence[int] = (),
    stderr: int = subprocess.DEVNULL,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own (so that Ctrl-C reaches the harness only), tied to
    this process's life.

    Raises:
        OSError: it cannot be started.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        env=environment,
        pass_fds=tuple(pass_fds),
        start_new_session=True,
        preexec_fn=functools.partial(tie_to_parent, os.getpid()),
    )


def stop(process: subprocess.Popen[bytes], *, patience: float = 1.0) -> None:
    """End a process: softly, then hard. It is gone, and reaped, when this returns."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def memory_file(name: str, content: bytes = b"", *, size: int = 0) -> int:
    """An anonymous file in memory; the caller closes the descriptor it returns.

    Nothing has to be deleted afterwards, whatever happens. A child that inherits the descriptor
    opens it as /proc/self/fd/N.
    """
    descriptor = os.memfd_create(name)
    if content:
        os.pwrite(descriptor, content, 0)
    if size:
        os.ftruncate(descriptor, size)
    return descriptor


def tail(descriptor: int) -> bytes:
    """The last TAIL bytes of a memory file."""
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, TAIL, max(0, size - TAIL))
