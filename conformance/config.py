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
A list of known divergences of one's own, beside the one that comes with the harness, is named by

    known = "known_divergences.toml"    # from the folder of the configuration
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from backends.backend import BUILT_IN, InstanceConfig, kinds
from conformance.case.wire import convert, excerpt, invalid, parse_toml, read_text
from conformance.errors import InvalidArgument
from conformance.judge.compare import ORACLE
from conformance.judge.verdict import KERNEL, NOBODY, UNKNOWN

__all__ = ["Config", "load_config", "select_instances"]

_DEFAULTS = tuple(InstanceConfig(name=kind, kind=kind) for kind in BUILT_IN)
_FILE = "conformance.toml"
_SECTION = frozenset({"tool", "project", "build-system"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_KEYS = ("backends", "known")
_RESERVED = (ORACLE, KERNEL, NOBODY, UNKNOWN)
"""In a verdict, these are somebody else."""


@dataclass(frozen=True, slots=True)
class Config:
    """What the configuration says.

    Attributes:
        instances: the backend instances, in the file's order.
        source: the file it came from; None for the defaults.
        known: a list of known divergences of the user's own; None for none.
    """

    instances: tuple[InstanceConfig, ...] = _DEFAULTS
    source: Path | None = None
    known: Path | None = None


class _Instance(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    binary: str = ""
    options: tuple[str, ...] = ()
    cpu: str = ""
    deadline: float = 20.0


def load_config(path: Path | None = None, *, folder: Path | None = None) -> Config:
    """The configuration of a file, or of the nearest one at or above a folder.

    Raises:
        InvalidInput: the file is missing or malformed.
    """
    if path is not None:
        table = parse_toml(read_text(path), str(path))
        own = table if _SECTION.isdisjoint(table) else _section(table)
        if own is None:
            invalid(str(path), "", "has no [tool.conformance]")
        return _parse(path, own)
    start = (folder or Path.cwd()).resolve()
    for candidate in (start, *start.parents):
        if (candidate / _FILE).is_file():
            return load_config(candidate / _FILE)
        project = candidate / "pyproject.toml"
        if project.is_file():
            section = _section(parse_toml(read_text(project), str(project)))
            if section is not None:
                return _parse(project, section)
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


def _section(table: dict[str, Any]) -> Any:
    """What a `pyproject.toml` has at [tool.conformance]; None for nothing."""
    tool = table.get("tool")
    return tool.get("conformance") if isinstance(tool, dict) else None


def _parse(path: Path, table: Any) -> Config:
    settings = _table(path, "", table)
    for key in settings:
        if key not in _KEYS:
            invalid(str(path), "", f"unknown key {excerpt(key)}; known: {', '.join(_KEYS)}")
    instances = _table(path, "backends", settings.get("backends", {})).items()
    found = tuple(_instance(path, name, entry) for name, entry in instances)
    known = settings.get("known")
    if known is not None and not (isinstance(known, str) and known):
        invalid(str(path), "known", f"expected the name of a file, got {excerpt(known)}")
    return Config(found or _DEFAULTS, path, None if known is None else path.parent / known)


def _table(path: Path, where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        invalid(str(path), where, f"expected a table, got {excerpt(value)}")
    return value


def _instance(path: Path, name: str, value: Any) -> InstanceConfig:
    if not _NAME.fullmatch(name) or name in _RESERVED:
        invalid(
            str(path),
            "backends",
            f"{excerpt(name)} cannot be a backend's name: up to 64 letters, digits, . _ + -, "
            f"and none of {', '.join(_RESERVED)}",
        )
    where = f"backends.{name}"
    entry = convert(_table(path, where, value), _Instance, f"{path}: {where}")
    if entry.kind not in kinds():
        near = difflib.get_close_matches(entry.kind, kinds(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        known = ", ".join(kinds())
        invalid(str(path), where, f"no backend kind {excerpt(entry.kind)}; known: {known}{hint}")
    if not 0 < entry.deadline <= 3600:
        invalid(str(path), where, f"deadline={entry.deadline:g} is outside (0, 3600] seconds")
    return InstanceConfig(name=name, **msgspec.structs.asdict(entry))
