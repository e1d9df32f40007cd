"""QEMU: driven over QMP, with guest RAM shared through a memory file.

Guest RAM is a memory file that QEMU maps and so does the harness: a payload goes in and the state
comes out without a copy or a command. The debug console (port 0xE9) is a socket on which the guest
rings when it has come to its end. QEMU's log of exceptions is a pipe. None of them has a name
anywhere: all of QEMU's files and sockets are descriptors that it inherits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import mmap
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from qemu.qmp import QMPClient, QMPError

from backends.backend import Availability, InstanceConfig, Request, Session
from backends.guest import Guest, Result, prepare
from backends.log_pipe import LOG_INTERVAL, LogPipe
from backends.process import TAIL, memory_file, popen, stop, tail
from backends.qemu_log import QemuLog, control_registers
from backends.session import RestartingSession
from conformance.case.image import Image
from conformance.case.machine import Machine
from conformance.errors import BackendError
from conformance.observe.observation import Outcome
from conformance.protocol import PROTOCOL

__all__ = ["CPUS", "CPUS_64", "QemuBackend", "engine_for"]

_BINARIES = ("qemu-system-i386", "qemu-system-x86_64")
CPUS = {
    "pentium3": "pentium3",
    "core2duo": "core2duo,-lm,-syscall",
    "broadwell": "Broadwell-noTSX,+pdpe1gb,-lm,-syscall,-pcid,-x2apic,-tsc-deadline,-invpcid"
    ",-rdseed,-3dnowprefetch",
}
"""The engine's names of the harness's CPU profiles, less what TCG warns that it does not have.

