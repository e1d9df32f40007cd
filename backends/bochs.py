"""Bochs: scripted through its debugger with pexpect.

A case needs one stop only: the guest ends in a magic break point, the debugger writes the next
payload into physical memory and continues, and the guest resets itself (the mailbox's control says
so). Guest memory comes back through the debugger's `writemem` into memory files. The configuration
and the ROM are memory files too, and the log is a pipe, so there is nothing to delete.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pexpect

from backends.backend import Availability, InstanceConfig, Request, Session
from backends.bochs_debugger import PATIENCE, Debugger
from backends.bochs_log import BochsLog
from backends.guest import Guest, Result, prepare
from backends.log_pipe import LogPipe
from backends.process import TAIL, memory_file
from backends.session import RestartingSession
from conformance.case.image import Image
from conformance.case.machine import Machine
from conformance.errors import BackendError
from conformance.observe.observation import Outcome

__all__ = ["CPUS", "BochsBackend"]

CPUS = {
    "pentium3": "p3_katmai",
    "core2duo": "core2_penryn_t9600",
    "broadwell": "broadwell_ult",
}
"""The engine's names of the harness's CPU profiles."""

_VGA_BIOSES = (
    "/usr/share/vgabios/vgabios.bin",
    "/usr/share/bochs/VGABIOS-lgpl-latest",
    "/usr/share/seabios/vgabios-stdvga.bin",
)
_PLUGINS = "/usr/lib/*/bochs/plugins/libbx_sdl2_gui.so*"
_REMEDY = "apt-get install bochs bochs-sdl vgabios"

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
log: {log}
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore, cpu0=report
plugin_ctrl: unmapped=0, biosdev=0, speaker=0, extfpuirq=0, parallel=0, serial=0
{options}
"""

_LOG_OPTION = re.compile(r"\s*(log|logprefix|debug)\s*:")
_DEBUG_LINE = re.compile(r"\d+d\[")


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
            done = subprocess.run([binary, "--help"], capture_output=True, timeout=PATIENCE)
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
        # The guest's port 0xE9 goes nowhere: on Bochs' terminal it could forge a prompt.
        self.console = bytearray()
        self._record = BochsLog()
        # With options of the user's own the log may be elsewhere, or look otherwise.
        self._recording = not any(map(_LOG_OPTION.match, config.options))
        with contextlib.ExitStack() as stack:
            rom, dump = memory_file("rom", image.rom()), memory_file("dump")
            for descriptor in (rom, dump):
                stack.callback(os.close, descriptor)
            self._log = LogPipe(self._record.feed)
            stack.callback(self._log.close)
            text = _CONFIGURATION.format(
                rom=rom,
                log=self._log.path,
                vga_bios=vga_bios,
                ram_mib=machine.ram_mib,
                cpu=config.cpu or CPUS[machine.cpu_profile],
                options="\n".join(config.options),
            )
            configuration = memory_file("bochsrc", text.encode())
            stack.callback(os.close, configuration)
            descriptors = (rom, self._log.writer, dump, configuration)
            self.command: tuple[str, ...] = (binary, "-q", "-f", f"/proc/self/fd/{configuration}")
            try:
                self._debugger = Debugger(
                    self.command,
                    descriptors,
                    dump=dump,
                    window=image.values.boot["kernel_window"],
                    log=self._log,
                    environment=os.environ | _ENVIRONMENT,
                )
            except (pexpect.ExceptionPexpect, OSError) as error:
                raise BackendError(f"{config.name}: {error}", command=self.command) from error
            stack.callback(self._debugger.close)
            try:
                self._debugger.wait_until_ready()
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
        self._log.drain()
        self._record.clear()
        result = self._serve(request)
        self._log.drain()
        return replace(result, faults=self._record.faults() if self._recording else None)

    def _serve(self, request: Request) -> Result:
        memory = prepare(self._image, request, control="restart")
        try:
            self._debugger.write(memory)
            if not self._debugger.run(self._config.deadline):
                detail = f"no end after {self._config.deadline:g} s"
                return self._guest.interrupted(Outcome.DEADLINE, detail)
            result = self._guest.result(request)
            control = self._debugger.control() if result.ended else None
            return replace(result, control=control)
        except (pexpect.TIMEOUT, pexpect.EOF, OSError):
            return Result(Outcome.BACKEND_CRASHED, self._last_words()[0], b"", ())

    def _read(self, address: int, size: int) -> bytes:
        return self._debugger.read(address, size)

    def _last_words(self) -> tuple[str, bytes]:
        """How the process ended, on one line, and the end of what it wrote.

        That is in its log, or, before it had opened one, on its terminal.
        """
        status, terminal = self._debugger.end()
        self._log.drain()
        output = self._log.tail or terminal[-TAIL:]
        lines = [
            line.strip()
            for line in output.decode(errors="replace").split("\n")
            if not _DEBUG_LINE.match(line)
        ]
        # Bochs says more after its last error than before it.
        errors = [line for line in lines if ">>PANIC<<" in line]
        return ": ".join(["Bochs", status, *filter(None, errors[-1:] or lines[-3:])]), output

    def kill(self) -> None:
        """Kill the process; it is reaped by `close`. From any thread."""
        self._debugger.kill()

    def close(self) -> None:
        """End the process and free everything."""
        self._resources.close()
