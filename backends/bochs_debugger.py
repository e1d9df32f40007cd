"""Bochs' debugger, at the other end of a terminal: commands, answers, guest memory.

pexpect is not thread-safe: one thread reads and writes; only `kill` may be called from another.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import struct
import time
from collections.abc import Iterable, Sequence
from typing import Any

import pexpect
import ptyprocess

from backends.process import tie_to_parent
from conformance.protocol import PROTOCOL

__all__ = ["PATIENCE", "Debugger"]

PATIENCE = 10.0
"""Seconds that Bochs has for anything that no guest is involved in."""

_FEW_WORDS = 64
_DUMP_WORDS = 4096
_TERMINAL = 2048  # bytes; half of what a Linux terminal buffers

_CR0_PG, _CR4_PSE, _CR4_PAE = 1 << 31, 1 << 4, 1 << 5
_PRESENT, _FRAME = 0x1, 0xFFFFF000


class _Spawn(pexpect.spawn):  # type: ignore[misc]
    """A pexpect child that inherits descriptors; pexpect itself has no word for it."""

    def __init__(self, command: Sequence[str], descriptors: Iterable[int], **options: Any) -> None:
        self._descriptors = tuple(descriptors)
        super().__init__(command[0], list(command[1:]), **options)

    def _spawnpty(self, args: list[str], **kwargs: Any) -> ptyprocess.PtyProcess:
        for descriptor in self._descriptors:
            os.set_inheritable(descriptor, True)
        try:
            return ptyprocess.PtyProcess.spawn(args, pass_fds=self._descriptors, **kwargs)
        finally:
            for descriptor in self._descriptors:
                os.set_inheritable(descriptor, False)


class Debugger:
    """A Bochs process, and where it is with its prompts.

    Every method raises pexpect.EOF where Bochs is gone, pexpect.TIMEOUT where it does not react.

    Args:
        command: the command line.
        descriptors: what Bochs inherits.
        dump: a memory file among them, for large answers.
        environment: of the process.

    Raises:
        pexpect.ExceptionPexpect, OSError: it cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        descriptors: Iterable[int],
        *,
        dump: int,
        environment: dict[str, str],
    ) -> None:
        self._dump = dump
        self._prompts = 0
        self._child = _Spawn(
            command,
            descriptors,
            env=environment,
            echo=False,
            timeout=PATIENCE,
            maxread=1 << 16,
            preexec_fn=functools.partial(tie_to_parent, os.getpid()),
        )
        self._child.delaybeforesend = None
        self._child.delayafterread = None
        self._child.ptyproc.delayafterclose = 0

    def wait_until_ready(self) -> None:
        """Wait for the first prompt."""
        self._expect_prompts(1, PATIENCE)

    def write(self, writes: Iterable[tuple[int, bytes]]) -> None:
        """Write guest RAM, as (physical address, bytes)."""
        self._execute([line for write in writes for line in _set_memory(*write)])

    def run(self, deadline: float) -> bool:
        """Let the guest run to the magic break point at its end; whether it got there in time.

        Bochs also stops, and says nothing about it, when a triple fault has reset the machine.
        """
        end = time.monotonic() + deadline
        while (seconds := end - time.monotonic()) > 0:
            try:
                (answer,) = self._execute(["continue"], seconds)
            except pexpect.TIMEOUT:
                self._interrupt()
                break
            if b"Magic breakpoint" in answer:
                return True
        return False

    def _interrupt(self) -> None:
        """Stop the guest; Bochs comes back to its prompt.

        By a signal, since Ctrl-C would also throw away a command that Bochs has not read yet; and
        more than once, since one that comes before Bochs has begun to `continue` is lost.
        """
        end = time.monotonic() + PATIENCE
        while True:
            self._child.kill(signal.SIGINT)
            try:
                self._expect_prompts(1, PATIENCE / 50)
            except pexpect.TIMEOUT:
                if time.monotonic() > end:
                    raise
            else:
                return

    def read(self, address: int, size: int) -> bytes:
        """Guest RAM at a physical address.

        Small reads are printed by the debugger. Large ones go through `writemem`, which reads
        *linear* memory; where the page tables do not lead to what is asked for, it is printed too.
        """
        words = (size + 3) // 4
        linear = self._linear(address, size) if words > _FEW_WORDS else None
        if linear is not None:
            os.ftruncate(self._dump, 0)
            self._execute([f'writemem "/proc/self/fd/{self._dump}" {linear:#x} {size}'])
            data = os.pread(self._dump, size, 0)
            if len(data) == size:
                return data
        parts = [
            self._examine(address + 4 * offset, min(_DUMP_WORDS, words - offset))
            for offset in range(0, words, _DUMP_WORDS)
        ]
        return b"".join(parts)[:size]

    def _linear(self, address: int, size: int) -> int | None:
        """The linear address behind which [address, address + size) lies, if it is a usual one.

        The guest may have bent its page tables, so they are walked (SDM vol. 3, 4.3).
        """
        (text,) = self._execute(["creg"])
        found = dict(re.findall(rb"(CR[034])=0x([0-9a-f]+)", text))
        control = {name: int(value, 16) for name, value in found.items()}
        if not control[b"CR0"] & _CR0_PG:
            return address
        linear = address + PROTOCOL.boot["kernel_window"]
        first, end = linear >> 12, (linear + size + 0xFFF) >> 12
        frame = address >> 12
        if control[b"CR4"] & (_CR4_PAE | _CR4_PSE) or first >> 10 != (end - 1) >> 10:
            return None
        (directory,) = struct.unpack("<I", self._examine(control[b"CR3"] + (first >> 10) * 4, 1))
        if not directory & _PRESENT:
            return None
        pages = self._examine((directory & _FRAME) + (first & 0x3FF) * 4, end - first)
        for page, (entry,) in enumerate(struct.iter_unpack("<I", pages)):
            if entry & (_FRAME | _PRESENT) != (frame + page) << 12 | _PRESENT:
                return None
        return linear

    def end(self) -> tuple[str, bytes]:
        """How the process ended, and what was on its terminal then."""
        terminal = self._child.before
        with contextlib.suppress(Exception):
            self._child.expect(pexpect.EOF, timeout=0.5)
            terminal = self._child.before or terminal
        if self._child.isalive():
            status = "still running"
        elif self._child.signalstatus is not None:
            status = f"signal {self._child.signalstatus}"
        else:
            status = f"exit status {self._child.exitstatus}"
        return status, terminal or b""

    def kill(self) -> None:
        """Kill the process; it is reaped by `close`. From any thread."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._child.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill and reap the process."""
        # Bochs has nothing to save. (pexpect's own close() tries one signal after the other, and
        # sleeps in between.)
        if not self._child.ptyproc.terminated:
            self.kill()
            self._child.wait()
        self._child.close(force=False)

    def _examine(self, address: int, words: int) -> bytes:
        (text,) = self._execute([f"xp /{words}wx {address:#x}"])
        values = re.findall(rb"\t0x([0-9a-f]{8})", text)
        if len(values) != words:
            raise OSError(f"xp at {address:#x}: {len(values)} words instead of {words}")
        return struct.pack(f"<{words}I", *(int(value, 16) for value in values))

    def _execute(self, commands: Sequence[str], seconds: float = PATIENCE) -> list[bytes]:
        """What each command printed.

        As many are sent ahead as the terminal is sure to take: one that is full in both directions
        would block us and Bochs for ever.
        """
        answers: list[bytes] = []
        batch: list[str] = []
        for command in commands:
            if sum(map(len, batch)) + len(batch) + len(command) >= _TERMINAL:
                answers += self._send(batch, seconds)
                batch = []
            batch.append(command)
        return answers + self._send(batch, seconds)

    def _send(self, commands: Sequence[str], seconds: float) -> list[bytes]:
        self._child.send("".join(f"{command}\n" for command in commands))
        return self._expect_prompts(len(commands), seconds)

    def _expect_prompts(self, count: int, seconds: float) -> list[bytes]:
        answers = []
        for _ in range(count):
            self._child.expect_exact(f"<bochs:{self._prompts + 1}> ", timeout=seconds)
            self._prompts += 1
            answers.append(self._child.before)
        return answers


def _set_memory(address: int, data: bytes) -> list[str]:
    """Debugger commands that write physical memory, a word each."""
    padded = data.ljust((len(data) + 3) // 4 * 4, b"\0")
    words = struct.unpack(f"<{len(padded) // 4}I", padded)
    return [f"setpmem {address + 4 * index:#x} 4 {word:#x}" for index, word in enumerate(words)]
