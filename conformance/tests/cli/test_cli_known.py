"""`conformance known`, and what a run and a replay make of the list."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conformance.cli import cli
from conformance.errors import ConformanceError
from conformance.resources import resource

Command = Callable[..., Any]

SIGNATURE = "broken: counted.free_frames higher after count (legacy)"
RUN = ("run", "--suite", "frames", "--cases", 3, "--seed", 7, "--map")
ADD = ("--sentence", "counts too many", "--section", "TRACE.md", "--versions", ">=2,<3")
CONFIG = """
known = "mine.toml"
[backends.wrong]
kind = "broken"
[backends.right]
kind = "unicorn"
"""


def prepare(folder: Path, environment: dict[str, str]) -> str:
    """A folder with a backend of a third party that is wrong, and the path to find it on."""
    third_party = folder / "third_party"
    metadata = third_party / "broken-1.dist-info"
    metadata.mkdir(parents=True)
    tests = Path(__file__).parents[1]
    (third_party / "broken_backend.py").write_text((tests / "broken_backend.py").read_text())
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(
        "[conformance.backends]\nbroken = broken_backend:from_config\n"
    )
    (folder / "conformance.toml").write_text(CONFIG)
    (folder / "mine.toml").write_text("# my list\n")
    return ":".join(filter(None, [str(third_party), environment.get("PYTHONPATH")]))


@pytest.fixture
def conformance(conformance: Command, environment: dict[str, str], tmp_path: Path) -> Command:
    """The command line, in such a folder."""
    path = prepare(tmp_path, environment)
    return lambda *words: conformance(*words, PYTHONPATH=path)


@pytest.fixture
def run(conformance: Command, map_file: Path) -> Command:
    # On one image: there is one divergence then.
    return lambda *more: conformance(*RUN, map_file, "--image", resource("images/i686"), *more)


_FOUND: list[str] = []


@pytest.fixture
def found(run: Command, tmp_path: Path) -> Path:
    """A divergence that a run has found; one run is enough for all tests."""
    if not _FOUND:
        assert run().status == 1
        (path,) = (tmp_path / "conformance-results" / "divergences").iterdir()
        _FOUND.append(path.read_text())
    path = tmp_path / "found.json"
    path.write_text(_FOUND[0])
    return path


def test_what_was_added_is_listed_shown_and_no_longer_fails_a_run(
    conformance: Command, run: Command, found: Path, tmp_path: Path
) -> None:
    assert "counts too many" not in conformance("known", "list").output
    done = conformance("known", "add", found, *ADD, "--link", "https://example.org")
    assert (done.status, done.errors) == (0, "")
    text = (tmp_path / "mine.toml").read_text()
    assert text.startswith("# my list\n")
    assert f'signature = "{SIGNATURE}"' in text
    (case,) = (tmp_path / "known").iterdir()
    assert case.name == "broken-counted-free-frames-higher-after-count-legacy.json"

    assert "counts too many" in conformance("known", "list").output
    shown = conformance("known", "show", case.stem).output
    assert f"signature {SIGNATURE}" in shown
    assert "engine    broken >=2,<3" in shown
    assert "link      https://example.org" in shown
    assert "    0: count" in shown
    wrong = conformance("known", "show", "broken-counted").complaint
    assert "no known divergence 'broken-counted' among " in wrong

    done = run("--json", "out.json", "--junit", "out.xml")
    assert (done.status, done.errors) == (0, "")
    form = json.loads((tmp_path / "out.json").read_text())
    (known,) = form["known"]
    assert known["signature"] == SIGNATURE
    assert known["count"] == form["verdicts"]["known"] > 0
    assert (form["divergences"], form["stale"]) == ([], [])
    assert f"known {known['count']} x {case.stem}: counts too many" in done.output
    suite = ET.parse(tmp_path / "out.xml").getroot().find("testsuite")
    assert suite is not None
    assert suite.get("failures") == "0"
    noted = {
        each.get("value")
        for each in suite.iter("property")
        if each.get("name") == f"known {SIGNATURE}"
    }
    assert "1: counts too many" in noted

    done = run("--no-known", "--json", "out.json")
    assert done.status == 1
    assert json.loads((tmp_path / "out.json").read_text())["verdicts"]["known"] == 0

    done = conformance("replay", found)
    assert (done.status, done.errors) == (0, "")
    assert done.output.count("known: wrong: counted.free_frames") == 1
    assert "  known     wrong: counts too many" in done.output
    assert "saved for" not in done.output
    done = conformance("replay", found, "--no-known")
    assert done.status == 1
    assert "diverge: wrong: counted.free_frames" in done.output


@pytest.fixture
def add(found: Path, tmp_path: Path) -> Callable[..., str]:
    """`conformance known add FILE WORDS…` in this process; what it printed."""
    config = tmp_path / "own.toml"
    config.write_text('known = "mine.toml"\n')

    def add(*words: str, file: Path = found) -> str:
        command = ["known", "add", str(file), *words, "--config", str(config)]
        done = CliRunner().invoke(cli, command, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return add


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*ADD[:-1], "new"), r'versions: expected versions like ">=7\.0,<9"'),
        ((*ADD, "--sentence", ""), "sentence: expected one line of text"),
        ((*ADD, "--name", "../evil"), "--name '../evil': expected up to 80 of a-z"),
    ],
)
def test_a_mistake_leaves_the_list_as_it_was(
    words: tuple[str, ...], message: str, add: Callable[..., str], tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*.*"))
    with pytest.raises(ConformanceError, match=message):
        add(*words)
    assert (tmp_path / "mine.toml").read_text() == "# my list\n"
    assert sorted(tmp_path.rglob("*.*")) == before


def test_the_same_twice(add: Callable[..., str]) -> None:
    assert f"added {SIGNATURE}" in add(*ADD)
    with pytest.raises(ConformanceError, match="is there already; give another --name"):
        add(*ADD)
    with pytest.raises(ConformanceError, match="has the signature and versions of"):
        add(*ADD, "--name", "other")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"causes": []}, "holds no divergence of a backend"),
        (
            {
                "causes": [
                    {"backends": ["wrong"], "cause": "x"},
                    {"backends": ["right"], "cause": "y"},
                ]
            },
            r"has several causes \(broken: x; unicorn: y\)",
        ),
        ({"culprit": "kernel"}, "blames the kernel"),
        ({"causes": [{"backends": ["stranger"], "cause": "x"}]}, "not a whole divergence file"),
        ({"causes": [{"backends": "wrong"}]}, "not a whole divergence file"),
        ({"causes": 5}, "not a whole divergence file"),
    ],
)
def test_what_is_no_divergence_of_one_backend(
    changes: dict[str, Any], message: str, add: Callable[..., str], found: Path
) -> None:
    found.write_text(json.dumps(json.loads(found.read_text()) | changes))
    with pytest.raises(ConformanceError, match=message):
        add(*ADD)


def test_a_malformed_list_is_one_line(run: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[[divergence]]\nsignature = 'x'\n")
    assert "mine.toml: divergence[0]: key 'kind' is missing" in run().complaint
