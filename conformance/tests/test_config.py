"""The configuration: what is found where, and one clear line for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.backend import BUILT_IN, InstanceConfig
from conformance.config import Config, load_config, select_instances
from conformance.errors import InvalidArgument, InvalidInput

GOOD = """
[backends.qemu-9]
kind = "qemu"
binary = "/opt/qemu-9/bin/qemu-system-i386"
options = ["-d", "guest_errors"]
cpu = "pentium3"
deadline = 10

[backends.model]
kind = "unicorn"
"""
INSTANCES = (
    InstanceConfig(
        "qemu-9",
        "qemu",
        "/opt/qemu-9/bin/qemu-system-i386",
        ("-d", "guest_errors"),
        "pentium3",
        10.0,
    ),
    InstanceConfig("model", "unicorn"),
)


def write(folder: Path, text: str, name: str = "conformance.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_that_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD, "any-name.toml")
    assert load_config(path) == Config(INSTANCES, path)


def test_the_nearest_file_counts(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    far = write(tmp_path, "")
    near = write(tmp_path / "a", GOOD)
    assert load_config(folder=inner) == Config(INSTANCES, near)
    assert load_config(folder=tmp_path).source == far


def test_without_a_file_there_are_the_built_in_ones(tmp_path: Path) -> None:
    config = load_config(folder=tmp_path)
    assert config.source is None
    assert [(each.name, each.kind) for each in config.instances] == [(k, k) for k in BUILT_IN]
    assert config.instances == load_config(write(tmp_path, "# nothing\n")).instances


SECTION = GOOD.replace("[backends", "[tool.conformance.backends")


def test_a_section_of_a_project(tmp_path: Path) -> None:
    inner = tmp_path / "package"
    inner.mkdir()
    write(inner, '[project]\nname = "x"\n[tool.other]\n', "pyproject.toml")
    path = write(tmp_path, '[project]\nname = "y"\n' + SECTION, "pyproject.toml")
    assert load_config(folder=inner) == Config(INSTANCES, path)
    assert load_config(path) == Config(INSTANCES, path)


def test_a_file_of_its_own_is_preferred_to_the_project(tmp_path: Path) -> None:
    write(tmp_path, "[tool.conformance.backends.other]\nkind='bochs'\n", "pyproject.toml")
    path = write(tmp_path, GOOD)
    assert load_config(folder=tmp_path) == Config(INSTANCES, path)


def test_the_section_may_be_in_a_file_of_its_own(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, SECTION)).instances == INSTANCES


def test_a_project_that_says_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, "[project]\nname = 'x'\n", "pyproject.toml")
    assert load_config(folder=tmp_path).source is None
    with pytest.raises(InvalidInput, match=r"has no \[tool\.conformance\]"):
        load_config(path)


MISTAKES = {
    "backend = 1": "unknown key 'backend'; known: backends",
    "backends = 5": "backends: expected a table, got 5",
    "backends.q = 5": "backends.q: expected a table, got 5",
    "[tool]\nconformance = 5": "expected a table, got 5",
    "[backends.q]\nkind = 'qemu'\nbinry = 'x'": "backends.q: unknown key 'binry'; known: kind, bin",
    "[backends.q]\nbinary = 'x'": "backends.q: key 'kind' is missing",
    "[backends.q]\nkind = 5": "backends.q: kind: expected str, got 5",
    "[backends.q]\nkind = 'qemu'\noptions = '-d'": "backends.q: options: expected array, got '-d'",
    "[backends.q]\nkind = 'qemu'\ndeadline = 'soon'": "deadline: expected float, got 'soon'",
    "[backends.q]\nkind = 'qemu'\ndeadline = 0": r"backends.q: deadline=0 is outside \(0, 3600\]",
    "[backends.q]\nkind = 'qemu'\ndeadline = -1": "deadline=-1 is outside",
    "[backends.q]\nkind = 'qemu'\ndeadline = nan": "deadline=nan is outside",
    "[backends.q]\nkind = 'qemu'\ndeadline = inf": "deadline=inf is outside",
    "[backends.q]\nkind = 'quemu'": "no backend kind 'quemu'; known: qemu, bochs, unicorn.*'qemu'?",
    "[backends.oracle]\nkind = 'qemu'": "'oracle' cannot be a backend's name",
    "[backends.kernel]\nkind = 'qemu'": "'kernel' cannot be a backend's name",
    "[backends.'a, b']\nkind = 'qemu'": "'a, b' cannot be a backend's name",
    "[backends.'']\nkind = 'qemu'": "'' cannot be a backend's name",
    '[backends."\\u001b[31m"]\nkind = "qemu"': "cannot be a backend's name",
    "[backends.q\n": "is not TOML",
    "backends = " + "[" * 5000: "nested too deeply|is not TOML",
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.items())
def test_a_mistake_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InvalidInput, match=message) as got:
        load_config(path)
    assert str(got.value).startswith(f"{path}: ")
    assert str(got.value).isprintable()


@pytest.mark.parametrize(
    ("name", "message"), [("nowhere.toml", "No such file"), (".", "Is a directory")]
)
def test_a_file_that_cannot_be_read(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=message):
        load_config(tmp_path / name)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "conformance.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="UTF-8"):
        load_config(folder=tmp_path)


CONFIG = Config(INSTANCES)


def test_instances_come_in_the_order_of_their_names() -> None:
    assert select_instances(CONFIG, ["model", "qemu-9"]) == INSTANCES[::-1]
    assert select_instances(CONFIG, ["model"]) == INSTANCES[1:]
    assert select_instances(CONFIG, []) == INSTANCES


def test_an_unknown_instance_is_named_with_those_there_are() -> None:
    with pytest.raises(InvalidArgument) as got:
        select_instances(CONFIG, ["qemu9"])
    assert str(got.value) == (
        "no backend 'qemu9'; configured: qemu-9, model; did you mean 'qemu-9'?"
    )
    with pytest.raises(InvalidArgument, match=r"configured: qemu-9, model$"):
        select_instances(CONFIG, ["zzz"])


def test_an_instance_that_is_named_twice() -> None:
    with pytest.raises(InvalidArgument, match="named twice: model, model"):
        select_instances(CONFIG, ["model", "model"])
