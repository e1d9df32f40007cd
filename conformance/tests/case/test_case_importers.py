"""Importers: what Linux shows of the firmware's map, in all the ways it does."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.case.importers import import_boot_log, import_iomem, import_map, import_sysfs
from conformance.case.map_file import NamedMap, dump_map
from conformance.case.memory_map import MemoryMap, Region, RegionType
from conformance.case.strategies import memory_maps
from conformance.errors import InvalidInput

A, R = RegionType.AVAILABLE, RegionType.RESERVED
TWO = MemoryMap((Region(0, 0x9FC00, A), Region(0x9FC00, 0x400, R)))

NEW = (
    "BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable",
    "BIOS-e820: [mem 0x000000000009fc00-0x000000000009ffff] reserved",
)
OLD = (
    " BIOS-e820: 0000000000000000 - 000000000009fc00 (usable)",
    " BIOS-e820: 000000000009fc00 - 00000000000a0000 (reserved)",
)


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "[    0.000000] ",
        "<6>[    0.000000] ",
        "<6>",
        "kernel: ",
        "Jan  1 00:00:00 host kernel: [    0.000000] ",
        "Jan 01 00:00:00 host kernel: ",
        "2024-01-01T00:00:00+00:00 host kernel: ",
        "[    0.000000][    T0] ",
        "> [    0.000000] ",
        "\x1b[32m[    0.000000] \x1b[0m\x1b[33m",
    ],
)
@pytest.mark.parametrize("lines", [NEW, OLD], ids=["new", "old"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_a_boot_log_is_read_with_any_prefix(
    prefix: str, lines: tuple[str, ...], newline: str
) -> None:
    text = newline.join(prefix + line for line in lines)
    assert import_boot_log(text) == TWO
    assert import_map(text + newline) == TWO


def test_the_colours_of_dmesg_are_passed_over() -> None:
    text = "\x1b[32m[    0.000000] \x1b[0m\x1b[33mBIOS-e820: \x1b[0m[mem 0x0-0x9fbff]\x1b[m usable"
    assert import_map(text) == MemoryMap((Region(0, 0x9FC00, A),))


def test_the_newest_kernels_print_gaps_sizes_and_other_names() -> None:
    text = """\
BIOS-e820: [gap 0x0000000000000000-0x0000000000000fff]
BIOS-e820: [mem 0x0000000000001000-0x000000000009fbff]  639   KB kernel usable RAM
BIOS-e820: [mem 0x000000000009fc00-0x000000000009ffff]    1   KB device reserved
BIOS-e820: [gap 0x00000000000a0000-0x00000000000effff]  320   KB ...
BIOS-e820: [mem 0x0000000000100000-0x000000007ffdbfff]    1.9 GB System RAM
BIOS-e820: [mem 0x000000007ffdc000-0x000000007fffffff]  device reserved
"""
    assert import_map(text) == MemoryMap(
        (
            Region(0x1000, 0x9EC00, A),
            Region(0x9FC00, 0x400, R),
            Region(0x100000, 0x7FEDC000, A),
            Region(0x7FFDC000, 0x24000, R),
        )
    )


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("usable", 1),
        ("reserved", 2),
        ("Reserved", 2),
        ("reserved by the hypervisor", 2),
        ("ACPI data", 3),
        ("ACPI NVS", 4),
        ("unusable", 5),
        ("persistent (type 7)", 7),
        ("persistent (type 12)", 12),
        ("soft reserved", 0xEFFFFFFF),
        ("Soft Reserved", 0xEFFFFFFF),
        ("type 20", 20),
        ("type 4294967295", 0xFFFFFFFF),
    ],
)
def test_every_type_name_of_linux_has_its_number(name: str, number: int) -> None:
    new = f"BIOS-e820: [mem 0x0000000000001000-0x0000000000001fff] {name}"
    old = f" BIOS-e820: 0000000000001000 - 0000000000002000 ({name})"
    assert import_map(new) == import_map(old) == MemoryMap((Region(0x1000, 0x1000, number),))


def test_only_the_firmwares_own_lines_of_the_first_boot_count() -> None:
    text = f"""\
