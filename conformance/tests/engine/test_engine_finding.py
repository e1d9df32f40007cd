"""Divergence files: enough by themselves, and strict to read."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from broken_backend import BrokenBackend, flip

from backends.backend import Backend
from conformance.case.case import Case
from conformance.case.codec import dump_case
from conformance.case.image import Image
from conformance.engine.finding import Finding, load_record
from conformance.engine.runner import Runner
from conformance.errors import InvalidInput

SIGNATURE = "kernel or unicorn: counted.free_frames higher after count (legacy)"


@pytest.fixture
def finding(make_runner: Callable[..., Runner], unicorn: Backend, small_case: Case) -> Finding:
    change = flip("counted", "free_frames", bit=20)
    result = make_runner(BrokenBackend(unicorn, change)).run(small_case)
    return Finding(result.verdict.signature, "frames", result)


@pytest.fixture
def saved(finding: Finding, image: Image, unicorn: Backend, tmp_path: Path) -> Path:
    finding.save(tmp_path, image=image, instances=(unicorn.config,), seed=7)
    assert finding.path is not None
    return finding.path


def rewrite(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


def test_what_is_saved_can_be_loaded(
    saved: Path, finding: Finding, image: Image, small_case: Case
) -> None:
    record = load_record(saved)
    assert record.case == small_case
    assert record.image == image
    assert record.signature == finding.signature == SIGNATURE
    assert record.backends == ("unicorn",)


def test_a_file_says_what_happened(saved: Path, finding: Finding, small_case: Case) -> None:
    form = json.loads(saved.read_text())
    observation = finding.result.observations[0]
    assert form["suite"] == "frames"
    assert form["seed"] == 7
    assert (form["status"], form["culprit"]) == ("diverge", "kernel or unicorn")
    assert form["case"] == json.loads(dump_case(small_case))
    assert form["first_difference"]["fields"] == {"free_frames": "higher"}
    assert any("counted" in line for line in form["explanation"])
    (seen,) = form["observations"]
    assert base64.b64decode(seen["trace"]) == observation.trace
    assert tuple(seen["command"]) == observation.command
    assert form["backends"] == [
        {
            "name": "unicorn",
            "kind": "unicorn",
            "binary": "",
            "options": [],
            "cpu": "",
            "deadline": 20.0,
        }
    ]


def test_its_name_is_made_of_the_signature_alone(finding: Finding, saved: Path) -> None:
    assert saved.name.startswith("kernel-or-unicorn-counted-free-frames-higher-after-count-")
    other = replace(finding.result, case=replace(finding.result.case, memory_map=None))
    assert Finding(SIGNATURE, "another", other).file_name() == saved.name
    assert Finding(SIGNATURE + "?", "frames", finding.result).file_name() != saved.name


@pytest.mark.parametrize("signature", ["../../etc/passwd", "", "\x00/" * 200, "Ä" * 300])
def test_a_name_is_a_name_whatever_the_signature(signature: str, finding: Finding) -> None:
    name = Finding(signature, "frames", finding.result).file_name()
    assert "/" not in name
    assert name.isascii()
    assert name.isprintable()
    assert len(name) < 100


def test_saving_again_replaces_the_file(
    saved: Path, finding: Finding, image: Image, unicorn: Backend
) -> None:
    finding.shrunk = True
    finding.save(saved.parent, image=image, instances=(unicorn.config,), seed=7)
    assert json.loads(saved.read_text())["shrunk"] is True
    assert list(saved.parent.iterdir()) == [saved]


def test_a_plain_case_is_a_record_too(small_case: Case, tmp_path: Path) -> None:
    path = tmp_path / "case.json"
    path.write_text(dump_case(small_case))
    record = load_record(path)
    assert (record.case, record.image, record.signature, record.backends) == (
        small_case,
        None,
        "",
        (),
    )


def test_every_truncation_is_noticed(saved: Path) -> None:
    text = saved.read_text().rstrip()
    for length in {0, 1, len(text) // 3, len(text) // 2, len(text) - 1}:
        saved.write_text(text[:length])
        with pytest.raises(InvalidInput) as got:
            load_record(saved)
        assert str(got.value).startswith(f"{saved}: ")
        assert "\n" not in str(got.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "something-else"}, "format: expected 'conformance-case'"),
        ({"version": 2}, "version: expected 1, got 2"),
        ({"case": None}, "case: expected a JSON object, got None"),
        ({"case": {"format": "conformance-case"}}, "case: key 'version' is missing"),
        ({"backends": 5}, "not a whole divergence file"),
        ({"backends": ["unicorn"]}, "not a whole divergence file"),
        ({"image": None}, "image: packed image is damaged"),
        ({"image": {"name": "i686"}}, "image: packed image is damaged"),
        ({"image": []}, "image: packed image is damaged"),
    ],
)
def test_a_file_of_another_form(changes: dict[str, Any], message: str, saved: Path) -> None:
    with pytest.raises(InvalidInput, match=message) as got:
        load_record(rewrite(saved, **changes))
    assert str(got.value).count(str(saved)) == 1
    assert "\n" not in str(got.value)


@pytest.mark.parametrize("key", ["case", "image", "backends", "signature"])
def test_a_key_that_is_missing(key: str, saved: Path) -> None:
    form = json.loads(saved.read_text())
    del form[key]
    saved.write_text(json.dumps(form))
    with pytest.raises(InvalidInput, match=f"not a whole divergence file: .*'{key}'"):
        load_record(saved)


def test_a_damaged_image_is_noticed(saved: Path, image: Image) -> None:
    packed = image.pack()
    damaged = packed | {"kernel": packed["kernel"][:-8] + "AAAAAAA="}
    with pytest.raises(InvalidInput, match="packed image is damaged"):
        load_record(rewrite(saved, image=damaged))


def test_an_image_with_another_digest_is_noticed(saved: Path, image: Image) -> None:
    with pytest.raises(InvalidInput, match=f"sha256={image.id.sha256}, but the file says '0+'"):
        load_record(rewrite(saved, image=image.pack() | {"sha256": "0" * 64}))


def test_a_case_for_another_image_is_noticed(saved: Path, wrong_image: Image) -> None:
    with pytest.raises(InvalidInput, match="another image than the one in the file"):
        load_record(rewrite(saved, image=wrong_image.pack()))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"[1, 2]", "expected a JSON object"),
        (b"[" * 100_000, "too deeply"),
        (b'{"version": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"", "too early"),
    ],
)
def test_what_is_no_record_at_all(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "case.json"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=message) as got:
        load_record(path)
    assert "\n" not in str(got.value)


@pytest.mark.parametrize("path", ["/nonexistent/case.json", "/", "/dev/zero"])
def test_a_file_that_cannot_be_read(path: str) -> None:
    with pytest.raises(InvalidInput, match=path):
        load_record(Path(path))
