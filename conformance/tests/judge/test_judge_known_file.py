"""The list of known divergences: strict to read, one line for each error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli_w

from conformance.errors import InvalidInput
from conformance.judge.known_file import entry_text, load_known
from conformance.resources import resource

ENTRY: dict[str, Any] = {
    "signature": "qemu: fault or none: a limit",
    "kind": "qemu",
    "versions": ">=7.0,<9",
    "section": "SDM vol. 3, 5.3",
    "sentence": "does not check limits",
    "link": "https://example.org/1",
    "case": "qemu-limit.json",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "known").mkdir()
    for name in ("qemu-limit.json", "other.json"):
        (tmp_path / "known" / name).write_text("")
    return tmp_path / "list.toml"


def write(path: Path, *entries: object, **more: object) -> Path:
    path.write_text(tomli_w.dumps({"divergence": list(entries), **more}))
    return path


def test_the_list_that_comes_with_the_harness_is_right() -> None:
    for each in load_known(resource("fixtures/known_divergences.toml")):
        assert each.case.is_file()


def test_an_entry(path: Path) -> None:
    (each,) = load_known(write(path, ENTRY))
    assert {name: getattr(each, name) for name in ENTRY if name != "case"} == {
        name: value for name, value in ENTRY.items() if name != "case"
    }
    assert each.case == path.parent / "known" / "qemu-limit.json"
    assert each.name == "qemu-limit"


def test_an_empty_list(path: Path) -> None:
    path.write_text("# nothing\n")
    assert load_known(path) == ()


def test_a_link_may_be_left_out(path: Path) -> None:
    (each,) = load_known(write(path, {k: v for k, v in ENTRY.items() if k != "link"}))
    assert each.link == ""


def test_what_is_written_is_read_again(path: Path) -> None:
    entries = load_known(write(path, ENTRY, ENTRY | {"case": "other.json", "versions": ">=9"}))
    path.write_text("# a comment\n" + "".join(map(entry_text, entries)))
    assert load_known(path) == entries


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"signature": "bochs: x"}, "signature: expected one that begins with 'qemu: '"),
        ({"signature": "qemu: "}, "signature: expected one that begins with 'qemu: '"),
        ({"signature": "qemu: x; bochs: y"}, "signature: names several causes"),
        ({"signature": ""}, "signature: expected one line of text, got ''"),
        ({"sentence": "two\nlines"}, "sentence: expected one line of text"),
        ({"sentence": " "}, "sentence: expected one line of text"),
        ({"section": ""}, "section: expected one line of text"),
        ({"section": "x" * 501}, "section: is longer than 500 characters"),
        ({"link": "\x1b[31m"}, "link: expected one line of text"),
        ({"versions": ""}, "versions: expected versions like \">=7.0,<9\", got ''"),
        ({"versions": "7.2"}, "versions: expected versions like"),
        ({"versions": "new"}, "versions: expected versions like"),
        ({"case": "../x.json"}, "case: expected a file name of a-z, 0-9 and -, with .json"),
        ({"case": "X.toml"}, "case: expected a file name"),
        ({"case": "absent.json"}, "case: there is no "),
        ({"kind": 5}, "kind: expected str, got 5"),
        ({"reason": "x"}, "unknown key 'reason'; known: signature, kind, versions"),
    ],
)
def test_a_wrong_entry_is_one_line(changes: dict[str, Any], message: str, path: Path) -> None:
    with pytest.raises(InvalidInput) as got:
        load_known(write(path, ENTRY | changes))
    assert str(got.value).startswith(f"{path}: divergence[0]")
    assert message in str(got.value)
    assert str(got.value).isprintable()


@pytest.mark.parametrize("name", [name for name in ENTRY if name != "link"])
def test_a_key_that_is_missing(name: str, path: Path) -> None:
    with pytest.raises(InvalidInput, match=f"key '{name}' is missing"):
        load_known(write(path, {key: value for key, value in ENTRY.items() if key != name}))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"versions": ">=9"}, r"divergence\[1\]: has the case of divergence\[0\]"),
        ({"case": "other.json"}, r"divergence\[1\]: has the signature and versions of"),
    ],
)
def test_two_alike(second: dict[str, Any], message: str, path: Path) -> None:
    with pytest.raises(InvalidInput, match=message):
        load_known(write(path, ENTRY, ENTRY | second))


def test_what_is_no_list(path: Path) -> None:
    with pytest.raises(InvalidInput, match="unknown key 'other'; known: divergence"):
        load_known(write(path, ENTRY, other=1))
    path.write_text("divergence = 3\n")
    with pytest.raises(InvalidInput, match="divergence: expected array, got 3"):
        load_known(path)
    path.write_text("[[divergence\n")
    with pytest.raises(InvalidInput, match="is not TOML"):
        load_known(path)
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_known(path.with_name("absent.toml"))
