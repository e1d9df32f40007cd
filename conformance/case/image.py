"""Kernel images: one Multiboot ELF of 32 or 64 bits, and the ROM that boots it with no firmware.

The ROM holds, from its start: the kernel ELF; in the middle a payload, if one is built in; and at
its end, up to the reset vector in the last 16 bytes, the loader (kernel/boot/rom.*).
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from conformance.errors import ImageError, InvalidInput
from conformance.protocol import PROTOCOL, ImageValues, StateRegion
from conformance.resources import resource

__all__ = ["IMAGES", "Image", "ImageId", "Segment", "default_image", "load_image"]

IMAGES = ("i686", "x86_64")
"""The images that come with the harness. Each has the name of its architecture."""

_ARCHITECTURES = {"EM_386": "i686", "EM_X86_64": "x86_64"}

_ROM_SIZE = 512 * 1024
_ROM_PAYLOAD = 256 * 1024
_IMAGE_LIMIT = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ImageId:
    """An image's name and the SHA-256 (hexadecimal) over its kernel and its ROM loader.

    Attributes:
        architecture: one of IMAGES: what the kernel was built for, whatever its name is.
    """

    name: str
    sha256: str
    architecture: str = "i686"


@dataclass(frozen=True, slots=True)
class Segment:
    """A loadable segment: `data` at physical `address`, then zeros up to `size` bytes."""

    address: int
    data: bytes
    size: int


@dataclass(frozen=True)
class Image:
    """One kernel binary with its ROM loader.

    Attributes:
        name: such as `i686`.
        kernel: the Multiboot ELF file.
        loader: the ROM loader's ELF file.

    Raises:
        ImageError: one of the two is not an ELF file, or the kernel's is for another processor.
    """

    name: str
    kernel: bytes
    loader: bytes

    def __post_init__(self) -> None:
        for part, data in (("kernel", self.kernel), ("loader", self.loader)):
            with _reading(self.name, part):
                machine = ELFFile(io.BytesIO(data)).header["e_machine"]
            if machine not in _ARCHITECTURES:
                raise ImageError(
                    f"image {self.name}: the {part} is for {machine}, "
                    f"not for one of {', '.join(_ARCHITECTURES)}"
                )

    @functools.cached_property
    def id(self) -> ImageId:
        """Name and digest."""
        digest = hashlib.sha256(
            hashlib.sha256(self.kernel).digest() + hashlib.sha256(self.loader).digest()
        )
        return ImageId(self.name, digest.hexdigest(), self.architecture)

    @functools.cached_property
    def architecture(self) -> str:
        """What the kernel was built for: one of IMAGES."""
        return _ARCHITECTURES[ELFFile(io.BytesIO(self.kernel)).header["e_machine"]]

    @property
    def values(self) -> ImageValues:
        """The protocol's constants, as this image has them."""
        return PROTOCOL.images[self.architecture]

    @functools.cached_property
    def segments(self) -> tuple[Segment, ...]:
        """The kernel's loadable segments, by physical address."""
        with _reading(self.name, "kernel"):
            return _segments(self.kernel)

    @functools.cached_property
    def entry(self) -> int:
        """The kernel's entry point."""
        return int(ELFFile(io.BytesIO(self.kernel)).header["e_entry"])

    @functools.cached_property
    def symbols(self) -> dict[str, int]:
        """The kernel's symbols and their virtual addresses."""
        with _reading(self.name, "kernel"):
            table = ELFFile(io.BytesIO(self.kernel)).get_section_by_name(".symtab")
            if not isinstance(table, SymbolTableSection):
                raise ImageError(f"image {self.name}: the kernel has no symbol table")
            symbols = [(each.name, int(each["st_value"])) for each in table.iter_symbols()]
        return {name: value for name, value in symbols if name}

    def physical(self, symbol: str) -> int:
        """The physical address of a symbol of the kernel's window.

        Raises:
            ImageError: the kernel has no such symbol.
        """
        try:
            return self.symbols[symbol] - self.values.boot["kernel_window"]
        except KeyError:
            raise ImageError(f"image {self.name}: the kernel has no symbol {symbol!r}") from None

    def bounds(self, region: StateRegion | str) -> tuple[int, int]:
        """Physical [start, end) of a state region, or of what `NAME_start` and `NAME_end` bound."""
        if isinstance(region, StateRegion):
            return self.physical(region.start), self.physical(region.end)
        return self.physical(f"{region}_start"), self.physical(f"{region}_end")

    def rom(self, payload: bytes = b"") -> bytes:
        """The ROM: 512 KiB that end at 4 GiB, with a payload built in or with none.

        Raises:
            ImageError: something does not fit.
        """
        if len(self.kernel) > _ROM_PAYLOAD:
            raise ImageError(
                f"image {self.name}: the kernel has {len(self.kernel)} bytes, "
                f"the ROM has room for {_ROM_PAYLOAD}"
            )
        rom = bytearray(_ROM_SIZE)
        rom[: len(self.kernel)] = self.kernel
        rom[_ROM_PAYLOAD : _ROM_PAYLOAD + len(payload)] = payload
        with _reading(self.name, "loader"):
            loader = _segments(self.loader)
        for segment in loader:
            start = segment.address - (0x1_0000_0000 - _ROM_SIZE)
            if start < _ROM_PAYLOAD + len(payload) or start + len(segment.data) > _ROM_SIZE:
                raise ImageError(
                    f"image {self.name}: the loader's segment at {segment.address:#x} "
                    f"(payload: {len(payload)} bytes) does not fit into the ROM"
                )
            rom[start : start + len(segment.data)] = segment.data
        return bytes(rom)

    def pack(self) -> dict[str, str]:
        """The image as text, for a file that has to be enough by itself; see `unpack`."""
        return {
            "name": self.name,
            "sha256": self.id.sha256,
            "kernel": base64.b64encode(zlib.compress(self.kernel, 9)).decode(),
            "loader": base64.b64encode(zlib.compress(self.loader, 9)).decode(),
        }

    @classmethod
    def unpack(cls, packed: dict[str, str]) -> Image:
        """The image that `pack` turned into text.

        Raises:
            InvalidInput: the text is damaged, or its digest is another one.
        """
        try:
            image = cls(packed["name"], _inflate(packed["kernel"]), _inflate(packed["loader"]))
        except (KeyError, TypeError, ValueError, zlib.error, ImageError) as error:
            raise InvalidInput(f"packed image is damaged: {error!r}") from error
        if image.id.sha256 != packed.get("sha256"):
            raise InvalidInput(
                f"packed image {image.name}: sha256={image.id.sha256}, "
                f"but the file says {packed.get('sha256')!r}"
            )
        return image


