"""The rules of paging a second time, as tables: nothing is walked, and nothing is a mask.

An access is judged from the list of the entries that its translation would use. Bits are named by
number or by range, as the manual writes them; facts are names of control bits that are 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from backends.unicorn_model.cpu_profile import CpuProfile

__all__ = [
    "FACTS",
    "FOUR_LEVELS",
    "MODES",
    "Circumstances",
    "Outcome",
    "outcome",
    "reserved_bits",
]

# Name, register, bit.
FACTS = {
    "WP": ("cr0", 16),
    "PG": ("cr0", 31),
    "PSE": ("cr4", 4),
    "PAE": ("cr4", 5),
    "SMEP": ("cr4", 20),
    "SMAP": ("cr4", 21),
    "LME": ("efer", 8),
    "NXE": ("efer", 11),
}
P, RW, US, A, D, PS, XD = 0, 1, 2, 5, 6, 7, 63

# An access is permitted if all the words of one row are true.
# who        page        does   provided that
PERMITTED = [
    row.split()
    for row in """
    user         user        read
    user         user        write  RW
    user         user        fetch  !XD
    supervisor   supervisor  read
    supervisor   supervisor  write  !WP
    supervisor   supervisor  write  RW
    supervisor   supervisor  fetch  !XD
    supervisor   user        read   !SMAP
    supervisor   user        read   AC
    supervisor   user        write  !SMAP  !WP
    supervisor   user        write  !SMAP  RW
    supervisor   user        write  AC     !WP
    supervisor   user        write  AC     RW
    supervisor   user        fetch  !SMEP  !XD
    implicit     supervisor  read
    implicit     supervisor  write  !WP
    implicit     supervisor  write  RW
    implicit     supervisor  fetch  !XD
    implicit     user        read   !SMAP
    implicit     user        write  !SMAP  !WP
    implicit     user        write  !SMAP  RW
    implicit     user        fetch  !SMEP  !XD
    """.strip().splitlines()
]

# Kind of entry, the bits that are reserved in it (M is MAXPHYADDR), and when.
RESERVED = [
    row.split()
    for row in """
    pde-4m   21:13   PSE  !pse36
    pde-4m   21:L    PSE  pse36
    pde-4m   12:12   PSE  !pat
    pte      7:7     PSE  !pat
    pae-pde-2m   20:13
    pae-pde-2m   62:M
    pae-pde-2m   63:63  !NXE
    pae-pde-2m   12:12  !pat
    pae-pde      62:M
    pae-pde      63:63  !NXE
    pae-pte      62:M
    pae-pte      63:63  !NXE
    pae-pte      7:7    !pat
    pdpte        2:1
    pdpte        8:5
    pdpte        63:M
    pml4e        7:7
    pml4e        51:M
    pml4e        63:63  !NXE
    pdpte-1g     7:7    !1gib_pages
    pdpte-1g     29:13
    pdpte-1g     12:12  !pat
    pdpte-1g     51:M
    pdpte-1g     63:63  !NXE
    pdpte-pd     51:M
    pdpte-pd     63:63  !NXE
    4-pde-2m     20:13
    4-pde-2m     12:12  !pat
    4-pde-2m     51:M
    4-pde-2m     63:63  !NXE
    4-pde        51:M
    4-pde        63:63  !NXE
    4-pte        7:7    !pat
    4-pte        51:M
    4-pte        63:63  !NXE
    """.strip().splitlines()
]

# Where the bits of a physical address come from: the last entry or the linear address.
PHYSICAL = {
    "pde-4m": [
        ("39:32", "entry", "20:13"),
        ("31:22", "entry", "31:22"),
        ("21:0", "linear", "21:0"),
    ],
    "pte": [("31:12", "entry", "31:12"), ("11:0", "linear", "11:0")],
    "pae-pde-2m": [("51:21", "entry", "51:21"), ("20:0", "linear", "20:0")],
    "pae-pte": [("51:12", "entry", "51:12"), ("11:0", "linear", "11:0")],
    "pdpte-1g": [("51:30", "entry", "51:30"), ("29:0", "linear", "29:0")],
    "4-pde-2m": [("51:21", "entry", "51:21"), ("20:0", "linear", "20:0")],
    "4-pte": [("51:12", "entry", "51:12"), ("11:0", "linear", "11:0")],
}
PAGE_SIZES = {
    "pde-4m": 0x400000,
    "pae-pde-2m": 0x200000,
    "pte": 0x1000,
    "pae-pte": 0x1000,
    "pdpte-1g": 0x40000000,
    "4-pde-2m": 0x200000,
    "4-pte": 0x1000,
}

# Facts that choose the mode, and the bytes of an entry.
MODES = {
    "legacy": ({"PG"}, 4),
    "legacy-pse": ({"PG", "PSE"}, 4),
    "pae": ({"PG", "PAE"}, 8),
    "pae-nxe": ({"PG", "PAE", "NXE"}, 8),
}
FOUR_LEVELS = {
    "4-level": {"PG", "PAE", "LME"},
    "4-level-nxe": {"PG", "PAE", "LME", "NXE"},
}


@dataclass(frozen=True)
class Circumstances:
    """Everything about an access but the entries."""

    facts: frozenset[str]
    who: str
    does: str
    profile: CpuProfile = CpuProfile()


@dataclass(frozen=True)
class Outcome:
    """What has to come of an access.

    Attributes:
        error_code: of the page fault, or None.
        physical, page_size, tlb: of the translation; `tlb` names the rights that may be kept.
        used: how many of the entries take part.
        entries: their values afterwards.
    """

    error_code: int | None
    physical: int | None
    page_size: int | None
    tlb: frozenset[str]
    used: int
    entries: tuple[int, ...]


def bit(value: int, number: int) -> bool:
    return value // 2**number % 2 == 1


@cache
def numbers(text: str, profile: CpuProfile) -> set[int]:
    symbols = {"M": profile.maxphyaddr, "L": min(profile.maxphyaddr, 40) - 19}
    high, low = (symbols[end] if end in symbols else int(end) for end in text.split(":"))
    return {number for number in range(64) if low <= number <= high}


def holds(words: list[str], facts: frozenset[str]) -> bool:
    return all((word[1:] not in facts) if word[0] == "!" else (word in facts) for word in words)


@cache
def reserved_bits(kind: str, facts: frozenset[str], profile: CpuProfile) -> set[int]:
    known = facts | {
        name for name in ("pse36", "pat", "1gib_pages") if getattr(profile, f"has_{name}")
    }
    found: set[int] = set()
    for row_kind, text, *words in RESERVED:
        if row_kind == kind and holds(words, known):
            found |= numbers(text, profile)
    return found


def kind_of(level: int, entry: int, facts: frozenset[str]) -> str:
    """The levels are counted from the page directory, which all modes have."""
    if "LME" in facts:
        large = bit(entry, PS)
        names = {
            -2: "pml4e",
            -1: "pdpte-1g" if large else "pdpte-pd",
            0: "4-pde-2m" if large else "4-pde",
            1: "4-pte",
        }
        return names[level]
    if level == 1:
        return "pae-pte" if "PAE" in facts else "pte"
    if "PAE" in facts:
        return "pae-pde-2m" if bit(entry, PS) else "pae-pde"
    return "pde-4m" if bit(entry, PS) and "PSE" in facts else "pde"


def permitted(circumstances: Circumstances, does: str, entries: list[int]) -> bool:
    page = "user" if all(bit(entry, US) for entry in entries) else "supervisor"
    facts = circumstances.facts
    if all(bit(entry, RW) for entry in entries):
        facts |= {"RW"}
    if any(bit(entry, XD) for entry in entries):
        facts |= {"XD"}
    return a_row_permits(circumstances.who, page, does, facts)


@cache
def a_row_permits(who: str, page: str, does: str, facts: frozenset[str]) -> bool:
    subject = [who, page, does]
    return any(row[:3] == subject and holds(row[3:], facts) for row in PERMITTED)


def error_code(circumstances: Circumstances, *, present: bool, reserved: bool) -> int:
    facts = circumstances.facts
    told_apart = "SMEP" in facts or {"PAE", "NXE"} <= facts
    flags = [
        present,
        circumstances.does == "write",
        circumstances.who == "user",
        reserved,
        circumstances.does == "fetch" and told_apart,
    ]
    return sum(2**position for position, flag in enumerate(flags) if flag)


def outcome(circumstances: Circumstances, hierarchy: Sequence[int], linear: int) -> Outcome:
    """Judge an access by the entries of all levels, as they would reference each other."""
    facts, profile = circumstances.facts, circumstances.profile
    kinds: list[str] = []
    entries: list[int] = []
    for level, entry in enumerate(hierarchy, start=2 - len(hierarchy)):
        entries.append(entry)
        kinds.append(kind_of(level, entry, facts))
        if kinds[-1] in PAGE_SIZES:
            break

    def fault(used: int, *, present: bool, reserved: bool) -> Outcome:
        code = error_code(circumstances, present=present, reserved=reserved)
        return Outcome(code, None, None, frozenset(), used, tuple(entries))

    for used, (kind, entry) in enumerate(zip(kinds, entries, strict=True)):
        if not bit(entry, P):
            return fault(used, present=False, reserved=False)
        if any(bit(entry, number) for number in reserved_bits(kind, facts, profile)):
            return fault(used, present=True, reserved=True)
    if not permitted(circumstances, circumstances.does, entries):
        return fault(len(entries), present=True, reserved=False)

    sources = {"entry": entries[-1], "linear": linear}
    physical = 0
    for to, source, origin in PHYSICAL[kinds[-1]]:
        pairs = zip(sorted(numbers(to, profile)), sorted(numbers(origin, profile)), strict=True)
        physical += sum(2**target for target, number in pairs if bit(sources[source], number))
    after = [entry if bit(entry, A) else entry + 2**A for entry in entries]
    if circumstances.does == "write" and not bit(after[-1], D):
        after[-1] += 2**D
    tlb = {does for does in ("read", "write", "fetch") if permitted(circumstances, does, entries)}
    if not bit(after[-1], D):
        tlb.discard("write")
    return Outcome(
        None, physical, PAGE_SIZES[kinds[-1]], frozenset(tlb), len(entries), tuple(after)
    )
