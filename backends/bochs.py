"""Bochs: scripted through its debugger with pexpect.

A case needs one stop only: the guest ends in a magic break point, the debugger writes the next
payload into physical memory and continues, and the guest resets itself (the mailbox's control says
so). Guest memory comes back through the debugger's `writemem` into memory files. The configuration,
the ROM and the log are memory files too, so there is nothing to delete.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pexpect
import ptyprocess

from backends.backend import Availability, InstanceConfig, Request, Session
from backends.guest import Guest, Result, prepare
from backends.process import TAIL, memory_file, tail, tie_to_parent
from backends.session import RestartingSession
from conformance.case.image import Image
from conformance.case.machine import Machine
from conformance.errors import BackendError
from conformance.observe.observation import Outcome
from conformance.protocol import PROTOCOL

__all__ = ["BochsBackend"]

_CPUS = {"pentium3": "p3_katmai", "core2duo": "core2_penryn_t9600"}
_VGA_BIOSES = (
    "/usr/share/vgabios/vgabios.bin",
    "/usr/share/bochs/VGABIOS-lgpl-latest",
    "/usr/share/seabios/vgabios-stdvga.bin",
)
_PLUGINS = "/usr/lib/*/bochs/plugins/libbx_sdl2_gui.so*"
_REMEDY = "apt-get install bochs bochs-sdl vgabios"
_PATIENCE = 10.0
_FEW_WORDS = 64
_DUMP_WORDS = 4096
_TERMINAL = 2048  # bytes; half of what a Linux terminal buffers

_CR0_PG, _CR4_PSE, _CR4_PAE = 1 << 31, 1 << 4, 1 << 5
_PRESENT, _FRAME = 0x1, 0xFFFFF000

# `display_library: sdl2` with SDL's dummy driver needs no display; Debian's Bochs has no `nogui`.
_ENVIRONMENT = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy", "TERM": "dumb"}

_CONFIGURATION = """\
display_library: sdl2
romimage: file=/proc/self/fd/{rom}, address=0xfff80000
vgaromimage: file={vga_bios}
memory: guest={ram_mib}, host={ram_mib}
cpu: model={cpu}, count=1, ips=50000000, reset_on_triple_fault=1
clock: sync=none
magic_break: enabled=1
port_e9_hack: enabled=0
log: /proc/self/fd/{log}
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
plugin_ctrl: unmapped=0, biosdev=0, speaker=0, extfpuirq=0, parallel=0, serial=0
{options}
"""


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


class BochsBackend:
    """Bochs with its internal debugger."""

    deterministic = True

    def __init__(self, config: InstanceConfig) -> None:
        self.config = config

    @property
    def binary(self) -> str | None:
        """The path of the emulator, or None."""
        return shutil.which(self.config.binary or "bochs")

    @property
    def vga_bios(self) -> str | None:
        """A VGA BIOS: Bochs does not start without one, though nothing here uses it."""
        return next((path for path in _VGA_BIOSES if Path(path).is_file()), None)

    def probe(self) -> Availability:
        """Whether Bochs, its SDL display and a VGA BIOS are installed."""
        binary = self.binary
        if binary is None:
            wanted = self.config.binary or "bochs"
            return Availability(False, reason=f"{wanted} not found", remedy=_REMEDY)
        if self.vga_bios is None:
            return Availability(
                False, reason=f"no VGA BIOS at {', '.join(_VGA_BIOSES)}", remedy=_REMEDY
            )
        try:
            done = subprocess.run([binary, "--help"], capture_output=True, timeout=_PATIENCE)
        except (OSError, subprocess.SubprocessError) as error:
            return Availability(False, reason=f"{binary} --help: {error}", remedy=_REMEDY)
        match = re.search(rb"Bochs x86 Emulator (\d+(?:\.\d+)+)", done.stdout + done.stderr)
        if match is None:
            return Availability(False, reason=f"{binary} does not say it is Bochs", remedy=_REMEDY)
        if not self.config.binary and not any(Path("/").glob(_PLUGINS.lstrip("/"))):
            return Availability(
                False, match[1].decode(), f"no SDL 2 display: {_PLUGINS} not found", _REMEDY
            )
        return Availability(True, version=match[1].decode())

    def open(self, image: Image, machine: Machine) -> Session:
        """Start Bochs; it waits at its prompt."""
        return RestartingSession(self.config.name, lambda: _Engine(self, image, machine))


class _Engine:
    """One Bochs process at its prompt, and everything that is open for it.

    Raises:
        BackendError: it does not start.
    """

    def __init__(self, backend: BochsBackend, image: Image, machine: Machine) -> None:
        config = backend.config
        binary, vga_bios = backend.binary, backend.vga_bios
        if binary is None or vga_bios is None:
            raise BackendError(f"{config.name}: {backend.probe().reason}")
        self._config = config
        self._image = image
        self._guest = Guest(image, self._read)
        self._prompts = 0
        # The guest's port 0xE9 goes nowhere: on Bochs' terminal it could forge a prompt.
        self.console = bytearray()
        with contextlib.ExitStack() as stack:
            rom, log, self._dump = (
                memory_file("rom", image.rom()),
                memory_file("log"),
                memory_file("dump"),
            )
            self._log = log
            text = _CONFIGURATION.format(
                rom=rom,
                log=log,
                vga_bios=vga_bios,
                ram_mib=machine.ram_mib,
                cpu=config.cpu or _CPUS[machine.cpu_profile],
                options="\n".join(config.options),
            )
            configuration = memory_file("bochsrc", text.encode())
            descriptors = (rom, log, self._dump, configuration)
            for descriptor in descriptors:
                stack.callback(os.close, descriptor)
            self.command: tuple[str, ...] = (binary, "-q", "-f", f"/proc/self/fd/{configuration}")
            try:
                self._child = _Spawn(
                    self.command,
                    descriptors,
                    env=os.environ | _ENVIRONMENT,
                    echo=False,
                    timeout=_PATIENCE,
                    maxread=1 << 16,
                    preexec_fn=tie_to_parent,
                )
            except (pexpect.ExceptionPexpect, OSError) as error:
                raise BackendError(f"{config.name}: {error}", command=self.command) from error
            stack.callback(self._reap)
            self._child.delaybeforesend = None
            self._child.delayafterread = None
            self._child.ptyproc.delayafterclose = 0
            try:
                self._expect_prompts(1, _PATIENCE)
            except (pexpect.TIMEOUT, pexpect.EOF) as error:
                words, output = self._last_words()
                raise BackendError(
                    f"{config.name}: does not start: {words}",
                    command=self.command,
                    # Bochs names lines of a file that is gone by now.
                    output=output + b"\nconfiguration:\n" + text.encode(),
                ) from error
            self._resources = stack.pop_all()

    def serve(self, request: Request) -> Result:
        """Run one case from reset."""
        memory = prepare(self._image, request, control="restart")
        try:
            self._execute([line for write in memory for line in _set_memory(*write)])
            if not self._run():
                detail = f"no end after {self._config.deadline:g} s"
                return self._guest.interrupted(Outcome.DEADLINE, detail)
            return self._guest.result(request)
        except (pexpect.TIMEOUT, pexpect.EOF, OSError):
            return Result(Outcome.BACKEND_CRASHED, self._last_words()[0], b"", ())

    def _run(self) -> bool:
        """Let the guest run to the magic break point at its end; whether it got there in time.

        Bochs also stops, and says nothing about it, when a triple fault has reset the machine.
        """
        end = time.monotonic() + self._config.deadline
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
        end = time.monotonic() + _PATIENCE
        while True:
            self._child.kill(signal.SIGINT)
            try:
                self._expect_prompts(1, _PATIENCE / 50)
            except pexpect.TIMEOUT:
                if time.monotonic() > end:
                    raise
            else:
                return

    def _read(self, address: int, size: int) -> bytes:
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

    def _last_words(self) -> tuple[str, bytes]:
        """How the process ended, on one line, and the end of what it wrote.

        That is in its log, or, before it had opened one, on its terminal.
        """
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
        output = tail(self._log) or (terminal or b"")[-TAIL:]
        lines = [line.strip() for line in output.decode(errors="replace").split("\n")]
        # Bochs says more after its last error than before it.
        errors = [line for line in lines if ">>PANIC<<" in line]
        return ": ".join(["Bochs", status, *filter(None, errors[-1:] or lines[-3:])]), output

    def kill(self) -> None:
        """Kill the process; it is reaped by `close`."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._child.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the process and free everything."""
        self._resources.close()

    def _reap(self) -> None:
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

    def _execute(self, commands: Sequence[str], seconds: float = _PATIENCE) -> list[bytes]:
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
