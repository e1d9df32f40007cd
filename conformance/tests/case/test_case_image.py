"""Images: what is read out of the ELF files, the ROM made of them, and damaged ones."""

from __future__ import annotations

import base64
import contextlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.case.case import Case
from conformance.case.image import IMAGES, Image, default_image, load_image
from conformance.case.machine import Machine
from conformance.errors import ConformanceError, ImageError, InvalidArgument, InvalidInput
from conformance.protocol import PROTOCOL


def test_its_id_depends_on_both_files_and_not_on_the_name(image: Image) -> None:
    other_kernel = replace(image, kernel=image.kernel + b"\0")
    other_loader = replace(image, loader=image.loader + b"\0")
    digests = {each.id.sha256 for each in (image, other_kernel, other_loader)}
    assert len(digests) == 3
    renamed = replace(image, name="other")
    assert renamed.id.sha256 == image.id.sha256
    assert renamed.id != image.id


def test_its_architecture_is_that_of_its_kernel(image: Image) -> None:
    wide = default_image("x86_64")
    assert (image.id.architecture, wide.id.architecture) == ("i686", "x86_64")
    assert replace(wide, name="mine").id.architecture == "x86_64"
    start, end = wide.bounds("trace_buffer")
    assert 1 << 20 <= start < end <= PROTOCOL.boot["kernel_window_size"]
    assert wide.symbols["trace_buffer_start"] == 0xFFFFFFFF_C0000000 + start


def test_an_image_runs_on_its_own_machines_only() -> None:
    for image, machine in (
        (default_image("x86_64"), Machine()),
        (default_image("i686"), Machine.smallest("x86_64")),
    ):
        with pytest.raises(InvalidArgument, match=f"image '{image.name}' .* does not run with"):
            Case(image.id, machine)


def test_segments_are_where_the_kernel_is_loaded(image: Image) -> None:
    assert image.segments
    for segment in image.segments:
        assert len(segment.data) <= segment.size
        assert segment.address >= 1 << 20
    assert any(each.address <= image.entry < each.address + each.size for each in image.segments)


@pytest.mark.parametrize("name", [*PROTOCOL.state_regions, "trace_buffer", "kernel_image"])
def test_bounds_are_half_open_and_below_the_window(name: str, image: Image) -> None:
    region = PROTOCOL.state_regions.get(name, name)
    start, end = image.bounds(region)
    assert 1 << 20 <= start < end <= PROTOCOL.boot["kernel_window_size"]
    assert image.bounds(name) == (start, end)


def test_a_symbol_that_is_missing(image: Image) -> None:
    with pytest.raises(ImageError, match="image i686: the kernel has no symbol 'nonsense'"):
        image.physical("nonsense")
    with pytest.raises(ImageError, match="nonsense_start"):
        image.bounds("nonsense")


def test_the_rom_holds_the_kernel_a_payload_and_the_reset_vector(image: Image) -> None:
    plain, built_in = image.rom(), image.rom(b"payload")
    assert len(plain) == len(built_in) == 512 * 1024
    assert plain.startswith(image.kernel)
    assert built_in[256 * 1024 :].startswith(b"payload")
    assert plain[256 * 1024 :].startswith(bytes(7))
    assert any(plain[-16:])
    different = [at for at in range(len(plain)) if plain[at] != built_in[at]]
    assert different == list(range(256 * 1024, 256 * 1024 + 7))


def test_what_does_not_fit_into_the_rom(image: Image) -> None:
    with pytest.raises(ImageError, match="262145 bytes, the ROM has room for 262144"):
        replace(image, kernel=image.kernel.ljust(256 * 1024 + 1, b"\0")).rom()
    with pytest.raises(ImageError, match="does not fit into the ROM"):
        image.rom(bytes(256 * 1024))


def test_packing_is_lossless(image: Image) -> None:
    packed = image.pack()
    assert Image.unpack(packed) == image
    assert all(text.isascii() for text in packed.values())
    assert len(packed["kernel"]) < len(image.kernel)