These are for the image i686: without long mode.
"""

CPUS_64 = {
    "core2duo": "core2duo",
    "broadwell": "Broadwell-noTSX,+pdpe1gb,-pcid,-x2apic,-tsc-deadline,-invpcid,-rdseed"
    ",-3dnowprefetch",
}
"""The same with long mode, for x86_64."""

_BELL = 0x04
_PATIENCE = 10.0
_WINDOW = PROTOCOL.boot["kernel_window_size"]
_LOG_OPTIONS = frozenset({"-d", "-D"})
_SOCKET_BUFFER = 1 << 20  # bytes; more than a socket holds

_T = TypeVar("_T")

logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())
logging.getLogger("qemu.qmp").propagate = False


def engine_for(machine: Machine) -> tuple[str, dict[str, str]]:
    """The program that has what a machine needs, and its names of the CPU profiles."""
    if machine.architecture == "i686":
        return _BINARIES[0], CPUS
    return _BINARIES[1], CPUS_64


class _EngineEnded(Exception):
    """QEMU closed a connection: it has ended, or is about to."""


class QemuBackend:
    """QEMU's system emulator with its own translator (TCG)."""

    deterministic = True

    def __init__(self, config: InstanceConfig) -> None:
        self.config = config

    @property
    def binary(self) -> str | None:
        """The path of the emulator, or None."""
        names = (self.config.binary,) if self.config.binary else _BINARIES
        return next(filter(None, map(shutil.which, names)), None)

    def binary_for(self, machine: Machine) -> str:
        """The path of the emulator for a machine: one with long mode needs its own.

        Raises:
            BackendError: it is not installed.
        """
        binary = self.binary
        if binary is None:
            raise BackendError(f"{self.config.name}: {self.probe().reason}")
        if machine.architecture == "i686" or not binary.endswith(_BINARIES[0]):
            return binary
        # Both come with one version of QEMU, into one folder.
        wanted = binary.removesuffix(_BINARIES[0]) + _BINARIES[1]
        if shutil.which(wanted) is None:
            raise BackendError(f"{self.config.name}: {wanted} not found, which has long mode")
        return wanted

    def probe(self) -> Availability:
        """Whether QEMU is installed, and which."""
        binary = self.binary
        if binary is None:
            wanted = self.config.binary or " or ".join(_BINARIES)
            return Availability(
                False, reason=f"{wanted} not found", remedy="apt-get install qemu-system-x86"
            )
        try:
            done = subprocess.run(
                [binary, "--version"], capture_output=True, timeout=_PATIENCE, check=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            return Availability(False, reason=f"{binary} --version: {error}", remedy="reinstall it")
        match = re.search(rb"QEMU emulator version (\d+(?:\.\d+)+)", done.stdout)
        if match is None:
            return Availability(
                False, reason=f"{binary} does not say it is QEMU", remedy="name QEMU's emulator"
            )
        return Availability(True, version=match[1].decode())

    def open(self, image: Image, machine: Machine) -> Session:
        """Start QEMU; it waits for the first case."""
        return RestartingSession(self.config.name, lambda: _Engine(self, image, machine))


class _Engine:
    """One QEMU process and everything that is open for it.

    Raises:
        BackendError: it does not start.
    """

    def __init__(self, backend: QemuBackend, image: Image, machine: Machine) -> None:
        self._config = backend.config
        self._image = image
        self._guest = Guest(image, self._read)
        self._started = False
        self._ended = False
        self._rang = asyncio.Event()
        self._registers = ""
        # QEMU has one log: the user's, if there are options for it.
        self._recording = not _LOG_OPTIONS & {*backend.config.options}
        self.console = bytearray()
        self._record = QemuLog(self._code)
        with contextlib.ExitStack() as stack:
            self._loop = asyncio.new_event_loop()
            stack.callback(self._loop.close)
            rom, ram, errors = (
                memory_file("rom", image.rom()),
                memory_file("ram", size=machine.ram_bytes),
                memory_file("errors"),
            )
            for descriptor in (rom, ram, errors):
                stack.callback(os.close, descriptor)
            self._errors = errors
            self._ram = mmap.mmap(ram, machine.ram_bytes)
            stack.callback(self._ram.close)
            monitor, monitor_end = socket.socketpair()
            self._bell, bell_end = socket.socketpair()
            self._bell.setblocking(False)
            for end in (monitor, monitor_end, self._bell, bell_end):
                stack.callback(end.close)
            self._log = LogPipe(self._record.feed)
            stack.callback(self._log.close)
            inherited = (rom, ram, monitor_end.fileno(), bell_end.fileno())
            log = ("-d", "int", "-D", self._log.path) if self._recording else ()
            self.command = _command_line(backend, machine, log, *inherited)
            try:
                self._process = popen(
                    self.command, pass_fds=(*inherited, self._log.writer), stderr=errors
                )
            except OSError as error:
                raise BackendError(f"{self._config.name}: {error}", command=self.command) from error
            stack.callback(stop, self._process)
            monitor_end.close()
            bell_end.close()
            self._client = QMPClient(self._config.name)
            stack.callback(self._disconnect)
            # Closed before QMP is: a guest that prints, or faults, would keep QEMU waiting for a
            # reader.
            stack.callback(self._bell.close)
            stack.callback(self._log.close)
            self._loop.add_reader(self._bell, self._hear)
            stack.callback(self._loop.remove_reader, self._bell)
            self._take_log()
            try:
                self._await(self._client.connect(monitor), _PATIENCE)
            except (QMPError, ConnectionError, EOFError, TimeoutError) as error:
                raise BackendError(
                    f"{self._config.name}: does not start: {self.last_words()}",
                    command=self.command,
                    output=tail(errors),
                ) from error
            self._resources = stack.pop_all()

    def serve(self, request: Request) -> Result:
        """Run one case from reset."""
        result = self._serve(request)
        # What the guest made QEMU log before it rang is in the pipe by now.
        self._log.drain()
        return replace(
            result,
            faults=self._record.faults() if self._recording else None,
            control=control_registers(self._registers) if result.ended else None,
        )

    def _serve(self, request: Request) -> Result:
        try:
            self._await(self._run(request), self._config.deadline)
        except TimeoutError:
            detail = f"no end after {self._config.deadline:g} s"
            return self._guest.interrupted(Outcome.DEADLINE, detail)
        except (_EngineEnded, QMPError, ConnectionError, EOFError):
            return self._guest.interrupted(Outcome.BACKEND_CRASHED, self.last_words())
        return self._guest.result(request)

    def _read(self, address: int, size: int) -> bytes:
        return self._ram[address : address + size]

    def _code(self, linear: int, size: int) -> bytes:
        """What is in the kernel window at a linear address, if that is there."""
        address = linear - self._image.values.boot["kernel_window"]
        return self._read(address, size) if 0 <= address < _WINDOW else b""

    def last_words(self) -> str:
        """How the process ended, on one line."""
        try:
            status = f"exit status {self._process.wait(_PATIENCE / 10)}"
        except subprocess.TimeoutExpired:
            status = "still running"
        lines = tail(self._errors).decode(errors="replace").split("\n")
        return ": ".join(["QEMU", status, *filter(None, map(str.strip, lines[-3:]))])

    def kill(self) -> None:
        """Kill the process; it is reaped by `close`."""
        self._process.kill()

    def close(self) -> None:
        """End the process and free everything."""
        self._resources.close()

    def _await(self, work: Coroutine[Any, Any, _T], seconds: float) -> _T:
        return self._loop.run_until_complete(asyncio.wait_for(work, seconds))

    async def _run(self, request: Request) -> None:
        # The guest may have rung and gone on: until it stands still, nothing it is told is safe
        # from it, and what it prints is not about this case.
        if self._started:
            await self._client.execute("stop")
        self._hear()
        if self._ended:
            raise _EngineEnded
        self._log.drain()
        self._record.clear()
        self._rang.clear()
        self.console = bytearray()
        for address, data in prepare(self._image, request, control="halt"):
            self._ram[address : address + len(data)] = data
        if self._started:
            await self._client.execute("system_reset")
        self._started = True
        await self._client.execute("cont")
        await self._rang.wait()
        if self._ended:
            raise _EngineEnded
        self._registers = str(
            await self._client.execute("human-monitor-command", {"command-line": "info registers"})
        )

    def _hear(self) -> None:
        """Take what the guest has printed.

        Whenever there is something, not only in `_run`'s last line: QEMU does not answer while its
        guest waits for somebody to take what it prints.
        """
        try:
            data = self._bell.recv(_SOCKET_BUFFER)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        self.console = (self.console + data)[-TAIL:]
        if not data:
            self._ended = True
            self._loop.remove_reader(self._bell)
        if _BELL in data or self._ended:
            self._rang.set()

    def _take_log(self) -> None:
        """Take what QEMU logs, again and again: it does not answer while its log is full.

        By the clock, for waking up at each line would slow down a guest that faults a lot.
        """
        self._log.drain()
        self._loop.call_later(LOG_INTERVAL, self._take_log)

    def _disconnect(self) -> None:
        # The process may be dead or stuck: what matters is that no task of the loop is left.
        with contextlib.suppress(Exception):
            self._await(self._client.disconnect(), _PATIENCE / 10)


def _command_line(
    backend: QemuBackend,
    machine: Machine,
    log: tuple[str, ...],
    rom: int,
    ram: int,
    monitor: int,
    bell: int,
) -> tuple[str, ...]:
    _, cpus = engine_for(machine)
    size = f"{machine.ram_mib}M"
    memory = f"memory-backend-file,id=ram,size={size},share=on,mem-path=/proc/self/fd/{ram}"
    return (
        backend.binary_for(machine),
        "-nodefaults",
        "-no-user-config",
        *("-display", "none"),
        *("-M", "pc,memory-backend=ram"),
        *("-accel", "tcg"),
        *("-cpu", backend.config.cpu or cpus[machine.cpu_profile]),
        *("-m", size),
        *("-object", memory),
        *("-bios", f"/proc/self/fd/{rom}"),
        *("-chardev", f"socket,id=monitor,fd={monitor}"),
        *("-mon", "chardev=monitor,mode=control"),
        *("-chardev", f"socket,id=bell,fd={bell}"),
        *("-device", "isa-debugcon,iobase=0xe9,chardev=bell"),
        "-S",
        *log,
        *backend.config.options,
    )
