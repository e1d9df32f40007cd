"""Setting up: which backends take part, and why others do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.backend import InstanceConfig
from conformance.case.image import Image, default_image
from conformance.config import Config
from conformance.engine.setup import build_harness, choose_images, probe_instances
from conformance.errors import BackendError, ImageError, InvalidArgument

MODEL = InstanceConfig("model", "unicorn")
MISSING = InstanceConfig("missing", "qemu", binary="/nonexistent/qemu")


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)


def test_each_instance_is_looked_at() -> None:
    model, missing = probe_instances([MODEL, MISSING])
    assert model.availability.usable
    assert model.availability.version
    assert not missing.availability.usable
    assert "/nonexistent/qemu" in missing.availability.reason
    assert missing.availability.remedy


def test_a_backend_that_is_missing_is_skipped_with_its_reason(image: Image) -> None:
    harness, usable = build_harness(Config((MISSING, MODEL)), images=[image], seed=1, cases=2)
    with harness.runner:
        assert [each.instance.name for each in usable] == ["model"]
        assert harness.instances == (MODEL,)
        (skipped,) = harness.skipped
        assert skipped.what == "backend missing"
        assert "/nonexistent/qemu" in skipped.reason


def test_a_backend_that_was_asked_for_is_not_skipped(image: Image) -> None:
    with pytest.raises(BackendError, match=r"'missing' is not usable: .*/nonexistent/qemu"):
        build_harness(Config((MISSING, MODEL)), names=["missing"], images=[image], seed=1, cases=2)


def test_no_backend_is_skipped_where_all_have_to_be_there(
    image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(BackendError, match="'missing' is not usable"):
        build_harness(Config((MISSING, MODEL)), images=[image], seed=1, cases=2)


def test_a_run_on_nothing_is_an_error(image: Image) -> None:
    with pytest.raises(BackendError, match="conformance doctor"):
        build_harness(Config((MISSING,)), images=[image], seed=1, cases=2)


def test_a_backend_that_is_not_configured(image: Image) -> None:
    with pytest.raises(InvalidArgument, match="no backend 'nobody'; configured: model"):
        build_harness(Config((MODEL,)), names=["nobody"], images=[image], seed=1, cases=2)


def test_the_image_of_a_folder(
    wrong_image_folder: Path, wrong_image: Image, image: Image, tmp_path: Path
) -> None:
    assert choose_images(wrong_image_folder) == (wrong_image,)
    assert choose_images(None) == (image, default_image("x86_64"))
    # A folder with a folder for each image, or for some.
    assert choose_images(wrong_image_folder.parent) == (wrong_image,)
    with pytest.raises(ImageError, match=r"kernel\.elf: No such file"):
        choose_images(tmp_path)
