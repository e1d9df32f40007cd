"""Findings: one for each cause, on disk as soon as there is one."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

from backends.backend import InstanceConfig
from conformance.case.case import Case
from conformance.case.codec import dump_case, load_case
from conformance.case.image import Image
from conformance.case.wire import excerpt, invalid, one_line, parse_json, read_text
from conformance.engine.files import write_atomically
from conformance.engine.runner import Result
from conformance.errors import InvalidInput
from conformance.judge.verdict import Departure
from conformance.report.difference import as_json, show

__all__ = ["Finding", "Record", "load_record"]

_FORMAT = "conformance-divergence"
_VERSION = 1


@dataclass(slots=True)
class Finding:
    """One cause, and the smallest case known that shows it.

    Attributes:
        signature: the cause.
        suite: where it was seen first.
        result: the smallest case, with everything about it.
        instances: how many of the run's cases had it.
        generated: Hypothesis has seen the cause, and has shrunk it or is going to.
        shrunk: `result` is as small as the harness could make it.
        flaky: it did not come back in fresh processes.
        path: where it is on disk; None if nothing is written.
    """

    signature: str
    suite: str
    result: Result
    instances: int = 1
    generated: bool = False
    shrunk: bool = False
    flaky: bool = False
    path: Path | None = None
    text: str = field(default="", init=False)

    def file_name(self) -> str:
        """A name made of the signature, the same in every run."""
        words = re.sub(r"[^a-z0-9]+", "-", self.signature.lower()).strip("-")[:60].strip("-")
        digest = hashlib.sha256(self.signature.encode()).hexdigest()[:8]
        return f"{words}-{digest}.json"

    def save(
        self, folder: Path, *, image: Image, instances: tuple[InstanceConfig, ...], seed: int
    ) -> None:
        """Write, or write again, everything that a replay needs.

        Raises:
            InvalidArgument: it cannot be written.
        """
        self.path = folder / self.file_name()
        write_atomically(self.path, self._dump(image, instances, seed))

    def _departures(self) -> list[Departure]:
        """Those that the signature names: where others depart too, they have their own finding."""
        departures = self.result.verdict.departures
        named = [each for each in departures if str(each) == self.signature]
        return named or list(departures)

    def _dump(self, image: Image, instances: tuple[InstanceConfig, ...], seed: int) -> str:
        verdict = self.result.verdict
        observations = self.result.observations
        symbols = self.result.symbols
        form = {
            "format": _FORMAT,
            "version": _VERSION,
            "signature": self.signature,
            "status": "flaky" if self.flaky else str(verdict.status),
            "culprit": verdict.culprit,
            "reason": verdict.reason,
            "permitted": list(verdict.choices),
            "causes": [asdict(each) for each in self._departures()],
            "suite": self.suite,
            "seed": seed,
            "shrunk": self.shrunk,
            "case": json.loads(dump_case(self.result.case)),
            "first_difference": as_json(verdict, observations, symbols),
            "explanation": show(verdict, observations, symbols).splitlines(),
            "observations": [
                {
                    "backend": observation.backend,
                    "outcome": str(observation.outcome),
                    "detail": observation.detail,
                    "command": list(observation.command),
                    "trace": base64.b64encode(observation.trace).decode(),
                    "console": base64.b64encode(observation.console).decode(),
                    "faults": None
                    if observation.faults is None
                    else [asdict(fault) for fault in observation.faults],
                    "control": None if observation.control is None else asdict(observation.control),
                }
                for observation in observations
            ],
            "backends": [asdict(instance) for instance in instances],
            "image": image.pack(),
        }
        return json.dumps(form, indent=2, ensure_ascii=True) + "\n"


@dataclass(frozen=True, slots=True)
class Record:
    """What a file says that can be replayed: a divergence, or a plain case.

    Attributes:
        case: what to run.
        image: the image that is in the file; None in a plain case.
        signature: the cause it was saved for; empty in a plain case.
        backends: names of the backends it was seen on.
        culprit: who was to blame; empty in a plain case.
        causes: what each backend did wrong, if it was a backend: kind of the backend and the
            signature's words after the culprit.
    """

    case: Case
    image: Image | None = None
    signature: str = ""
    backends: tuple[str, ...] = ()
    culprit: str = ""
    causes: tuple[tuple[str, str], ...] = ()


def load_record(path: Path) -> Record:
    """Read a divergence or a case.

    Raises:
        InvalidInput: the file is missing, truncated or malformed.
    """
    text = read_text(path)
    form = parse_json(text, str(path))
    if form.get("format") != _FORMAT:
        return Record(load_case(text, source=str(path)))
    if form.get("version") != _VERSION:
        invalid(str(path), "version", f"expected {_VERSION}, got {excerpt(form.get('version'))}")
    try:
        packed, inner = form["image"], json.dumps(form["case"])
        kinds = {str(each["name"]): str(each["kind"]) for each in form["backends"]}
        causes = tuple(
            (kinds[str(name)], one_line(str(each["cause"])))
            for each in form.get("causes", [])
            for name in each["backends"]
        )
        signature = one_line(str(form["signature"]))
    except (KeyError, TypeError) as error:
        raise InvalidInput(f"{path}: not a whole divergence file: {error!r}") from error
    try:
        image = Image.unpack(packed)
    except InvalidInput as error:
        invalid(str(path), "image", str(error))
    case = load_case(inner, source=f"{path}: case")
    if case.image != image.id:
        invalid(str(path), "", "the case is for another image than the one in the file")
    causes = tuple(dict.fromkeys(causes))
    culprit = one_line(str(form.get("culprit", "")))
    return Record(case, image, signature, tuple(kinds), culprit, causes)
