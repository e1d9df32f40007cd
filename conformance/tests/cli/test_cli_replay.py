"""`conformance replay`: a divergence file is enough, wherever it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance.case.case import Case
from conformance.case.codec import dump_case
from conformance.case.image import Image

Command = Callable[..., Any]
SIGNATURE = "kernel or unicorn: reserved[first_frame].end lower (legacy)"


def test_a_divergence_comes_back_from_its_file_alone(
    conformance: Command, found: Path, wrong_image: Image
) -> None:
    done = conformance("replay", found.name)
    assert (done.status, done.errors) == (1, "")
    assert f"diverge: {SIGNATURE}\n" in done.output
    assert f"image    i686 {wrong_image.id.sha256[:12]}" in done.output
    assert "backends unicorn, and the oracle" in done.output
    assert "saved for" not in done.output


def test_a_divergence_that_is_fixed(conformance: Command, found: Path, image: Image) -> None:
    done = conformance("replay", found, "--current")
    assert done.status == 0
    assert f"image    i686 {image.id.sha256[:12]}" in done.output
    assert "agree: unicorn agrees with the oracle" in done.output
    assert f"the file was saved for: {SIGNATURE}" in done.output


def test_a_divergence_on_another_image(
    conformance: Command, found: Path, wrong_image_folder: Path
) -> None:
    assert conformance("replay", found, "--image", wrong_image_folder).status == 1


def test_a_divergence_on_other_backends(conformance: Command, found: Path, tmp_path: Path) -> None:
    config = tmp_path / "two.toml"
    config.write_text('[backends.one]\nkind = "unicorn"\n[backends.two]\nkind = "unicorn"\n')
    # Those that the file names are not there: all are taken.
    done = conformance("replay", found, "--config", config)
    assert done.status == 1
    assert "diverge: kernel: reserved[first_frame].end lower (legacy)" in done.output
    assert f"the file was saved for: {SIGNATURE}" in done.output
    done = conformance("replay", found, "--config", config, "--backend", "two")
    assert "kernel or two: reserved" in done.output


def test_a_plain_case(conformance: Command, small_case: Case, tmp_path: Path) -> None:
    (tmp_path / "case.json").write_text(dump_case(small_case))
    done = conformance("replay", "case.json", "--backend", "unicorn")
    assert (done.status, done.errors) == (0, "")
    assert "agree: unicorn agrees with the oracle" in done.output
    assert {path.name for path in tmp_path.iterdir()} <= {"case.json", "cache"}


def test_a_file_cannot_send_escape_sequences_to_the_terminal(
    conformance: Command, found: Path
) -> None:
    form = json.loads(found.read_text())
    found.write_text(json.dumps(form | {"signature": "\x1b[31mevil\nline"}))
    done = conformance("replay", found)
    assert done.status == 1
    assert "\x1b" not in done.output
    assert "the file was saved for: \\x1b[31mevil\\nline" in done.output


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda form: form["image"].update(sha256="0" * 64), "image: packed image i686: sha256="),
        (lambda form: form["image"].update(kernel="AAAA"), "image: packed image is damaged"),
        (lambda form: form["case"]["image"].update(sha256="0" * 64), "another image than the one"),
        (lambda form: form.pop("backends"), "not a whole divergence file"),
        (lambda form: form.update(version=9), "version: expected 1, got 9"),
    ],
)
def test_a_damaged_file_is_one_line(
    damage: Callable[[dict[str, Any]], Any], message: str, conformance: Command, found: Path
) -> None:
    form = json.loads(found.read_text())
    damage(form)
    found.write_text(json.dumps(form))
    assert message in conformance("replay", found).complaint
