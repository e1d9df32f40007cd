"""Building a kernel image from its sources."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from conformance.case.image import Image, load_image
from conformance.errors import BuildError

__all__ = ["ZIG", "build_image"]

ZIG = "zig"
"""The compiler that comes with the pip package `ziglang`, and makes the same image everywhere."""

_LAST_LINES = 20
_SECONDS = 300


def build_image(source: Path, output: Path, *, compiler: str = ZIG, name: str = "i686") -> Image:
    """Build the image of a kernel source folder into a folder.

    Args:
        source: the folder with `CMakeLists.txt` and `protocol.toml`.
        output: gets `kernel.elf` and `loader.elf`.
        compiler: ZIG, or a GNU-like C++ compiler that can build for 32-bit x86.
        name: of the image.

    Raises:
        BuildError: a tool is missing, or the sources do not compile.
    """
    if not (source / "CMakeLists.txt").is_file():
        raise BuildError(f"{source}: no CMakeLists.txt: not a kernel source folder")
    cmake, ninja = _tool("cmake"), _tool("ninja")
    toolchain = "zig" if compiler == ZIG else "gnu"
    settings = [
        f"-DCMAKE_TOOLCHAIN_FILE={source.resolve() / 'cmake' / f'{toolchain}.cmake'}",
        f"-DCMAKE_MAKE_PROGRAM={ninja}",
        f"-DPython3_EXECUTABLE={sys.executable}",
        "-DCMAKE_BUILD_TYPE=",
    ]
    if compiler == ZIG:
        if importlib.util.find_spec("ziglang") is None:
            raise BuildError("the Python package ziglang is missing: pip install ziglang")
    else:
        if shutil.which(compiler) is None:
            raise BuildError(f"no compiler {compiler!r} in PATH")
        settings.append(f"-DKERNEL_COMPILER={compiler}")
    with tempfile.TemporaryDirectory(prefix="conformance-build-") as folder:
        _run([cmake, "-S", str(source), "-B", folder, "-G", "Ninja", *settings])
        _run([cmake, "--build", folder])
        output.mkdir(parents=True, exist_ok=True)
        for file in ("kernel.elf", "loader.elf"):
            shutil.copyfile(Path(folder) / file, output / file)
    return load_image(output, name)


def _tool(name: str) -> str:
    """A build tool: the one beside this Python, or any in PATH."""
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which(name, path=search)
    if found is None:
        raise BuildError(f"{name} is missing: pip install {name}")
    return found


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{' '.join(command)}: {error}") from error
    if done.returncode:
        lines = done.stdout.decode(errors="replace").splitlines()[-_LAST_LINES:]
        if any("c++config.h" in line for line in lines):
            lines.append("a 32-bit C++ library is missing: apt-get install g++-multilib")
        raise BuildError("\n".join([f"{' '.join(command)}: exit status {done.returncode}", *lines]))
