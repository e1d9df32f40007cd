"""Wrong usage and wrong input: exit status 2, and exactly one line that says what to do."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from conformance.case.case import Case
from conformance.case.codec import dump_case
from conformance.cli import cli

Command = Callable[..., Any]

# What is wrong: the words, and what the complaint has to name.
MISTAKES = {
    "an unknown backend": ("run --backend nonsense", "no backend 'nonsense'; configured: qemu, b"),
    "a misspelt backend": ("run --backend unicron", "did you mean 'unicorn'?"),
    "a backend twice": ("run --backend qemu --backend qemu", "named twice"),
    "an unknown suite": ("run --suite nonsense", "no suite 'nonsense'; known: faults, frames"),
    "a misspelt suite": ("run --suite frame", "did you mean 'frames'?"),
    "no cases": ("run --cases 0", "'--cases': 0 is not in the range"),
    "cases that are no number": ("run --cases many", "'--cases': 'many' is not a valid integer"),
    "a negative seed": ("run --seed -1", "'--seed': -1 is not in the range"),
    "an unknown option": ("run --bakend qemu", "No such option"),
    "an unknown command": ("rnu", "No such command 'rnu'"),
    "a missing map": ("run --map nowhere.toml", "nowhere.toml: cannot be read: No such file"),
    "a malformed map": ("run --map malformed.toml", "malformed.toml: regions[0].base"),
    "a map that is none": ("run --map conformance-broken.toml", "conformance-broken.toml: "),
    "a malformed configuration": ("run --config conformance-broken.toml", "is not TOML"),
    "a missing configuration": ("run --config nowhere.toml", "nowhere.toml: cannot be read"),
    "a missing image": ("run --image nowhere", "'--image': Directory 'nowhere' does not exist"),
    "a folder without an image": ("run --image .", "kernel.elf: No such file"),
    "an unwritable result": (
        "run --json /dev/null/x/out.json",
        "cannot write /dev/null/x/out.json",
    ),
    "a result that is a folder": ("run --json .", "'--json': File '.' is a directory"),
    "an unwritable report": ("run --junit /proc/none/out.xml", "cannot write /proc/none/out.xml"),
    "an unwritable folder": ("run --out /dev/null/x", "cannot write /dev/null/x"),
    "a folder that is a file": ("run --out case.json", "'--out': Directory 'case.json' is a file"),
    "a missing case": ("replay nowhere.json", "nowhere.json: cannot be read: No such file"),
    "a truncated case": ("replay truncated.json", "truncated.json: line"),
    "a malformed case": ("replay malformed.json", "malformed.json: program[0].operation: unknown"),
    "a map for a case": ("replay malformed.toml", "malformed.toml: line 1 column 1: is not JSON"),
    "replay on an unknown backend": (
        "replay case.json --backend nonsense",
        "no backend 'nonsense'",
    ),
    "replay of nothing": ("replay", "Missing argument 'CASE.json'"),
    "a missing case to show": ("show nowhere.json", "nowhere.json: cannot be read: No such file"),
    "a malformed case to show": ("show malformed.json", "malformed.json: program[0].operation"),
    "a drawing on an unknown backend": (
        "show case.json --backend nonsense",
        "no backend 'nonsense'",
    ),
    "a drawing of nothing": ("show", "Missing argument 'CASE.json'"),
    "a drawing from before the beginning": ("show case.json --from -1", "'--from': -1 is not in"),
    "a drawing from after the end": (
        "show case.json --no-run --from 999999",
        "--from 999999: there are only ",
    ),
    "a drawing that ends before it begins": (
        "show case.json --no-run --from 5 --to 5",
        "--to 5: expected a number above --from, which is 5",
    ),
    "an unknown map": ("maps show dell", "no memory map 'dell' among"),
    "an unknown known divergence": ("known show nonsense", "no known divergence 'nonsense' among"),
    "a known divergence without words": ("known add case.json", "Missing option '--"),
    "a plain case as a known divergence": (
        "known add case.json --sentence x --section y --versions >=1",
        "case.json: holds no divergence of a backend",
    ),
    "an import of nothing": ("maps import nowhere.log", "nowhere.log: cannot be read"),
    "an import of what is no map": ("maps import truncated.json", "truncated.json: "),
    "an import of a folder that is none": ("maps import .", "has no entry: expected folders 0, 1"),
    "an unwritable import": (
        "maps import iomem --output /dev/null/x.toml",
        "cannot write /dev/null/x.toml",
    ),
    "doctor's configuration": ("doctor --config conformance-broken.toml", "is not TOML"),
    "a benchmark of nothing": ("bench --cases 0", "'--cases': 0 is not in the range"),
    "an export to nowhere": ("export case.json /dev/null/x", "cannot write /dev/null/x"),
    "a trace that is none": ("decode case.json", "case.json: no trace in it"),
    "a build of nothing": ("build --source . /tmp/nowhere", "not a kernel source folder"),
}


@pytest.fixture
def folder(tmp_path: Path, small_case: Case) -> Path:
    """A folder with all kinds of wrong files."""
    text = dump_case(small_case)
    files = {
        "case.json": text,
        "truncated.json": text[: len(text) // 2],
        "malformed.json": text.replace('"allocate"', '"alocate"', 1),
        "malformed.toml": 'name="x"\ndescription=""\nsource=""\nkind=""\n'
        '[[regions]]\nbase="much"\nlength=1\n',
        "conformance-broken.toml": "[backends.qemu\n",
        "iomem": "00100000-3fffffff : System RAM\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    return tmp_path


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(
    mistake: str, conformance: Command, folder: Path
) -> None:
    words, message = MISTAKES[mistake]
    before = sorted(folder.rglob("*"))
    done = conformance(*shlex.split(words))
    assert message in done.complaint
    assert done.output == ""
    assert "Traceback" not in done.errors
    assert sorted(folder.rglob("*")) == before


def test_the_configuration_of_the_folder_counts(conformance: Command, tmp_path: Path) -> None:
    (tmp_path / "conformance.toml").write_text("[backends.oracle]\nkind = 'qemu'\n")
    for words in ("doctor", "run"):
        assert "'oracle' cannot be a backend's name" in conformance(words).complaint


def test_a_name_with_an_escape_sequence_is_shown_escaped(conformance: Command) -> None:
    complaint = conformance("run", "--backend", "\x1b[31mred\nline").complaint
    assert "\\x1b[31mred\\nline" in complaint


def commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield (*path, name), command


ALL = {" ".join(path): command for path, command in commands(cli)}


@pytest.mark.parametrize("name", ALL)
def test_every_command_and_option_says_what_it_is(name: str) -> None:
    command = ALL[name]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["run", "--help"], ["maps", "import", "-h"]])
def test_help_is_shown(words: list[str], conformance: Command) -> None:
    done = conformance(*words)
    assert (done.status, done.errors) == (0, "")
    assert done.output.startswith("Usage: ")


def test_without_a_command_there_is_help(conformance: Command) -> None:
    done = conformance()
    assert done.status == 2
    assert "Commands:" in done.errors + done.output


def examples() -> Iterator[str]:
    for command in ALL.values():
        for line in (command.epilog or "").splitlines():
            for part in line.partition("#")[0].split("&&"):
                if part.strip().startswith("conformance "):
                    yield part.strip()


EXAMPLES = sorted(set(examples()))


@pytest.mark.parametrize("name", ["", "run", "replay", "build", "export", "known"])
def test_the_help_has_examples(name: str) -> None:
    assert "Example" in (ALL[name].epilog or "")


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_a_command_line_that_works(example: str) -> None:
    _, *words = shlex.split(example.partition("|")[0])
    group: click.Command = cli
    while isinstance(group, click.Group):
        group = group.commands[words.pop(0)]
    # Only a path that has to exist may be missing here.
    words = ["." if word.startswith("/tmp/my-image") else word for word in words]
    group.make_context(example, words)
