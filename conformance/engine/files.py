"""Files that the harness writes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from conformance.errors import InvalidArgument

__all__ = ["check_writable", "write_atomically"]


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that, whatever happens, it is the old one or the new one.

    Raises:
        InvalidArgument: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from error


def check_writable(path: Path) -> None:
    """Make sure, before the work is done, that a file or folder can be made; it is not.

    Raises:
        InvalidArgument: it cannot.
    """
    folder = path
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if folder == path and not path.is_dir():
        folder = path.parent  # a file, which will be replaced
    try:
        # What a file system permits, it alone knows.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> InvalidArgument:
    return InvalidArgument(f"cannot write {path}: {error.strerror}; name another place")
