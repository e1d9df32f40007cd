"""Building kernel images from their sources."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from conformance.case.image import IMAGES, Image, load_image
from conformance.errors import BuildError

__all__ = ["ZIG", "build_image", "build_images"]

ZIG = "zig"
"""The compiler that comes with the pip package `ziglang`, and makes the same image everywhere."""

_LAST_LINES = 20
_SECONDS = 300


def build_image(
    source: Path,
    output: Path,
    *,
    compiler: str = ZIG,
    name: str = "",
    architecture: str = IMAGES[0],
) -> Image:
    """Build one image of a kernel source folder into a folder.

    Args:
        source: the folder with `CMakeLists.txt` and `protocol.toml`.
        output: gets `kernel.elf` and `loader.elf`.
        compiler: ZIG, or a GNU-like C++ compiler that can build for 32-bit and 64-bit x86.
        name: of the image; by default that of its architecture.
        architecture: one of IMAGES.

    Raises:
        BuildError: a tool is missing, or the sources do not compile.
    """
    _build(source, {architecture: output}, compiler)
    return load_image(output, name or architecture)


def build_images(source: Path, output: Path, *, compiler: str = ZIG) -> tuple[Image, ...]:
    """Build all images of a kernel source folder, each into the folder of its name in `output`.

    Args:
        source, compiler: as for `build_image`.

    Raises:
        BuildError: a tool is missing, or the sources do not compile.
    """
    _build(source, {name: output / name for name in IMAGES}, compiler)
    return tuple(load_image(output / name, name) for name in IMAGES)


def _build(source: Path, outputs: dict[str, Path], compiler: str) -> None:
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
        targets = ["loader", *(f"kernel_{name}" for name in outputs)]
        _run([cmake, "--build", folder, "--target", *targets])
        for name, output in outputs.items():
            output.mkdir(parents=True, exist_ok=True)
            # All images have one loader, which is built with the first.
            for file, built in (("kernel.elf", name), ("loader.elf", IMAGES[0])):
                shutil.copyfile(Path(folder) / built / file, output / file)


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
