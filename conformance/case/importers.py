"""Memory maps from what Linux shows of the firmware's: boot logs, sysfs, /proc/iomem.

Linux prints inclusive ends nearly everywhere; they become half-open here and nowhere else.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from conformance.case.map_file import load_map_file
from conformance.case.memory_map import ADDRESS_LIMIT, MemoryMap, Region, RegionType
from conformance.case.wire import SIZE_LIMIT, decode_text, excerpt, invalid
from conformance.errors import InvalidArgument

__all__ = ["import_boot_log", "import_iomem", "import_map", "import_sysfs"]

_SOFT_RESERVED: Final = 0xEFFF_FFFF
_PERSISTENT_LEGACY: Final = 12

_TYPES: Final = {
    "usable": RegionType.AVAILABLE,
    "kernel usable ram": RegionType.AVAILABLE,
    "system ram": RegionType.AVAILABLE,
    "reserved": RegionType.RESERVED,
    "device reserved": RegionType.RESERVED,
    "acpi data": RegionType.ACPI_RECLAIMABLE,
    "acpi tables": RegionType.ACPI_RECLAIMABLE,
    "acpi nvs": RegionType.ACPI_NVS,
    "acpi non-volatile storage": RegionType.ACPI_NVS,
    "unusable": RegionType.BAD,
    "unusable memory": RegionType.BAD,
    "persistent memory": RegionType.PERSISTENT,
    "persistent memory (legacy)": _PERSISTENT_LEGACY,
    "soft reserved": _SOFT_RESERVED,
    # sysfs does not say which; like any type it does not know, Linux leaves such memory alone.
    "unknown e820 type": RegionType.RESERVED,
}
"""Type numbers by the names that the versions of Linux have for them, in lower case."""

_NUMBERED: Final = re.compile(r"(?:persistent[a-z ]*\()?type (\d{1,10})\)?")
_RESERVED_BY: Final = re.compile(r"reserved by\b.*")

_MARKER: Final = "BIOS-e820:"
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_NEW_BOOT: Final = re.compile(r"BIOS-provided physical RAM map|\bLinux version \d")
_GAP: Final = re.compile(r"\[gap 0x[0-9a-f]+-0x[0-9a-f]+\].*", re.IGNORECASE)
_INCLUSIVE: Final = re.compile(
    r"\[mem 0x([0-9a-f]+)-0x([0-9a-f]+)\]\s+(?:[0-9.]+\s+[KMGTP]?B\s+)?(.+)", re.IGNORECASE
)
_EXCLUSIVE: Final = re.compile(r"([0-9a-f]+)\s+-\s+([0-9a-f]+)\s+\((.+)\)", re.IGNORECASE)
_RESOURCE: Final = re.compile(r"(\s*)([0-9a-f]+)-([0-9a-f]+)\s:\s(.*)", re.IGNORECASE)
_HEXADECIMAL: Final = re.compile(r"(?:0x)?[0-9a-f]{1,32}", re.IGNORECASE)


def _type_number(name: str) -> int | None:
    """The number of a type by any of Linux's names for it."""
    name = name.strip().lower()
    if name in _TYPES:
        return int(_TYPES[name])
    numbered = _NUMBERED.fullmatch(name)
    if numbered:
        return int(numbered[1])
    return int(RegionType.RESERVED) if _RESERVED_BY.fullmatch(name) else None


def _region(start: int, end: int, kind: int, source: str, where: str, text: str) -> Region:
    """The region [start, end), or an error that shows the text it came from."""
    shown = excerpt(text.strip())
    if end < start:
        invalid(source, where, f"the region ends before it starts: {shown}")
    if end > ADDRESS_LIMIT:
        invalid(source, where, f"the region ends past 2^64: {shown}")
    try:
        return Region(start, end - start, kind)
    except InvalidArgument as error:
        invalid(source, where, f"{error}: {shown}")


def import_boot_log(text: str, *, source: str = "boot log") -> MemoryMap:
    """The firmware's map in a Linux boot log, with any prefix before `BIOS-e820:`.

    Of a log with several boots, the first counts. A boot begins with its headline or with its first
    entry again: Linux prints the map sorted and disjoint, so no base comes twice.

    Args:
        text: the log; lines of other kinds are passed over.
        source: the file's name, for error messages.

    Raises:
        InvalidInput: there is no entry, or one that cannot be read.
    """
    regions: list[Region] = []
    for number, line in enumerate(text.split("\n"), start=1):
        line = _COLOUR.sub("", line)
        _, marker, entry = line.partition(_MARKER)
        entry = entry.strip()
        if not marker:
            if regions and _NEW_BOOT.search(line):
                break
            continue
        if _GAP.fullmatch(entry):
            continue
        region = _boot_log_entry(entry, line, source, f"line {number}")
        if regions and region.base == regions[0].base:
            break
        regions.append(region)
    if not regions:
        invalid(source, "", f"has no line with {_MARKER!r}: expected the start of a Linux boot log")
    return MemoryMap(tuple(regions))


