"""The list of known divergences: a TOML file, and the cases in the folder `known` beside it."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import tomli_w
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from conformance.case.wire import convert, excerpt, invalid, parse_toml, read_text
from conformance.judge.known import KnownDivergence

__all__ = ["CASES", "entry_text", "is_case_name", "load_known"]

CASES = "known"
"""The folder of the cases."""

_FILE = re.compile(r"[a-z0-9][a-z0-9-]{0,79}\.json")
_TEXT_LIMIT = 500


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    signature: str
    kind: str
    versions: str
    section: str
    sentence: str
    case: str
    link: str = ""


class _List(msgspec.Struct, forbid_unknown_fields=True):
    divergence: list[_Entry] = []


def load_known(path: Path) -> tuple[KnownDivergence, ...]:
    """The entries of a list.

    Raises:
        InvalidInput: the file, or a case that it names, is missing, or an entry is malformed.
    """
    wire = convert(parse_toml(read_text(path), str(path)), _List, str(path))
    entries = [
        _checked(path, f"divergence[{index}]", entry) for index, entry in enumerate(wire.divergence)
    ]
    seen: dict[tuple[str, str], str] = {}
    for index, each in enumerate(entries):
        where = f"divergence[{index}]"
        for what, value in (
            ("case", each.case.name),
            ("signature and versions", f"{each.signature} {each.versions}"),
        ):
            first = seen.setdefault((what, value), where)
            if first != where:
                invalid(str(path), where, f"has the {what} of {first}: {excerpt(value)}")
    return tuple(entries)


def is_case_name(name: str) -> bool:
    """The name may be that of a case's file: it leads nowhere else."""
    return _FILE.fullmatch(name) is not None


def _checked(path: Path, where: str, entry: _Entry) -> KnownDivergence:
    source = str(path)
    for name in ("signature", "kind", "section", "sentence", "link"):
        text = getattr(entry, name)
        if (not text.strip() and name != "link") or not text.isprintable():
            invalid(source, f"{where}.{name}", f"expected one line of text, got {excerpt(text)}")
        if len(text) > _TEXT_LIMIT:
            invalid(source, f"{where}.{name}", f"is longer than {_TEXT_LIMIT} characters")
    start = f"{entry.kind}: "
    if not entry.signature.startswith(start) or entry.signature == start:
        invalid(
            source,
            f"{where}.signature",
            f"expected one that begins with {excerpt(start)}, got {excerpt(entry.signature)}",
        )
    if "; " in entry.signature:
        invalid(source, f"{where}.signature", "names several causes: give each its own entry")
    try:
        wanted = SpecifierSet(entry.versions)
    except InvalidSpecifier:
        wanted = SpecifierSet()
    if not wanted:
        invalid(
            source,
            f"{where}.versions",
            f'expected versions like ">=7.0,<9", got {excerpt(entry.versions)}',
        )
    if not is_case_name(entry.case):
        invalid(
            source,
            f"{where}.case",
            f"expected a file name of a-z, 0-9 and -, with .json, got {excerpt(entry.case)}",
        )
    case = path.parent / CASES / entry.case
    if not case.is_file():
        invalid(source, f"{where}.case", f"there is no {case}")
    fields = msgspec.structs.asdict(entry)
    return KnownDivergence(**fields | {"case": case})


def entry_text(divergence: KnownDivergence) -> str:
    """An entry as it is written into a list."""
    entry = {
        "signature": divergence.signature,
        "kind": divergence.kind,
        "versions": divergence.versions,
        "section": divergence.section,
        "sentence": divergence.sentence,
        "link": divergence.link,
        "case": divergence.case.name,
    }
    written = {name: value for name, value in entry.items() if value or name != "link"}
    return "\n" + tomli_w.dumps({"divergence": [written]})
