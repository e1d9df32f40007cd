"""Map files, in TOML and in JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.case.map_file import NamedMap, dump_map, load_map, load_map_file
from conformance.case.memory_map import MemoryMap, Region, RegionType
from conformance.case.strategies import memory_maps
from conformance.errors import InvalidArgument, InvalidInput

SAMPLE = NamedMap(
    name="a-laptop",
    description='A "laptop"',
    source="https://example.org/log",
    kind="laptop",
    memory_map=MemoryMap(
        (Region(0, 0x9FC00), Region(0x9FC00, 0x400, RegionType.RESERVED), Region(1, 2, 20, 24)),
        cut=3,
    ),
    quirk="odd",
)

SAMPLE_TOML = """\
name = "a-laptop"
description = "A \\"laptop\\""
source = "https://example.org/log"
kind = "laptop"
quirk = "odd"
cut = 3
regions = [
    { base = "0x0", length = "0x9fc00", type = "available" },
    { base = "0x9fc00", length = "0x400", type = "reserved" },
    { base = "0x1", length = "0x2", type = 20, entry_size = 24 },
]
"""

HAND_WRITTEN = """\
# Comments are welcome.
name = "by hand"
description = ""
source = "me"
kind = "other"

[[regions]]
base = 0x10_0000
end = 0x20_0000  # half-open

[[regions]]
base = "2097152"
length = 4096
type = "bad"
"""

_words = st.text(st.characters(exclude_categories=["Cs"]))
_named_maps = st.builds(
    NamedMap, _words.filter(bool), _words, _words, _words, memory_maps(), _words
)
_forms: tuple[Literal["toml", "json"], ...] = ("toml", "json")


def test_the_toml_text_is_the_documented_one() -> None:
    assert dump_map(SAMPLE) == SAMPLE_TOML


@pytest.mark.parametrize("form", _forms)
@given(named=_named_maps)
def test_every_map_survives_the_round_trip(form: Literal["toml", "json"], named: NamedMap) -> None:
    text = dump_map(named, form=form)
    assert load_map(text, form=form) == named
    assert load_map(text.encode(), form=form) == named


def test_a_hand_written_file_may_use_all_of_toml_and_ends() -> None:
    named = load_map(HAND_WRITTEN, form="toml")
    assert named.memory_map == MemoryMap(
        (Region(0x100000, 0x100000), Region(0x200000, 0x1000, RegionType.BAD))
    )


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.toml", "toml"), ("a.json", "json"), ("a.JSON", "json"), ("a", "toml"), ("a.map", "json")],
)
def test_a_file_is_known_by_its_ending_or_else_by_its_content(
    tmp_path: Path, name: str, form: Literal["toml", "json"]
) -> None:
    path = tmp_path / name
    path.write_text(dump_map(SAMPLE, form=form), encoding="utf-8")
    assert load_map_file(path) == SAMPLE
    assert load_map_file(str(path)) == SAMPLE


def test_an_ending_outweighs_the_content(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(dump_map(SAMPLE, form="json"), encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"a\.toml: is not TOML"):
        load_map_file(path)


def test_an_unknown_form_is_an_invalid_argument() -> None:
    with pytest.raises(InvalidArgument, match="no map file form 'yaml'; known: toml, json"):
        dump_map(SAMPLE, form="yaml")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name =", "nam =", "map: unknown key 'nam'; known: name, description, source, kind,"),
        ('kind = "laptop"\n', "", "map: key 'kind' is missing"),
        ('"a-laptop"', '""', "map: name: expected a name, got ''"),
        ('"a-laptop"', "1979-05-27", "map: name: expected str, got datetime.date(1979, 5, 27)"),
        ('"odd"', '"odd', "map: is not TOML: Illegal character"),
        ('"0x2"', "true", "map: regions[2].length: expected int | str | null, got True"),
        ('"0x2"', "0x" + "f" * 9999, "map: regions[2].length: expected an unsigned 64-bit"),
        ('length = "0x2"', "end = 0", "map: regions[2].end: end=0x0 is below base=0x1"),
        ("cut = 3", "cut = 99", "map: cut=99 is outside [0, 76], the bytes of the map"),
        ("cut = 3", "cut = [" + "[" * 99999, "map: is nested too deeply"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(old: str, new: str, message: str) -> None:
    assert old in SAMPLE_TOML
    with pytest.raises(InvalidInput) as caught:
        load_map(SAMPLE_TOML.replace(old, new, 1), form="toml")
    assert str(caught.value).startswith(message)
    assert str(caught.value).isprintable()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"absent\.toml: cannot be read: No such file"):
        load_map_file(tmp_path / "absent.toml")
    with pytest.raises(InvalidInput, match="cannot be read: Is a directory"):
        load_map_file(tmp_path)
