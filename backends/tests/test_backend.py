"""Kinds of backend: the built-in ones, and what other packages register."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.backend import (
    BUILT_IN,
    Availability,
    Backend,
    InstanceConfig,
    Session,
    create_backend,
    kinds,
)
from conformance.case.image import Image
from conformance.case.machine import Machine
from conformance.errors import BackendError, InvalidArgument

MODULE = """
from backends.backend import Availability

class Backend:
    deterministic = True

    def __init__(self, config):
        self.config = config

    def probe(self):
        return Availability(True, version="1")

    def open(self, image, machine):
        raise NotImplementedError
"""


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that registers `zebra` and, boldly, `qemu`."""
    (tmp_path / "some_engines.py").write_text(MODULE)
    metadata = tmp_path / "some_engines-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: some-engines\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(
        "[conformance.backends]\nzebra = some_engines:Backend\nqemu = some_engines:Backend\n"
        "broken = some_engines:Nothing\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize("kind", BUILT_IN)
def test_the_built_in_kinds(kind: str) -> None:
    config = InstanceConfig("mine", kind)
    backend = create_backend(config)
    assert isinstance(backend, Backend)
    assert backend.config is config
    assert backend.deterministic is True


def test_nothing_else_is_registered_by_us() -> None:
    assert kinds()[:3] == BUILT_IN


@pytest.mark.parametrize(
    ("kind", "hint"),
    [("boch", "; did you mean 'bochs'?"), ("unicron", "; did you mean 'unicorn'?"), ("?", "")],
)
def test_an_unknown_kind(kind: str, hint: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        create_backend(InstanceConfig("mine", kind))
    assert str(caught.value) == (
        f"no backend kind {kind!r} (instance 'mine'); known: {', '.join(kinds())}{hint}"
    )


@pytest.mark.usefixtures("registered")
def test_a_registered_kind(image: Image) -> None:
    assert kinds() == (*BUILT_IN, "broken", "zebra")
    config = InstanceConfig("mine", "zebra", options=("a", "b"))
    backend = create_backend(config)
    assert type(backend).__module__ == "some_engines"
    assert backend.config is config
    assert backend.probe() == Availability(True, version="1")
    with pytest.raises(NotImplementedError):
        backend.open(image, Machine())


@pytest.mark.usefixtures("registered")
def test_a_registered_kind_is_suggested() -> None:
    with pytest.raises(InvalidArgument, match="did you mean 'zebra'"):
        create_backend(InstanceConfig("mine", "zebre"))


@pytest.mark.usefixtures("registered")
def test_a_built_in_kind_cannot_be_taken() -> None:
    assert type(create_backend(InstanceConfig("mine", "qemu"))).__module__ == "backends.qemu"


@pytest.mark.usefixtures("registered")
def test_an_entry_point_that_leads_nowhere() -> None:
    with pytest.raises(BackendError, match=r"'broken'.*some_engines:Nothing"):
        create_backend(InstanceConfig("mine", "broken"))


def test_what_is_no_session() -> None:
    assert not isinstance(object(), Session)
    assert not isinstance(object(), Backend)