[    0.000000] Linux version 6.1.0 (gcc)
[    0.000000] BIOS-provided physical RAM map:
[    0.000000] {NEW[0]}
[    0.000000] something else
[    0.000000] {NEW[1]}
[    0.000000] e820: update [mem 0x00000000-0x00000fff] usable ==> reserved
[    0.000000] user: [mem 0x0000000000000000-0x0000000000000fff] reserved
[    0.000000] extended physical RAM map:
[    0.000000] reserve setup_data: [mem 0x0000000000000000-0x0000000000057fff] usable
[    0.000000]  modified: 0000000000000000 - 0000000000001000 (reserved)
"""
    assert import_map(text) == TWO
    another = "BIOS-e820: [mem 0x0000000000002000-0x0000000000002fff] usable\n"
    assert len(import_map(text + another).regions) == 3  # it is the headline that makes a new boot
    for headline in ("BIOS-provided physical RAM map:", "Linux version 6.1.0 (gcc)"):
        assert import_map(f"{text}{headline}\n{another}BIOS-e820: rubbish\n") == TWO


def test_a_second_boot_without_headline_begins_with_the_first_entry_again() -> None:
    assert import_map("\n".join([*NEW, *NEW])) == TWO
    longer = "BIOS-e820: [mem 0x0000000000000000-0x000000000009efff] usable"
    assert import_map("\n".join([*NEW, longer])) == TWO


def test_the_last_byte_of_the_address_space_may_be_named() -> None:
    text = "BIOS-e820: [mem 0xfffffffffffff000-0xffffffffffffffff] reserved"
    assert import_map(text) == MemoryMap((Region(0xFFFFFFFFFFFFF000, 0x1000, R),))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("BIOS-e820: rubbish", "cannot read this BIOS-e820: entry: 'BIOS-e820: rubbish'"),
        ("BIOS-e820: [mem 0x1000-0x1f", "cannot read this BIOS-e820: entry: "),
        ("BIOS-e820: [mem 0x1000-0x1fff] odd", "unknown memory type 'odd': "),
        ("BIOS-e820: [mem 0x1000-0xffe] usable", "the region ends before it starts: "),
        ("BIOS-e820: 2000 - 1fff (usable)", "the region ends before it starts: "),
        ("BIOS-e820: [mem 0x1000-0x10000000000000000] usable", "the region ends past 2^64: "),
        ("BIOS-e820: 1000 - 10000000000000001 (usable)", "the region ends past 2^64: "),
        ("BIOS-e820: [mem 0x0-0xffffffffffffffff] usable", "length=0x10000000000000000 is outs"),
        ("BIOS-e820: [mem 0x0-0xff] type 4294967296", "type=0x100000000 is outside"),
        ("BIOS-e820: a\tb\x07" + "c" * 99, "cannot read this BIOS-e820: entry: 'BIOS-e820: a\\tb"),
    ],
)
def test_an_entry_that_makes_no_sense_is_shown_with_its_line(line: str, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        import_boot_log(f"{NEW[0]}\nnoise\n{line}\n", source="boot.log")
    message = str(caught.value)
    assert message.startswith(f"boot.log: line 3: {problem}")
    assert message.isprintable()
    assert len(message) < 200


def test_what_holds_no_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="text: no memory map found: expected a Linux boot log"):
        import_map("hello\n")
    with pytest.raises(InvalidInput, match="boot log: has no line with 'BIOS-e820:'"):
        import_boot_log("e820: update [mem 0x0-0xfff]\n")
    with pytest.raises(InvalidInput, match="has no line with"):
        import_map("BIOS-e820: [gap 0x0000000000000000-0x0000000000000fff]\n")
    with pytest.raises(InvalidInput, match="absent: cannot be read: No such file"):
        import_map(tmp_path / "absent")


@pytest.mark.parametrize("inclusive", [True, False])
@given(memory_map=memory_maps(min_regions=1, hostile=False))
def test_a_printed_map_is_read_back(inclusive: bool, memory_map: MemoryMap) -> None:
    lines = [
        f"BIOS-e820: [mem {region.base:#018x}-{region.end - 1:#018x}] type {region.type:d}"
        if inclusive
        else f" BIOS-e820: {region.base:016x} - {region.end:016x} (type {region.type:d})"
        for region in memory_map.regions
    ]
    assert import_map("\n".join(lines)) == memory_map


@given(st.text(st.sampled_from("BIOS-e820: [mem 0xf]-()typeusable1\n\r\x1b\x85"), max_size=99))
def test_any_text_is_either_read_or_refused(text: str) -> None:
    for candidate in (text, f"BIOS-e820: {text}", f"0-1 : {text}"):
        message = ""
        try:
            import_map(candidate)
        except InvalidInput as error:
            message = str(error)
        assert message.isprintable()


IOMEM = """\
00000000-00000fff : Reserved
00001000-0009fbff : System RAM
0009fc00-0009ffff : Reserved
000a0000-000bffff : PCI Bus 0000:00
00100000-3ffdffff : System RAM
  01000000-01ffffff : Kernel code
3ffe0000-3ffeffff : ACPI Tables
3fff0000-3fff7fff : ACPI Non-volatile Storage
3fff8000-3fffbfff : Unusable memory
c0000000-febfffff : PCI Bus 0000:00
  e0000000-efffffff : Reserved
