"""The reference model as a backend."""

from __future__ import annotations

import contextlib
import difflib
import json
import mmap
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import asdict, replace
from multiprocessing.connection import Connection
from pathlib import Path

from backends.backend import Availability, InstanceConfig, Request, Session
from backends.guest import Guest, Result, prepare
from backends.process import memory_file, popen, stop, tail
from backends.session import RestartingSession
from backends.unicorn_model.loader import PayloadError, load
from backends.unicorn_model.messages import End, Entry, Stop
from conformance.case.image import Image
from conformance.case.machine import Machine
from conformance.errors import BackendError
from conformance.observe.observation import Outcome
from conformance.protocol import PROTOCOL

__all__ = ["UnicornBackend"]

_CPUS = {
    "pentium3": "UC_CPU_X86_PENTIUM3",
    "core2duo": "UC_CPU_X86_CORE2DUO",
    "broadwell": "UC_CPU_X86_BROADWELL",
}
_START_UP = 30.0
_OUTCOMES = {
    End.SHUTDOWN: (Outcome.TRIPLE_FAULT, "the processor shut down"),
    # On the other engines a halted guest is seen when its time is over.
    End.HALTED: (Outcome.DEADLINE, "it will not end"),
    End.NOT_MODELLED: (Outcome.BACKEND_CRASHED, "the model has no rule"),
}


class UnicornBackend:
    """The reference model on Unicorn's processor."""

    deterministic = True

    def __init__(self, config: InstanceConfig) -> None:
        self.config = config

    def probe(self) -> Availability:
        """Whether Unicorn can be imported, and which."""
        binary = self.config.binary
        if binary and shutil.which(binary) is None:
            return Availability(False, reason=f"{binary} not found", remedy="name a Python")
        try:
            import unicorn
        except ImportError as error:
            return Availability(False, reason=str(error), remedy="pip install unicorn")
        return Availability(True, version=str(unicorn.unicorn.__version__))

    def open(self, image: Image, machine: Machine) -> Session:
        """Start the model's process."""
        return RestartingSession(self.config.name, lambda: _Engine(self, image, machine))


class _Engine:
    """One worker process and everything that is open for it.

    Raises:
        BackendError: it does not start.
    """

    def __init__(self, backend: UnicornBackend, image: Image, machine: Machine) -> None:
        self._config = backend.config
        self._image = image
        self._guest = Guest(image, self._read)
        self.console = bytearray()
        model = self._config.cpu or _CPUS[machine.cpu_profile]
        cpu = _cpu(self._config.name, model)
        with contextlib.ExitStack() as stack:
            ram = memory_file("ram", size=machine.ram_bytes)
            stack.callback(os.close, ram)
            self._errors = memory_file("errors")
            stack.callback(os.close, self._errors)
            self._ram = mmap.mmap(ram, machine.ram_bytes)
            stack.callback(self._ram.close)
            ours, theirs = socket.socketpair()
            with theirs:
                self._channel = Connection(ours.detach())
                stack.callback(self._channel.close)
                self.command = (
                    *(self._config.binary or sys.executable, "-P"),
                    *("-m", "backends.unicorn_model.worker"),
                    *(str(theirs.fileno()), str(ram), str(cpu), machine.cpu_profile),
                    *self._config.options,
                )
                try:
                    process = popen(
                        self.command,
                        pass_fds=(ram, theirs.fileno()),
                        stderr=self._errors,
                        environment=_environment(),
                    )
                except OSError as error:
                    raise BackendError(
                        f"{self._config.name}: {error}", command=self.command
                    ) from error
            self._process = process
            stack.callback(stop, process)
            if not self._answers(_START_UP):
                raise BackendError(
                    f"{self._config.name}: does not start: {self.last_words()}",
                    command=self.command,
                    output=tail(self._errors),
                )
            self._resources = stack.pop_all()

    def serve(self, request: Request) -> Result:
        """Run one case from the Multiboot entry state."""
        self.console = bytearray()
        try:
            writes = load(self._image, request.payload)
        except PayloadError as error:
            detail = f"the loader refused the payload: {error.refusal}"
            return Result(Outcome.REFUSED, detail, b"", ())
        for address, data in (*prepare(self._image, request, control="halt"), *writes):
            self._ram[address : address + len(data)] = data
        try:
            stopped = self._run()
        except TimeoutError:
            detail = f"no end after {self._config.deadline:g} s"
            return self._guest.interrupted(Outcome.DEADLINE, detail)
        except (EOFError, OSError):
            return self._guest.interrupted(Outcome.BACKEND_CRASHED, self.last_words())
        except (KeyError, TypeError, ValueError) as error:
            detail = f"the worker's answer makes no sense: {error!r}"
            return self._guest.interrupted(Outcome.BACKEND_CRASHED, detail)
        self.console = bytearray(stopped.console)
        if stopped.end is End.BELL:
            result = self._guest.result(request)
        else:
            outcome, explanation = _OUTCOMES[stopped.end]
            result = self._guest.interrupted(outcome, f"{explanation}: {stopped.detail}")
        return replace(result, faults=stopped.faults, control=stopped.control)

    def _run(self) -> Stop:
        entry = Entry(
            address=self._image.entry,
            magic=PROTOCOL.constants["multiboot_bootloader_magic"],
            information=PROTOCOL.boot["information"],
            descriptor_table=PROTOCOL.boot["descriptor_table"],
        )
        self._channel.send_bytes(json.dumps(asdict(entry)).encode())
        if not self._channel.poll(self._config.deadline):
            raise TimeoutError
        return Stop.decode(self._channel.recv_bytes())

    def _read(self, address: int, size: int) -> bytes:
        return self._ram[address : address + size]

    def last_words(self) -> str:
        """How the process ended, on one line."""
        try:
            status = f"exit status {self._process.wait(0.5)}"
        except subprocess.TimeoutExpired:
            status = "still running"
        lines = tail(self._errors).decode(errors="replace").split("\n")
        return ": ".join(["worker", status, *filter(None, map(str.strip, lines[-3:]))])

    def kill(self) -> None:
        """Kill the process; it is reaped by `close`."""
        self._process.kill()

    def close(self) -> None:
        """End the process and free everything."""
        self._resources.close()

    def _answers(self, seconds: float) -> bool:
        try:
            return self._channel.poll(seconds) and self._channel.recv_bytes() == b"ready"
        except (EOFError, OSError):
            return False


def _cpu(name: str, model: str) -> int:
    """Unicorn's number of a processor model."""
    try:
        from unicorn import x86_const
    except ImportError as error:
        raise BackendError(f"{name}: {error}; pip install unicorn") from error
    prefix = "UC_CPU_X86_"
    known = {word: number for word, number in vars(x86_const).items() if word.startswith(prefix)}
    if model not in known:
        near = difflib.get_close_matches(model, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; they begin with {prefix}"
        raise BackendError(f"{name}: Unicorn has no processor model {model!r}{hint}")
    return int(known[model])


def _environment() -> dict[str, str]:
    """The worker has to find this package also where it is not installed."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (root, path)))}
