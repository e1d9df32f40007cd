"""A case from a file, on the kernel that it is to run on: what the commands that run it share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from conformance.case.case import Case
from conformance.case.image import Image
from conformance.commands.run import exit_status
from conformance.config import load_config
from conformance.engine.finding import Record, load_record
from conformance.engine.runner import Result
from conformance.engine.setup import build_harness, choose_images
from conformance.errors import ImageError

__all__ = ["Rerun", "SavedCase", "load_saved_case"]


@dataclass(frozen=True, slots=True)
class Rerun:
    """What a case did when it was run again.

    Attributes:
        result: what happened, and what that means.
        backends: the names of those that took part.
        status: the command's exit status.
    """

    result: Result
    backends: tuple[str, ...]
    status: int


@dataclass(frozen=True, slots=True)
class SavedCase:
    """A case from a file.

    Attributes:
        record: what the file says.
        kernel: the image to run it on.
    """

    record: Record
    kernel: Image

    @property
    def case(self) -> Case:
        """The record's, for that kernel."""
        return replace(self.record.case, image=self.kernel.id)

    def run(self, backends: tuple[str, ...], config: Path | None, *, known: bool) -> Rerun:
        """Run it once, in new processes.

        Args:
            backends: names; those of the file, as far as they are configured, if there are none.
            config: the file to read the configuration from, if not the nearest one.
            known: what is a known divergence does not fail.
        """
        loaded = load_config(config)
        configured = {instance.name for instance in loaded.instances}
        names = backends or tuple(name for name in self.record.backends if name in configured)
        harness, usable = build_harness(
            loaded, names=names, images=[self.kernel], seed=0, cases=1, known=known
        )
        with harness.runner:
            result = harness.runner.run(self.case)
        harness.verdicts[result.verdict.status] += 1
        return Rerun(result, tuple(each.instance.name for each in usable), exit_status(harness))


def load_saved_case(file: Path, image: Path | None, *, current: bool) -> SavedCase:
    """The case in a file.

    Args:
        file: a case, or a divergence.
        image: the folder with the kernel to run it on, instead of the file's own.
        current: prefer the installed kernel to the file's own.

    Raises:
        InvalidInput: the file cannot be read or holds no case.
        ImageError: there is no image for it.
    """
    record = load_record(file)
    return SavedCase(record, _kernel_of(record, image, current=current))


def _kernel_of(record: Record, folder: Path | None, *, current: bool) -> Image:
    if folder is None and record.image is not None and not current:
        return record.image
    architecture = record.case.image.architecture
    for image in choose_images(folder):
        if image.architecture == architecture:
            return image
    raise ImageError(f"{folder}: no image for {architecture}, which the case is for")
