"""The image's build: the same bytes everywhere with zig, and other compilers as well."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from conformance.case.case import Case
from conformance.case.image import IMAGES, Image, default_image
from conformance.case.machine import Machine
from conformance.case.memory_map import MemoryMap, Region
from conformance.case.program import Allocate, Dump, Program
from conformance.config import Config
from conformance.engine.build import build_image, build_images
from conformance.engine.setup import build_harness
from conformance.errors import BuildError

KERNEL = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    built = build_images(KERNEL, tmp_path_factory.mktemp("images"))
    return {image.name: image for image in built}


@pytest.fixture(params=IMAGES)
def image(request: pytest.FixtureRequest, images: dict[str, Image]) -> Image:
    return images[request.param]


def test_each_image_is_for_its_architecture(images: dict[str, Image]) -> None:
    assert [(image.name, image.architecture) for image in images.values()] == [
        (name, name) for name in IMAGES
    ]
    assert images["i686"].loader == images["x86_64"].loader


def test_the_same_sources_give_the_same_image(image: Image, tmp_path: Path) -> None:
    elsewhere = tmp_path / "a much longer path than the other one" / "kernel"
    shutil.copytree(KERNEL, elsewhere)
    again = build_image(elsewhere, tmp_path / "image", architecture=image.architecture)
    assert again.id == image.id


def test_the_installed_image_is_built_from_these_sources(image: Image) -> None:
    installed = default_image(image.name)
    assert installed.id == image.id, "run 'make setup' to build and install the image"


@pytest.mark.parametrize("part", ["kernel", "loader"])
def test_the_image_has_no_vector_code(image: Image, part: str, tmp_path: Path) -> None:
    """Nothing has enabled SSE: one such instruction would be an invalid opcode."""
    if shutil.which("objdump") is None:
        pytest.skip("objdump not found")
    path = tmp_path / "part.elf"
    path.write_bytes(getattr(image, part))
    text = subprocess.run(
        ["objdump", "-d", path], capture_output=True, text=True, check=True
    ).stdout
    assert "iret" in text or "hlt" in text  # it did disassemble something
    assert not [line for line in text.splitlines() if "%xmm" in line or "%mm" in line]


def test_the_loader_has_nothing_to_write_to(image: Image) -> None:
    """It runs from ROM."""
    for segment in ELFFile(io.BytesIO(image.loader)).iter_segments(type="PT_LOAD"):
        assert segment["p_memsz"] == segment["p_filesz"]
        assert not segment["p_flags"] & 2


@pytest.mark.parametrize("architecture", IMAGES)
@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_another_compiler_makes_a_kernel_that_agrees(
    compiler: str, architecture: str, tmp_path: Path
) -> None:
    try:
        image = build_image(
            KERNEL, tmp_path / "image", compiler=compiler, architecture=architecture
        )
    except BuildError as error:
        optional = compiler == "clang++" or not os.environ.get("CI")
        if optional and ("no compiler" in str(error) or "g++-multilib" in str(error)):
            pytest.skip(str(error).splitlines()[-1])
        raise
    memory_map = MemoryMap((Region(0, 0x9FC00), Region(0x100000, 0x1F00800)))
    machine = Machine.smallest(architecture)
    case = Case(image.id, machine, memory_map, Program((Allocate(), Dump())))
    harness, _ = build_harness(Config(), images=[image], seed=0, cases=1)
    with harness.runner:
        result = harness.runner.run(case)
    assert result.agrees, result.verdict.reason


def test_a_broken_source_is_a_build_error_with_the_compiler_s_words(tmp_path: Path) -> None:
    source = tmp_path / "kernel"
    shutil.copytree(KERNEL, source)
    broken = source / "core" / "kernel.cpp"
    broken.write_text(broken.read_text() + "\nthis is not C++\n")
    with pytest.raises(BuildError, match=r"kernel\.cpp"):
        build_image(source, tmp_path / "image")


def test_a_folder_without_sources_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"no CMakeLists\.txt"):
        build_image(tmp_path, tmp_path / "image")
