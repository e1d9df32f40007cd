"""Bochs' debugger, at the other end of a terminal: commands, answers, guest memory.

pexpect is not thread-safe: one thread reads and writes; only `kill` may be called from another.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import select
import signal
import struct
import time
from collections.abc import Iterable, Sequence
from typing import Any

import pexpect
import ptyprocess

from backends.bochs_memory import Translation, control_registers
from backends.log_pipe import LOG_INTERVAL, LogPipe
from backends.process import tie_to_parent
from conformance.observe.observation import ControlRegisters

__all__ = ["PATIENCE", "Debugger"]

PATIENCE = 10.0
"""Seconds that Bochs has for anything that no guest is involved in."""

_FEW_WORDS = 64
_DUMP_WORDS = 4096
_TERMINAL = 2048  # bytes; half of what a Linux terminal buffers


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
        window: the linear address of the kernel window.
        log: what Bochs logs into; it is drained wherever a guest runs.
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
        window: int,
        log: LogPipe,
        environment: dict[str, str],
    ) -> None:
        self._dump = dump
        self._window = window
        self._log = log
        self._control: ControlRegisters | None = None
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
        self._poll = select.poll()
        self._poll.register(self._child.child_fd, select.POLLIN)

    def wait_until_ready(self) -> None:
        """Wait for the first prompt."""
        self._wait_for_prompt(PATIENCE)

    def write(self, writes: Iterable[tuple[int, bytes]]) -> None:
        """Write guest RAM, as (physical address, bytes)."""
        self._execute([line for write in writes for line in _set_memory(*write)])

    def run(self, deadline: float) -> bool:
        """Let the guest run to the magic break point at its end; whether it got there in time.

        Bochs also stops, and says nothing about it, when a triple fault has reset the machine.
        """
        self._control = None
        end = time.monotonic() + deadline
        while (seconds := end - time.monotonic()) > 0:
            self._child.send("continue\n")
            try:
                answer = self._wait_for_prompt(seconds)
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
                self._wait_for_prompt(PATIENCE / 50)
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
        """The linear address behind which [address, address + size) lies, if it is a usual one."""
        translation = Translation(self._window, self.control(), self._page, self._examine)
        return translation.linear(address, size)

    def control(self) -> ControlRegisters:
        """The control registers, where the guest has stopped."""
        if self._control is None:
            self._control = control_registers(*self._execute(["creg"]))
        return self._control

    def _page(self, linear: int) -> bytes:
        return self._execute([f"page {linear:#x}"])[0]

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
        return [self._expect_prompt(seconds) for _ in range(count)]

    def _expect_prompt(self, seconds: float) -> bytes:
        self._child.expect_exact(f"<bochs:{self._prompts + 1}> ", timeout=seconds)
        self._prompts += 1
        return bytes(self._child.before)

    def _wait_for_prompt(self, seconds: float) -> bytes:
        """Wait for a prompt while a guest runs; Bochs does not go on while its log is full."""
        end = time.monotonic() + seconds
        while True:
            left = max(0.0, end - time.monotonic())
            ready = self._poll.poll(min(left, LOG_INTERVAL) * 1000)
            self._log.drain()
            if ready or not left:
                try:
                    return self._expect_prompt(0)
                except pexpect.TIMEOUT:
                    if not left:
                        raise


def _set_memory(address: int, data: bytes) -> list[str]:
    """Debugger commands that write physical memory, a word each."""
    padded = data.ljust((len(data) + 3) // 4 * 4, b"\0")
    words = struct.unpack(f"<{len(padded) // 4}I", padded)
    return [f"setpmem {address + 4 * index:#x} 4 {word:#x}" for index, word in enumerate(words)]
