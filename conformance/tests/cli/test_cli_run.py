"""`conformance run`: what it writes, and its exit status."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conformance.case.codec import load_case
from conformance.case.image import IMAGES, Image, default_image

Command = Callable[..., Any]
Words = tuple[object, ...]
# The whole run takes minutes.
FRAMES = ("--suite", "frames")


def read(path: Path) -> dict[str, Any]:
    form = json.loads(path.read_text())
    assert isinstance(form, dict)
    return form


def test_agreement(conformance: Command, model: Words, tmp_path: Path, total: int) -> None:
    done = conformance("run", *model)
    assert (done.status, done.errors) == (0, "")
    assert "seed     7" in done.output
    assert f"{total} agree  0 diverge" in done.output
    # Nothing is left but what libraries keep in the user's cache folder.
    assert {path.name for path in tmp_path.iterdir()} - {"cache"} == {"small.toml"}


def test_the_json_result(conformance: Command, model: Words, tmp_path: Path, total: int) -> None:
    assert conformance("run", *model, "--json", "new/out.json").status == 0
    form = read(tmp_path / "new" / "out.json")
    backend = form["backends"]["unicorn"]
    assert form == {
        "images": {name: {"sha256": default_image(name).id.sha256} for name in IMAGES},
        "seed": 7,
        "backends": {"unicorn": backend},
        "verdicts": {"agree": total, "diverge": 0, "inconclusive": 0, "flaky": 0, "known": 0},
        "divergences": [],
        "known": [],
        "stale": [],
        "skipped": [],
    }
    assert backend.keys() == {"kind", "version", "cases", "runs", "seconds", "traces_sha256"}
    assert (backend["kind"], backend["cases"], backend["runs"]) == ("unicorn", total, total)
    assert backend["version"][0].isdigit()
    assert 0 < backend["seconds"] < 60
    assert len(bytes.fromhex(backend["traces_sha256"])) == 32


def test_two_runs_of_one_seed_are_alike(conformance: Command, model: Words, tmp_path: Path) -> None:
    results = {}
    for name, seed in (("one", 7), ("again", 7), ("other", 8)):
        conformance("run", *model, "--seed", seed, "--json", f"{name}.json")
        results[name] = read(tmp_path / f"{name}.json")["backends"]["unicorn"]["traces_sha256"]
    assert results["one"] == results["again"] != results["other"]


def test_a_divergence(
    conformance: Command,
    model: Words,
    wrong_image_folder: Path,
    wrong_image: Image,
    tmp_path: Path,
    total_of_one: int,
) -> None:
    words = (*model, "--image", wrong_image_folder, "--json", "out.json", "--junit", "out.xml")
    done = conformance("run", *words)
    assert (done.status, done.errors) == (1, "")
    form = read(tmp_path / "out.json")
    assert form["images"] == {"i686": {"sha256": wrong_image.id.sha256}}
    assert form["verdicts"] == {
        "agree": 0,
        "diverge": total_of_one,
        "inconclusive": 0,
        "flaky": 0,
        "known": 0,
    }
    (divergence,) = form["divergences"]
    file = Path(divergence["file"])
    assert {
        key: divergence[key] for key in divergence if key not in ("case", "file", "reason")
    } == {
        "signature": "kernel or unicorn: reserved[first_frame].end lower (legacy)",
        "status": "diverge",
        "culprit": "kernel or unicorn",
        "permitted": [],
        "suite": "frames",
        "backends": ["unicorn"],
        "instances": total_of_one,
        "shrunk": True,
        "first_difference": divergence["first_difference"],
    }
    assert divergence["first_difference"].keys() == {
        "index",
        "compared",
        "how",
        "context",
        "sides",
        "fields",
    }
    assert divergence["first_difference"]["fields"] == {"end": "lower"}
    assert divergence["first_difference"]["sides"].keys() == {"oracle", "unicorn"}
    case = load_case(json.dumps(divergence["case"]))
    assert case.image == wrong_image.id
    assert case.program.operations == ()
    assert file.parent == tmp_path / "conformance-results" / "divergences"
    assert [file] == list(file.parent.iterdir())
    assert f"conformance replay {file}" in done.output
    assert "reserved[first_frame].end lower" in done.output
    suite = ET.parse(tmp_path / "out.xml").getroot().find("testsuite")
    assert suite is not None
    assert suite.get("failures") == suite.get("skipped") == str(total_of_one - 2)


def test_junit_of_agreement_is_well_formed(
    conformance: Command, model: Words, tmp_path: Path
) -> None:
    assert conformance("run", *model, "--junit", "deep/out.xml").status == 0
    suite = ET.parse(tmp_path / "deep" / "out.xml").getroot().find("testsuite")
    assert suite is not None
    names = {case.get("name") for case in suite.iter("testcase")}
    assert {f"test_memory_map[{name}-small.toml]" for name in IMAGES} <= names
    assert {f"test_generated[{name}]" for name in IMAGES} <= names
    assert suite.get("failures") == suite.get("errors") == "0"


BROKEN = """
[backends.{name}]
kind = "unicorn"
binary = "{binary}"
options = ["{fault}", "{number}"]
deadline = 0.2
"""


def configure(folder: Path, binary: str, **values: object) -> None:
    text = '[backends.model]\nkind = "unicorn"\n' + BROKEN.format(binary=binary, **values)
    (folder / "conformance.toml").write_text(text)


def test_a_crash_of_one_engine_is_its_fault_alone(
    conformance: Command, map_file: Path, faulty_binary: str, tmp_path: Path, total: int
) -> None:
    configure(tmp_path, faulty_binary, name="crashing", fault="crash", number=0)
    done = conformance(
        "run", *FRAMES, "--map", map_file, "--cases", 3, "--seed", 7, "--json", "out.json"
    )
    assert done.status == 1
    form = read(tmp_path / "out.json")
    assert [each["signature"] for each in form["divergences"]] == [
        f"crashing: outcome:backend-crashed ({paging})" for paging in ("legacy", "4-level")
    ]
    assert form["backends"]["model"]["cases"] == form["verdicts"]["diverge"] == total


def test_what_does_not_come_back_is_flaky_and_no_divergence(
    conformance: Command,
    map_file: Path,
    faulty_binary: str,
    tmp_path: Path,
    total: int,
    total_of_one: int,
) -> None:
    configure(tmp_path, faulty_binary, name="moody", fault="crash", number=2)
    done = conformance(
        "run", *FRAMES, "--map", map_file, "--cases", 3, "--seed", 7, "--json", "out.json"
    )
    assert done.status == 3
    form = read(tmp_path / "out.json")
    # Every third case of a process, and each image has its own.
    flaky = len(IMAGES) * (total_of_one // 3)
    assert form["verdicts"] == {
        "agree": total - flaky,
        "diverge": 0,
        "inconclusive": 0,
        "flaky": flaky,
        "known": 0,
    }
    assert [each["status"] for each in form["divergences"]] == ["flaky", "flaky"]
    assert "flaky: moody: outcome:backend-crashed" in done.output


def test_what_is_skipped_is_listed_with_its_reason(
    conformance: Command, map_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "conformance.toml").write_text(
        '[backends.model]\nkind = "unicorn"\n'
        '[backends.missing]\nkind = "qemu"\nbinary = "/nonexistent/qemu"\n'
    )
    words = ("run", *FRAMES, "--map", map_file, "--cases", 1, "--json", "out.json")
    done = conformance(*words)
    assert done.status == 0
    (skipped,) = read(tmp_path / "out.json")["skipped"]
    assert skipped == {"what": "backend missing", "reason": "/nonexistent/qemu not found"}
    assert "backend missing: /nonexistent/qemu not found" in done.output
    assert "'missing' is not usable: /nonexistent/qemu" in conformance(*words, CI="1").complaint


def test_a_terminal_gets_no_escape_sequence_from_an_engine(
    conformance: Command, model: Words, tmp_path: Path
) -> None:
    script = tmp_path / "evil"
    script.write_text("#!/bin/sh\nprintf '\\033[31mred\\033]0;title\\007' >&2\nexit 1\n")
    script.chmod(0o755)
    (tmp_path / "conformance.toml").write_text(
        f'[backends.evil]\nkind = "unicorn"\nbinary = "{script}"\n[backends.unicorn]\n'
        'kind = "unicorn"\n'
    )
    done = conformance("run", "--backend", "evil", *model)
    assert "\x1b" not in done.output + done.errors
    assert "\x07" not in done.output + done.errors
    assert done.status == 0  # whoever does not start does not take part
    done = conformance("run", "--backend", "evil", *FRAMES, *model[4:], "--json", "out.json")
    assert done.status == 3
    assert "\x1b" not in done.output + done.errors + (tmp_path / "out.json").read_text()
    assert "\\x1b[31mred" in done.output


def test_three_engines_agree(
    conformance: Command, built_in: list[object], map_file: Path, tmp_path: Path, total: int
) -> None:
    done = conformance(
        "run", *FRAMES, "--map", map_file, "--cases", 3, "--seed", 7, "--json", "out.json"
    )
    assert (done.status, done.errors) == (0, "")
    form = read(tmp_path / "out.json")
    assert list(form["backends"]) == ["qemu", "bochs", "unicorn"]
    assert form["verdicts"]["agree"] == total
    assert {each["cases"] for each in form["backends"].values()} == {total}
