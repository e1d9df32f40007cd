"""Known divergences: what is understood, and on the list, does not fail a run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from conformance.case.case import Case
from conformance.judge.blame import judge
from conformance.judge.clusters import Prediction
from conformance.judge.verdict import Departure, Status, Verdict
from conformance.observe.observation import Observation, Outcome

__all__ = ["Engine", "KnownDivergence", "KnownDivergences", "Recognised", "judge_with_known"]

_VERSION = re.compile(r"\d+(?:\.\d+)*")


@dataclass(frozen=True, slots=True)
class Engine:
    """What a backend instance is.

    Attributes:
        kind: as in the configuration.
        version: the engine's; empty where it is not known.
    """

    kind: str
    version: str


@dataclass(frozen=True, slots=True)
class KnownDivergence:
    """One entry of the list.

    Attributes:
        signature: with the backend's kind as the culprit.
        kind: of the backend.
        versions: of the engine, like `>=7.0,<9`.
        section: the manual's, that says what is right.
        sentence: what the engine does instead.
        link: where it is reported; empty if nowhere.
        case: the file of the smallest case that shows it.
    """

    signature: str
    kind: str
    versions: str
    section: str
    sentence: str
    link: str
    case: Path

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return self.case.stem

    def applies_to(self, engine: Engine) -> bool:
        """The engine is of the kind, and one of the versions; never of an unknown version."""
        number = _VERSION.match(engine.version)
        if engine.kind != self.kind or number is None:
            return False
        try:
            version = Version(number[0])
        except InvalidVersion:
            return False
        return SpecifierSet(self.versions).contains(version, prereleases=True)


@dataclass(frozen=True, slots=True)
class Recognised:
    """A known divergence, and the backend that showed it."""

    backend: str
    divergence: KnownDivergence


class KnownDivergences:
    """The list, for the backends of one run.

    Args:
        entries: of the list; none for what is to be treated as new.
        engines: the backends, by name.
    """

    def __init__(
        self,
        entries: Iterable[KnownDivergence] = (),
        engines: Mapping[str, Engine] | None = None,
    ) -> None:
        self._engines = dict(engines or {})
        self._by_backend = {
            name: {each.signature: each for each in entries if each.applies_to(engine)}
            for entries in [tuple(entries)]
            for name, engine in self._engines.items()
        }

    def applicable(self, divergence: KnownDivergence) -> tuple[str, ...]:
        """The backends of the run that should show it."""
        return tuple(
            name
            for name, known in self._by_backend.items()
            if known.get(divergence.signature) == divergence
        )

    def recognise(self, departure: Departure) -> tuple[Recognised, ...]:
        """What is known of a departure: all of it, for each of its backends, or nothing."""
        found = []
        for name in departure.backends:
            if name not in self._engines:
                return ()
            signature = f"{self._engines[name].kind}: {departure.cause}"
            divergence = self._by_backend[name].get(signature)
            if divergence is None:
                return ()
            found.append(Recognised(name, divergence))
        return tuple(found)


def judge_with_known(
    case: Case,
    predict: Prediction | None,
    observations: Sequence[Observation],
    known: KnownDivergences,
) -> tuple[Verdict, tuple[Recognised, ...]]:
    """The verdict, and the known divergences that were seen.

    A backend whose departure is known bears no witness any more: the others are judged without
    it. So what is known of one engine hides nothing of the kernel or of another engine.
    """
    whole = verdict = judge(case, predict, observations)
    rest = list(observations)
    found: list[Recognised] = []
    while fresh := [
        each for departure in verdict.departures for each in known.recognise(departure)
    ]:
        found += fresh
        names = {each.backend for each in fresh}
        rest = [each for each in rest if each.backend not in names]
        if all(each.outcome is Outcome.REFUSED for each in rest):
            return _known(whole, found), tuple(found)
        verdict = judge(case, predict, rest)
    if not found:
        return whole, ()
    if verdict.status is Status.AGREE:
        return _known(whole, found), tuple(found)
    left_out = ", ".join(sorted(each.backend for each in found))
    reason = f"{verdict.reason} (left out for a known divergence: {left_out})"
    return replace(verdict, reason=reason), tuple(found)


def _known(whole: Verdict, found: Sequence[Recognised]) -> Verdict:
    sentences = "; ".join(f"{each.backend}: {each.divergence.sentence}" for each in found)
    return replace(whole, status=Status.KNOWN, reason=f"known of {sentences}")
