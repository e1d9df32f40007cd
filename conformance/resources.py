"""Where the files that come with the harness are, installed or in a checkout."""

from __future__ import annotations

from pathlib import Path

from conformance.errors import ImageError

__all__ = ["checkout", "resource"]

_PACKAGE = Path(__file__).resolve().parent


def checkout() -> Path | None:
    """The root of the source checkout this package runs from, or None when it is installed."""
    root = _PACKAGE.parent
    return root if (root / "kernel" / "protocol.toml").is_file() else None


def resource(name: str) -> Path:
    """The path of a file or folder that belongs to the harness.

    Args:
        name: its path below the package's `_data` folder, such as `protocol.toml`,
            `images/i686/kernel.elf` or `fixtures/memory_maps`.

    In a checkout, the sources are preferred to what was installed from them.

    Raises:
        ImageError: there is no such file.
    """
    import conformance

    candidates = [Path(entry) / "_data" / name for entry in conformance.__path__]
    root = checkout()
    if root is not None:
        in_tree = root / ("kernel/protocol.toml" if name == "protocol.toml" else name)
        candidates.insert(0, in_tree)
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise ImageError(
        f"missing resource {name!r}; looked at {', '.join(map(str, candidates))}: "
        "reinstall with 'pip install .'"
    )
