"""Configuration: which backend instances there are.

`conformance.toml`, or `[tool.conformance]` in `pyproject.toml`, of the folder the command is run in
or of one above it:

    [backends.qemu-9]
    kind = "qemu"
    binary = "/opt/qemu-9/bin/qemu-system-i386"
    options = ["-d", "guest_errors"]
    cpu = "pentium3"
    deadline = 10.0

Without one, and with no `backends` in it, there are the instances `qemu`, `bochs` and `unicorn`.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from backends.backend import BUILT_IN, InstanceConfig, kinds
from conformance.errors import InvalidArgument, InvalidInput

__all__ = ["Config", "load_config", "select_instances"]

_DEFAULTS = tuple(InstanceConfig(name=kind, kind=kind) for kind in BUILT_IN)
_FILE = "conformance.toml"


@dataclass(frozen=True, slots=True)
class Config:
    """What the configuration says.

    Attributes:
        instances: the backend instances, in the file's order.
        source: the file it came from; None for the defaults.
    """

    instances: tuple[InstanceConfig, ...] = _DEFAULTS
    source: Path | None = None


class _Instance(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    binary: str = ""
    options: tuple[str, ...] = ()
    cpu: str = ""
    deadline: float = 20.0


class _File(msgspec.Struct, forbid_unknown_fields=True):
    backends: dict[str, _Instance] = {}


def load_config(path: Path | None = None, *, folder: Path | None = None) -> Config:
    """The configuration of a file, or of the nearest one at or above a folder.

    Raises:
        InvalidInput: the file is missing or malformed.
    """
    if path is not None:
        return _parse(path, _read(path))
    start = (folder or Path.cwd()).resolve()
    for candidate in (start, *start.parents):
        if (candidate / _FILE).is_file():
            return _parse(candidate / _FILE, _read(candidate / _FILE))
        project = candidate / "pyproject.toml"
        if project.is_file():
            table = _read(project).get("tool", {}).get("conformance")
            if table is not None:
                return _parse(project, table)
    return Config()


def select_instances(config: Config, names: Sequence[str]) -> tuple[InstanceConfig, ...]:
    """The instances of these names, in this order; all of them for no names.

    Raises:
        InvalidArgument: there is no instance of a name, or a name comes twice.
    """
    if not names:
        return config.instances
    known = {instance.name: instance for instance in config.instances}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InvalidArgument(f"no backend {name!r}; configured: {', '.join(known)}{hint}")
    if len(set(names)) != len(names):
        raise InvalidArgument(f"a backend is named twice: {', '.join(names)}")
    return tuple(known[name] for name in names)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: not TOML: {error}") from error


def _parse(path: Path, table: dict[str, Any]) -> Config:
    # In a file of its own the keys may stand alone or under [tool.conformance].
    if set(table) == {"tool"}:
        table = table["tool"].get("conformance", {})
    try:
        file = msgspec.convert(table, _File)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{path}: {error}") from error
    if not file.backends:
        return Config(source=path)
    instances = []
    for name, entry in file.backends.items():
        if entry.kind not in kinds():
            raise InvalidInput(
                f"{path}: backends.{name}: no backend kind {entry.kind!r}; "
                f"known: {', '.join(kinds())}"
            )
        if not 0 < entry.deadline <= 3600:
            raise InvalidInput(
                f"{path}: backends.{name}: deadline={entry.deadline:g} is outside (0, 3600] seconds"
            )
        instances.append(InstanceConfig(name=name, **msgspec.structs.asdict(entry)))
    return Config(tuple(instances), path)
