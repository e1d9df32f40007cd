"""What a backend is: the protocol that every engine fulfils, and how engines are found.

A third party registers a backend in its own `pyproject.toml`:

    [project.entry-points."conformance.backends"]
    my-engine = "my_package:MyBackend"

where `MyBackend` is called with one InstanceConfig. `backends.contract` has the tests it must pass.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, runtime_checkable

from conformance.case.image import Image
from conformance.case.machine import Machine
from conformance.errors import BackendError, InvalidArgument
from conformance.observe.observation import Observation
from conformance.protocol import StateRegion

__all__ = [
    "BUILT_IN",
    "Availability",
    "Backend",
    "InstanceConfig",
    "Request",
    "Session",
    "create_backend",
    "kinds",
]

BUILT_IN = ("qemu", "bochs", "unicorn")
"""The kinds of backend that come with the harness, and the names of their default instances."""

_ENTRY_POINTS = "conformance.backends"


@dataclass(frozen=True, slots=True)
class InstanceConfig:
    """A backend instance, as `conformance.toml` names it.

    Attributes:
        name: what it is called in reports: `qemu`, `qemu-9`.
        kind: which backend: `qemu`, `bochs`, `unicorn`, or an entry point's name.
        binary: the engine's program, a name to look up in PATH or a path; empty for the usual one.
        options: further words for the engine's command line (Bochs: lines of its configuration).
        cpu: the engine's own name of a processor model; empty for the machine's CPU profile.
        deadline: seconds that one case may take.
    """

    name: str
    kind: str
    binary: str = ""
    options: tuple[str, ...] = ()
    cpu: str = ""
    deadline: float = 20.0


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a backend can be used here.

    Attributes:
        usable: it can.
        version: the engine's version; empty where it is not known.
        reason: why it can not be used; empty if it can.
        remedy: what to do about it; empty if it can.
    """

    usable: bool
    version: str = ""
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """One case, as a session gets it.

    Attributes:
        payload: the bytes for the guest (kernel/protocol.toml, [payload]).
        state_regions: the regions of guest memory to read when the kernel has come to its end.
        frames: how many frames the allocator's bitmaps are about (kernel/TRACE.md, "The run", 5);
            what lies behind is not defined. None: all that they have room for.
    """

    payload: bytes
    state_regions: tuple[StateRegion, ...] = field(default=())
    frames: int | None = None


@runtime_checkable
class Session(Protocol):
    """One backend instance, opened for one image on one machine; runs many cases, one at a time."""

    def run(self, request: Request) -> Observation:
        """Run one case from reset.

        Whatever the guest or the engine does is an outcome, not an exception; after a crash or a
        deadline the session is ready for the next case.

        Raises:
            BackendError: the session is closed.
        """

    def abort(self) -> None:
        """From any thread: kill the engine, so that a `run` in progress returns at once."""

    def close(self) -> None:
        """Free everything that was opened. May be called twice."""


@runtime_checkable
class Backend(Protocol):
    """An engine, configured. Everything but `open` is cheap and changes nothing."""

    config: InstanceConfig

    # The same request gives the same observation, byte for byte, also after other requests in the
    # same session. The harness relies on it: a backend that cannot promise it says False here, and
    # its divergences are reported as flaky.
    deterministic: bool

    def probe(self) -> Availability:
        """Whether the engine can be used here; never raises."""

    def open(self, image: Image, machine: Machine) -> Session:
        """Start the engine.

        Raises:
            BackendError: it does not start; with its command line and what it printed.
        """


def _registered() -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=_ENTRY_POINTS):
        found.setdefault(point.name, point)
    return found


def kinds() -> tuple[str, ...]:
    """The kinds of backend there are, the built-in ones first."""
    others = sorted(set(_registered()) - set(BUILT_IN))
    return (*BUILT_IN, *others)


def create_backend(config: InstanceConfig) -> Backend:
    """The backend of a configured instance.

    Raises:
        InvalidArgument: there is no such kind.
        BackendError: another package registered it, but it cannot be imported.
    """
    if config.kind == "qemu":
        from backends.qemu import QemuBackend

        return QemuBackend(config)
    if config.kind == "bochs":
        from backends.bochs import BochsBackend

        return BochsBackend(config)
    if config.kind == "unicorn":
        from backends.unicorn_model.backend import UnicornBackend

        return UnicornBackend(config)
    registered = _registered()
    if config.kind not in registered:
        near = difflib.get_close_matches(config.kind, kinds(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InvalidArgument(
            f"no backend kind {config.kind!r} (instance {config.name!r}); "
            f"known: {', '.join(kinds())}{hint}"
        )
    point = registered[config.kind]
    try:
        make: Callable[[InstanceConfig], Backend] = point.load()
    except (ImportError, AttributeError) as error:
        raise BackendError(
            f"{config.name}: backend kind {config.kind!r}, registered as {point.value}: {error}"
        ) from error
    return make(config)