@contextlib.contextmanager
def _reading(name: str, part: str) -> Iterator[None]:
    """Turns what the ELF reader says of a damaged file into an ImageError."""
    try:
        yield
    except (ELFError, ValueError) as error:
        raise ImageError(f"image {name}: the {part} is not an ELF file: {error}") from error


def _inflate(text: str) -> bytes:
    inflater = zlib.decompressobj()
    data = inflater.decompress(base64.b64decode(text, validate=True), _IMAGE_LIMIT)
    if not inflater.eof:
        raise ValueError(f"truncated, or over {_IMAGE_LIMIT} bytes")
    return data


def _segments(elf: bytes) -> tuple[Segment, ...]:
    return tuple(
        Segment(int(segment["p_paddr"]), segment.data(), int(segment["p_memsz"]))
        for segment in ELFFile(io.BytesIO(elf)).iter_segments(type="PT_LOAD")
        if segment["p_memsz"]
    )


def load_image(folder: Path, name: str) -> Image:
    """The image whose `kernel.elf` and `loader.elf` are in a folder.

    Raises:
        ImageError: a file is missing or not an ELF file.
    """
    try:
        return Image(
            name, (folder / "kernel.elf").read_bytes(), (folder / "loader.elf").read_bytes()
        )
    except OSError as error:
        raise ImageError(
            f"image {name}: {error.filename}: {error.strerror}; build it first: 'make setup'"
        ) from error


@functools.cache
def default_image(name: str = "i686") -> Image:
    """An image that comes with the harness.

    Raises:
        ImageError: there is none of that name, or it was not built.
    """
    if name not in IMAGES:
        raise ImageError(f"no image {name!r}; known: {', '.join(IMAGES)}")
    return load_image(resource(f"images/{name}"), name)
