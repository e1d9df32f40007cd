"""`conformance maps` and `conformance doctor`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conformance.case.fixtures import load_fixture, map_names
from conformance.case.map_file import load_map, load_map_file
from conformance.case.memory_map import MemoryMap, Region, RegionType

Command = Callable[..., Any]
FIXTURE = "lenovo-thinkpad-x240-8g"


def test_the_list_has_every_map(conformance: Command) -> None:
    done = conformance("maps", "list", COLUMNS="250")
    assert (done.status, done.errors) == (0, "")
    first = [line.split()[0] for line in done.output.splitlines()[1:] if line.split()]
    assert set(map_names()) <= set(first)


def test_a_map_is_shown_with_all_its_regions(conformance: Command) -> None:
    named = load_fixture(FIXTURE)
    done = conformance("maps", "show", FIXTURE)
    assert done.status == 0
    assert named.description in done.output
    assert named.source in done.output
    shown = [line for line in done.output.splitlines() if line.startswith("0x")]
    assert [(int(line.split()[0], 16), int(line.split()[1], 16)) for line in shown] == [
        (region.base, region.end) for region in named.memory_map.regions
    ]


def test_a_map_is_shown_as_a_file(conformance: Command) -> None:
    named = load_fixture(FIXTURE)
    for form in ("json", "toml"):
        text = conformance("maps", "show", FIXTURE, f"--{form}").output
        assert load_map(text, form=form) == named


LOG = """\
[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable
[    0.000000] BIOS-e820: [mem 0x000000000009fc00-0x000000000009ffff] reserved
[    0.000000] BIOS-e820: [mem 0x0000000000100000-0x000000001fffffff] usable
"""
IOMEM = """\
00000000-0009fbff : System RAM
0009fc00-0009ffff : Reserved
00100000-1fffffff : System RAM
  01000000-01ffffff : Kernel code
"""
MAP = MemoryMap(
    (
        Region(0, 0x9FC00),
        Region(0x9FC00, 0x400, RegionType.RESERVED),
        Region(0x100000, 0x1FF00000),
    )
)


def test_a_boot_log_and_iomem_are_imported(conformance: Command, tmp_path: Path) -> None:
    for name, text in (("dmesg.txt", LOG), ("iomem", IOMEM)):
        (tmp_path / name).write_text(text)
        done = conformance("maps", "import", name)
        assert done.status == 0
        named = load_map(done.output, form="toml")
        assert (named.name, named.kind, named.memory_map) == (Path(name).stem, "imported", MAP)
        assert name in named.source


def test_a_sysfs_folder_is_imported_into_a_file_that_can_be_run_on(
    conformance: Command, tmp_path: Path
) -> None:
    names = {RegionType.AVAILABLE: "System RAM", RegionType.RESERVED: "Reserved"}
    for number, region in enumerate(MAP.regions):
        folder = tmp_path / "memmap" / str(number)
        folder.mkdir(parents=True)
        (folder / "start").write_text(f"{region.base:#x}\n")
        (folder / "end").write_text(f"{region.end - 1:#x}\n")
        (folder / "type").write_text(names[RegionType(region.type)] + "\n")
    done = conformance(
        "maps", "import", "memmap", "--name", "mine", "--output", "new/mine.json", "--json"
    )
    assert (done.status, done.output) == (0, "new/mine.json: 3 regions\n")
    path = tmp_path / "new" / "mine.json"
    assert json.loads(path.read_text())["name"] == "mine"
    assert load_map_file(path).memory_map == MAP
    words = ("run", "--suite", "frames", "--backend", "unicorn", "--cases", 1)
    for given in ("new/mine.json", "memmap"):
        assert conformance(*words, "--map", given).status == 0


def test_doctor_says_what_can_be_used(conformance: Command, tmp_path: Path) -> None:
    (tmp_path / "conformance.toml").write_text(
        '[backends.model]\nkind = "unicorn"\n'
        '[backends.missing]\nkind = "qemu"\nbinary = "/nonexistent/qemu"\n'
    )
    done = conformance("doctor", COLUMNS="250")
    assert (done.status, done.errors) == (3, "")
    lines = {line.split()[0]: line for line in done.output.splitlines() if line.split()}
    assert " yes " in lines["model"]
    assert " no " in lines["missing"]
    assert "/nonexistent/qemu not found" in lines["missing"]
    assert "apt-get install" in lines["missing"]
    assert " yes " in lines["i686"]
    assert str(tmp_path / "conformance.toml") in done.output


def test_doctor_is_content_where_all_can_be_used(conformance: Command, tmp_path: Path) -> None:
    (tmp_path / "conformance.toml").write_text('[backends.model]\nkind = "unicorn"\n')
    assert conformance("doctor").status == 0