fec00000-fec003ff : IOAPIC 0
100000000-13fffffff : Persistent Memory
  100000000-13fffffff : namespace0.0
140000000-14fffffff : Persistent Memory (legacy)
150000000-15fffffff : Soft Reserved
160000000-16fffffff : reserved
"""


def test_iomem_is_read_from_its_top_level() -> None:
    regions = import_map(IOMEM).regions
    assert import_iomem(IOMEM).regions == regions
    assert [(region.base, region.end, int(region.type)) for region in regions] == [
        (0x0, 0x1000, 2),
        (0x1000, 0x9FC00, 1),
        (0x9FC00, 0xA0000, 2),
        (0xA0000, 0xC0000, 2),
        (0x100000, 0x3FFE0000, 1),
        (0x3FFE0000, 0x3FFF0000, 3),
        (0x3FFF0000, 0x3FFF8000, 4),
        (0x3FFF8000, 0x3FFFC000, 5),
        (0xC0000000, 0xFEC00000, 2),
        (0xFEC00000, 0xFEC00400, 2),
        (0x100000000, 0x140000000, 7),
        (0x140000000, 0x150000000, 12),
        (0x150000000, 0x160000000, 0xEFFFFFFF),
        (0x160000000, 0x170000000, 2),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("00000000-00000000 : Reserved\n00000000-00000000 : System RAM\n", "has only zeros for"),
        ("  00001000-00001fff : System RAM\n", "has no entry: expected lines like"),
        ("00001000-00001fff : System RAM\nrubbish\n", "line 2: expected 'START-END : NAME', got"),
        ("00001000-00000ffe : System RAM\n", "line 1: the region ends before it starts: '0000"),
        ("00001000-1ffffffffffffffff : System RAM\n", "line 1: the region ends past 2^64: "),
    ],
)
def test_iomem_that_makes_no_sense_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        import_map(text)
    assert str(caught.value).startswith(f"text: {problem}")


def _tree(folder: Path, entries: dict[str, tuple[str, str, str]]) -> Path:
    for name, values in entries.items():
        (folder / name).mkdir()
        for file, value in zip(("start", "end", "type"), values, strict=True):
            (folder / name / file).write_text(value + "\n", encoding="ascii")
    return folder


def test_a_sysfs_tree_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    tree = _tree(
        tmp_path,
        {
            "10": ("0x100000000", "0x13fffffff", "System RAM"),
            "9": ("0xfffc0000", "0xffffffff", "Reserved"),
            "0": ("0x0", "0x9fbff", "System RAM"),
            "1": ("0xbffe0000", "0xbfffffff", "ACPI Non-volatile Storage"),
            "2": ("0xc0000000", "0xc0000fff", "Unknown E820 type"),
        },
    )
    assert import_sysfs(tree) == import_map(tree)
    assert import_map(tree).regions == (
        Region(0, 0x9FC00, A),
        Region(0xBFFE0000, 0x20000, RegionType.ACPI_NVS),
        Region(0xC0000000, 0x1000, R),
        Region(0xFFFC0000, 0x40000, R),
        Region(0x100000000, 0x40000000, A),
    )


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (("0x0", "9z", "System RAM"), "0/end: expected a hexadecimal number, got '9z'"),
        (("0x0", "0xfff", "odd"), "0/type: unknown memory type 'odd'"),
        (("0x2000", "0xfff", "Reserved"), "0: the region ends before it starts: 'start 0x2000"),
        (("0x0", "0x10000000000000000", "Reserved"), "0: the region ends past 2^64: "),
    ],
)
def test_a_sysfs_tree_that_makes_no_sense_is_refused(
    tmp_path: Path, values: tuple[str, str, str], problem: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        import_map(_tree(tmp_path, {"0": values}))
    assert str(caught.value).startswith(f"{tmp_path}/{problem}")


def test_a_sysfs_tree_with_missing_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="has no entry: expected folders 0, 1, 2"):
        import_map(tmp_path)
    with pytest.raises(InvalidInput, match="absent: cannot be read: No such file"):
        import_sysfs(tmp_path / "absent")
    _tree(tmp_path, {"0": ("0x0", "0xfff", "Reserved")})
    (tmp_path / "0" / "end").unlink()
    with pytest.raises(InvalidInput, match="0/end: cannot be read: No such file"):
        import_map(tmp_path)


def test_a_file_may_hold_a_log_or_a_map_file(tmp_path: Path) -> None:
    log = tmp_path / "boot.log"
    log.write_bytes(b"\xff\xfe not UTF-8\n" + "\n".join(NEW).encode())
    assert import_map(log) == TWO
    file = tmp_path / "a.toml"
    file.write_text(dump_map(NamedMap("a", "", "", "other", TWO)), encoding="utf-8")
    assert import_map(file) == TWO
