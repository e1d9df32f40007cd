"""Where the harness's own files are found."""

from __future__ import annotations

from pathlib import Path

import pytest

import conformance
from conformance import resources
from conformance.errors import ImageError
from conformance.resources import checkout, resource


@pytest.mark.parametrize(
    "name", ["protocol.toml", "images/i686/kernel.elf", "fixtures/memory_maps"]
)
def test_what_belongs_to_the_harness_is_there(name: str) -> None:
    assert resource(name).exists()
    assert resource(name).name == Path(name).name


def test_what_does_not_is_an_error_that_says_where_was_looked() -> None:
    with pytest.raises(ImageError, match=r"missing resource 'nonsense\.txt'; looked at .*_data"):
        resource("nonsense.txt")


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a package lies that has two files, one of which the sources have too."""
    data = tmp_path / "conformance" / "_data"
    (data / "images" / "i686").mkdir(parents=True)
    (data / "protocol.toml").write_text("installed")
    (data / "images" / "i686" / "kernel.elf").write_text("installed")
    monkeypatch.setattr(conformance, "__path__", [str(data.parent)])
    monkeypatch.setattr(resources, "_PACKAGE", data.parent)
    return tmp_path


def test_installed_there_is_only_what_was_installed(layout: Path) -> None:
    assert checkout() is None
    assert resource("protocol.toml").read_text() == "installed"
    with pytest.raises(ImageError):
        resource("kernel/protocol.toml")


def test_in_a_checkout_the_sources_are_preferred(layout: Path) -> None:
    (layout / "kernel").mkdir()
    (layout / "kernel" / "protocol.toml").write_text("source")
    assert checkout() == layout
    assert resource("protocol.toml").read_text() == "source"
    assert resource("images/i686/kernel.elf").read_text() == "installed"
