"""Sources with a seeded defect: a kernel's, to be built, and the reference model's, to be run."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from conformance.case.image import IMAGES, Image
from conformance.engine.build import build_image

__all__ = ["Kernels", "model_with"]

_ROOT = Path(__file__).resolve().parents[3]


class Kernels:
    """Kernels with defects: of each, nothing is compiled but what its patch changes.

    The right kernel is built once. Each of the others starts from its sources and objects, with
    their times: to undo a patch would be a change, too, and compiled with the next one.
    """

    def __init__(self, folder: Path) -> None:
        self._right = folder / "right"
        self._work = folder / "work"
        shutil.copytree(_ROOT / "kernel", self._work / "kernel")
        (self._work / "objects").mkdir()
        self._build(folder / "image", "right", IMAGES[0])
        self._work.rename(self._right)

    def build(self, patch: Path, output: Path, architecture: str = IMAGES[0]) -> Image:
        """The image of the kernel with a patch."""
        shutil.copytree(self._right, self._work)
        try:
            _apply(self._work / "kernel", patch)
            return self._build(output, patch.stem, architecture)
        finally:
            shutil.rmtree(self._work)

    def _build(self, output: Path, name: str, architecture: str) -> Image:
        with pytest.MonkeyPatch.context() as patching:
            # A folder that stays, where the build would take a new one.
            objects = contextlib.nullcontext(str(self._work / "objects"))
            patching.setattr(tempfile, "TemporaryDirectory", lambda **_: objects)
            source = self._work / "kernel"
            return build_image(source, output, name=name, architecture=architecture)


def model_with(patch: Path, folder: Path) -> str:
    """A copy of the reference model with a patch: what stands for the Python that runs it."""
    root = folder / "model"
    for name in ("backends", "conformance"):
        # With what was compiled: it remains valid, but for the files that the patch changes.
        shutil.copytree(_ROOT / name, root / name, ignore=shutil.ignore_patterns("tests"))
    (root / "kernel").mkdir()
    shutil.copy(_ROOT / "kernel" / "protocol.toml", root / "kernel")
    package = root / "backends" / "unicorn_model"
    _apply(package, patch)
    path = os.pathsep.join([str(root), *filter(None, sys.path)])
    # Without `site`: an editable install would find its own modules before those in the path.
    words = ["exec", "env", f"PYTHONPATH={path}", sys.executable, "-S"]
    script = folder / "python"
    script.write_text(f'#!/bin/sh\n{shlex.join(words)} "$@"\n')
    script.chmod(0o755)
    for file in _changed(package, patch):
        _check_import(script, file, root)
    return str(script)


def _changed(folder: Path, patch: Path) -> list[Path]:
    """The files in a folder that a patch, which has been applied, is about."""
    listed = _git(folder, "apply", "--numstat", "-z", str(patch))
    files = [folder / line.split("\t")[2] for line in listed.split("\0") if line]
    assert files, f"{patch.name} changes nothing"
    return files


def _check_import(script: Path, file: Path, root: Path) -> None:
    """What the worker runs is this file. If it were another one, a defect would have no effect."""
    module = ".".join(file.relative_to(root).with_suffix("").parts)
    program = f"import {module} as module; print(module.__file__)"
    # As the backend starts it.
    command = [str(script), "-P", "-c", program]
    imported = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert Path(imported.rstrip("\n")) == file, f"{module} is imported from {imported}"


def _apply(folder: Path, patch: Path, *options: str) -> None:
    """Apply a patch to the sources in a folder, which is in no repository."""
    _git(folder, "apply", *options, str(patch))


def _git(folder: Path, *words: str) -> str:
    """What Git says in a folder that it is to take for no part of a repository."""
    environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(folder.parent)}
    return subprocess.run(
        ["git", *words], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
