"""Setting up a harness: which backends can be used here, which image, which maps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backends.backend import Availability, Backend, InstanceConfig, create_backend
from conformance.case.image import IMAGES, Image, default_image, load_image
from conformance.config import Config, select_instances
from conformance.engine.harness import Harness, Listener, Skipped
from conformance.engine.runner import Runner
from conformance.errors import BackendError
from conformance.judge.known import Engine, KnownDivergence, KnownDivergences
from conformance.judge.known_file import load_known
from conformance.resources import resource

__all__ = ["Probed", "build_harness", "choose_images", "known_entries", "probe_instances"]


@dataclass(frozen=True, slots=True)
class Probed:
    """An instance, its backend and whether it can be used here."""

    instance: InstanceConfig
    backend: Backend
    availability: Availability


def probe_instances(instances: Sequence[InstanceConfig]) -> list[Probed]:
    """Look at each instance once.

    Raises:
        InvalidArgument: an instance is of a kind that does not exist.
    """
    backends = [create_backend(instance) for instance in instances]
    return [
        Probed(instance, backend, backend.probe())
        for instance, backend in zip(instances, backends, strict=True)
    ]


def choose_images(folder: Path | None) -> tuple[Image, ...]:
    """The harness's own images, or the one in a folder, or those in its folders of their names.

    Raises:
        ImageError: there is none.
    """
    if folder is None:
        return tuple(default_image(name) for name in IMAGES)
    inside = [folder / name for name in IMAGES if (folder / name).is_dir()]
    if inside and not (folder / "kernel.elf").exists():
        return tuple(load_image(each, each.name) for each in inside)
    return (load_image(folder, folder.resolve().name),)


def known_entries(config: Config) -> tuple[KnownDivergence, ...]:
    """The known divergences: those that come with the harness, and the user's own.

    Raises:
        InvalidInput: a list is missing or malformed.
    """
    own = () if config.known is None else load_known(config.known)
    return load_known(resource("fixtures/known_divergences.toml")) + own


def build_harness(
    config: Config,
    *,
    names: Sequence[str] = (),
    images: Sequence[Image],
    seed: int,
    cases: int,
    folder: Path | None = None,
    listener: Listener | None = None,
    known: bool = True,
) -> tuple[Harness, list[Probed]]:
    """A harness on the instances of these names, or on all that can be used here.

    A backend that was asked for by its name has to be usable; so has every one where the
    environment says `CI`. Otherwise one that is not is skipped, with its reason. Unless `known`,
    divergences that are known are treated as new.

    Raises:
        InvalidInput: a list of known divergences is missing or malformed.
        InvalidArgument: there is no instance of a name.
        BackendError: a backend that has to be usable is not, or none is.
    """
    probed = probe_instances(select_instances(config, names))
    skipped = []
    for each in probed:
        if each.availability.usable:
            continue
        reason = each.availability.reason
        if names or os.environ.get("CI"):
            raise BackendError(
                f"backend {each.instance.name!r} is not usable: {reason}; "
                f"{each.availability.remedy}"
            )
        skipped.append(Skipped(f"backend {each.instance.name}", reason))
    usable = [each for each in probed if each.availability.usable]
    if not usable:
        raise BackendError("no backend is usable: see 'conformance doctor'")
    engines = {
        each.instance.name: Engine(each.instance.kind, each.availability.version) for each in usable
    }
    entries = known_entries(config)  # also where they do not count: an error in them does
    divergences = KnownDivergences(entries if known else (), engines)
    harness = Harness(
        runner=Runner([each.backend for each in usable], images, divergences),
        instances=tuple(each.instance for each in usable),
        seed=seed,
        cases=cases,
        folder=folder,
        skipped=skipped,
    )
    if listener is not None:
        harness.listener = listener
    return harness, usable