def _boot_log_entry(entry: str, line: str, source: str, where: str) -> Region:
    inclusive = _INCLUSIVE.fullmatch(entry)
    match = inclusive or _EXCLUSIVE.fullmatch(entry)
    if match is None:
        invalid(source, where, f"cannot read this {_MARKER} entry: {excerpt(line.strip())}")
    kind = _type_number(match[3])
    if kind is None:
        invalid(source, where, f"unknown memory type {excerpt(match[3])}: {excerpt(line.strip())}")
    end = int(match[2], 16) + (1 if inclusive else 0)
    return _region(int(match[1], 16), end, kind, source, where, line)


def import_iomem(text: str, *, source: str = "/proc/iomem") -> MemoryMap:
    """The map that `/proc/iomem` shows, from its top-level entries.

    Linux has merged its devices into the firmware's map there. They become reserved: a PCI window
    may well have swallowed an entry that the firmware had reserved, and no device is memory to
    hand out.

    Args:
        text: the whole file, read as root.
        source: the file's name, for error messages.

    Raises:
        InvalidInput: there is no entry, or one that cannot be read, or addresses are hidden.
    """
    regions: list[Region] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        match = _RESOURCE.fullmatch(line)
        if match is None:
            problem = f"expected 'START-END : NAME', got {excerpt(line.strip())}"
            invalid(source, f"line {number}", problem)
        if match[1]:
            continue
        kind = _type_number(match[4])
        start, end = int(match[2], 16), int(match[3], 16) + 1
        regions.append(
            _region(
                start,
                end,
                int(RegionType.RESERVED) if kind is None else kind,
                source,
                f"line {number}",
                line,
            )
        )
    if not regions:
        invalid(source, "", "has no entry: expected lines like '00100000-3fffffff : System RAM'")
    if all((region.base, region.end) == (0, 1) for region in regions):
        invalid(source, "", "has only zeros for addresses: read /proc/iomem as root")
    return MemoryMap(tuple(regions))


def import_sysfs(folder: str | Path) -> MemoryMap:
    """The map in a `/sys/firmware/memmap` tree: folders 0, 1, 2, … with start, end and type.

    Raises:
        InvalidInput: there is no entry, or one that cannot be read.
    """
    folder = Path(folder)
    try:
        names = [entry.name for entry in folder.iterdir() if re.fullmatch("[0-9]+", entry.name)]
    except OSError as error:
        invalid(str(folder), "", f"cannot be read: {error.strerror}")
    if not names:
        invalid(str(folder), "", "has no entry: expected folders 0, 1, 2, … with start, end, type")
    return MemoryMap(tuple(_sysfs_entry(folder / name) for name in sorted(names, key=int)))


def _sysfs_entry(folder: Path) -> Region:
    values = []
    for name in ("start", "end", "type"):
        text = _read(folder / name).strip()
        if name != "type" and not _HEXADECIMAL.fullmatch(text):
            invalid(str(folder / name), "", f"expected a hexadecimal number, got {excerpt(text)}")
        values.append(text)
    start, end, name = values
    kind = _type_number(name)
    if kind is None:
        invalid(str(folder / "type"), "", f"unknown memory type {excerpt(name)}")
    text = f"start {start}, end {end}"
    return _region(int(start, 16), int(end, 16) + 1, kind, str(folder), "", text)


def _read(path: Path) -> str:
    """The text of a file; logs hold anything, so what is not UTF-8 is replaced."""
    try:
        with path.open("rb") as stream:
            data = stream.read(SIZE_LIMIT + 1)
    except OSError as error:
        invalid(str(path), "", f"cannot be read: {error.strerror}")
    return decode_text(data.decode("utf-8", errors="replace"), str(path))


def import_map(text_or_path: str | Path) -> MemoryMap:
    """A memory map of any kind known here, told apart by what it looks like.

    Args:
        text_or_path: a boot log or `/proc/iomem` as text (str); or the Path of such a file, of a
            `/sys/firmware/memmap` tree, or of a map file that ends in `.toml` or `.json`.

    Raises:
        InvalidInput: it is none of them, or damaged.
    """
    if isinstance(text_or_path, str):
        text, source = decode_text(text_or_path, "text"), "text"
    elif text_or_path.is_dir():
        return import_sysfs(text_or_path)
    elif text_or_path.suffix.lower() in (".toml", ".json"):
        return load_map_file(text_or_path).memory_map
    else:
        text, source = _read(text_or_path), str(text_or_path)
    if _MARKER in text:
        return import_boot_log(text, source=source)
    if any(_RESOURCE.fullmatch(line) for line in text.split("\n")):
        return import_iomem(text, source=source)
    return invalid(
        source,
        "",
        f"no memory map found: expected a Linux boot log (lines with {_MARKER!r}), /proc/iomem, "
        "a /sys/firmware/memmap folder, or a map file (.toml, .json)",
    )