def bomb(size: int) -> str:
    return base64.b64encode(zlib.compress(bytes(size))).decode()


Damage = Callable[[dict[str, str]], dict[str, str]]
DAMAGES: dict[str, tuple[Damage, str]] = {
    "no kernel": (
        lambda packed: {key: packed[key] for key in packed if key != "kernel"},
        "damaged: KeyError",
    ),
    "not base64": (lambda packed: packed | {"kernel": "ä" + packed["kernel"]}, "ASCII"),
    "not compressed": (
        lambda packed: packed | {"loader": base64.b64encode(b"junk").decode()},
        "damaged: error",
    ),
    "truncated": (lambda packed: packed | {"kernel": packed["kernel"][:4000]}, "truncated"),
    "not text": (lambda packed: packed | {"kernel": 5}, "damaged: TypeError"),  # type: ignore[dict-item]
    "not an ELF file": (lambda packed: packed | {"kernel": bomb(100)}, "not an ELF file"),
    "a bomb": (lambda packed: packed | {"kernel": bomb(64 << 20)}, "or over 16777216 bytes"),
    "another kernel": (lambda packed: packed | {"kernel": packed["loader"]}, "the file says"),
    "no digest": (lambda packed: packed | {"sha256": ""}, "the file says ''"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_packed_image_that_is_damaged(damage: str, image: Image) -> None:
    change, message = DAMAGES[damage]
    with pytest.raises(InvalidInput, match=f"^packed image.*{message}") as got:
        Image.unpack(change(image.pack()))
    assert "\n" not in str(got.value)
    assert len(str(got.value)) < 300


@pytest.mark.parametrize("part", ["kernel", "loader"])
@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"junk" * 100])
def test_a_file_that_is_no_elf(part: str, data: bytes, image: Image) -> None:
    with pytest.raises(ImageError, match=f"image i686: the {part} is not an ELF file"):
        replace(image, **{part: data})


def test_a_kernel_without_symbols(image: Image) -> None:
    # e_shoff, e_shnum and e_shstrndx, of the section headers, which a stripped file lacks.
    kernel = bytearray(image.kernel)
    struct.pack_into("<I", kernel, 32, 0)
    struct.pack_into("<HH", kernel, 48, 0, 0)
    with pytest.raises(ImageError, match="no symbol table"):
        replace(image, kernel=bytes(kernel)).physical("kernel_image_start")


@settings(max_examples=100)
@given(data=st.data())
def test_whatever_is_wrong_in_an_elf_file_is_an_error_of_the_image(
    data: st.DataObject, image: Image
) -> None:
    kernel = bytearray(image.kernel)
    headers = struct.unpack_from("<I", kernel, 32)[0]
    places = st.one_of(st.integers(4, 0x200), st.integers(headers, len(kernel) - 1))
    for _ in range(data.draw(st.integers(1, 4))):
        kernel[data.draw(places)] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ConformanceError):
        damaged = replace(image, kernel=bytes(kernel))
        assert damaged.entry >= 0
        for region in PROTOCOL.state_regions.values():
            damaged.bounds(region)
        assert sum(len(segment.data) for segment in damaged.segments) <= 64 * len(kernel)
        damaged.rom()


def test_an_image_comes_from_a_folder(image: Image, tmp_path: Path) -> None:
    (tmp_path / "kernel.elf").write_bytes(image.kernel)
    with pytest.raises(ImageError, match=r"loader\.elf: No such file.*make setup"):
        load_image(tmp_path, "mine")
    (tmp_path / "loader.elf").write_bytes(image.loader)
    assert load_image(tmp_path, "mine") == replace(image, name="mine")


def test_the_images_of_the_harness() -> None:
    for name in IMAGES:
        assert default_image(name) is default_image(name)
    with pytest.raises(ImageError, match="no image 'z80'; known: i686, x86_64"):
        default_image("z80")
