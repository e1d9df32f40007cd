"""Accesses to memory: which outcomes are permitted, and what each leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from conformance.oracle import rules
from conformance.oracle.address_space import (
    ACCESSED,
    DIRTY,
    PRESENT,
    entry_address,
)
from conformance.oracle.control import is_bad_pdpte
from conformance.oracle.expectation import Rule
from conformance.oracle.setting import PAGE
from conformance.oracle.translation import Access, Translation, Upper, Walk, error_code, right, walk
from conformance.oracle.worlds import Performance, World
from conformance.protocol import PROTOCOL

__all__ = ["Fault", "Part", "Reached", "reach"]

Flag = tuple[int, int]
"""Address of an entry, and a flag in it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An exception that an access, or another instruction, raises.

    Attributes:
        vector: the protocol's name of the exception.
        rule: what decides it.
        error_code: 0 where there is none.
        cr2: of a page fault, or a double fault that one led to; otherwise what it was.
    """

    vector: str
    rule: Rule
    error_code: int = 0
    cr2: int = PROTOCOL.constants["untouched_cr2"]


@dataclass(frozen=True, slots=True)
class Reached:
    """Memory that an access may use.

    Attributes:
        physical: the address of each byte.
        rule: what decides it.
    """

    physical: tuple[int, ...]
    rule: Rule


@dataclass(slots=True)
class _Outcome:
    """What can be seen of an access, and all that may lead to it.

    Attributes:
        physical: where the access goes, or None for a page fault.
        error_code: of the page fault.
        rule: what decides it.
        from_memory: memory itself says so; otherwise a cached translation does.
        certain: the flags that the processor sets, however it came about.
        possible: the flags that it sets in one of the ways.
        kept: translations, and what led to each of them, that the processor may keep.
        ghost: what had invalidated the translation.
    """

    physical: int | None
    error_code: int
    rule: Rule
    from_memory: bool
    certain: frozenset[Flag]
    possible: frozenset[Flag]
    kept: list[tuple[Translation, tuple[Upper, ...]]] = field(default_factory=list)
    ghost: Rule | None = None

    def shows(self) -> tuple[int | None, int]:
        """What tells two outcomes apart."""
        return self.physical, self.error_code


def reach(performance: Performance, access: Access, linear: int, size: int) -> Reached | Fault:
    """Access bytes that may lie in two pages. If the second page faults, nothing is written."""
    in_first = min(size, PAGE - linear % PAGE)
    first = Part(performance, access, linear, in_first)
    fault = first.fault()
    if fault is not None:
        return fault
    if in_first == size:
        return first.done()
    second = Part(performance, access, linear + in_first, size - in_first)
    fault = second.fault()
    if fault is not None:
        first.given_up()
        return fault
    low, high = first.done(), second.done()
    rule = high.rule if low.rule is rules.PERMITTED else low.rule
    return Reached(low.physical + high.physical, rule)


class Part:
    """The part of an access that lies in one page, with its outcome decided.

    The processor's caches, and accessed and dirty flags, are brought up to date by one of `fault`,
    `done` and `given_up`.

    Args:
        performance: which decides between outcomes.
        access: who accesses, and how.
        linear: the first byte's address.
        size: how many bytes.
    """

    def __init__(self, performance: Performance, access: Access, linear: int, size: int) -> None:
        self._performance = performance
        self._world = performance.world
        self._linear = linear
        self._size = size
        self._outcome = _decide(performance, access, linear)

    @property
    def rule(self) -> Rule:
        """What decides the outcome."""
        return self._outcome.rule

    @property
    def physical(self) -> int:
        """Where the bytes are; there is no fault."""
        assert self._outcome.physical is not None
        return self._outcome.physical

    def fault(self) -> Fault | None:
        """The page fault, if the access is one."""
        outcome, world = self._outcome, self._world
        if outcome.physical is not None:
            return None
        rule = rules.FLAGS_ON_FAULT if outcome.from_memory else rules.FLAGS_OF_STALE
        self._leave_open(outcome.possible, rule)
        world.caches.page_fault(self._linear)
        return Fault("page_fault", outcome.rule, outcome.error_code, self._linear)

    def done(self) -> Reached:
        """The access is made."""
        outcome, start = self._outcome, self.physical
        for address, flag in outcome.certain:
            self._world.structures.set(address, flag)
        self._leave_open(outcome.possible, rules.FLAGS_OF_STALE)
        self._keep()
        return Reached(tuple(range(start, start + self._size)), outcome.rule)

    def given_up(self) -> None:
        """The access would have been made, but for its other part."""
        flags = self._outcome.certain | self._outcome.possible
        self._leave_open(flags, rules.FLAGS_OF_FIRST_PAGE)
        self._keep()

    def _leave_open(self, flags: frozenset[Flag], rule: Rule) -> None:
        for address, flag in flags:
            self._world.structures.leave_open(address, flag, rule)

    def _keep(self) -> None:
        caches = self._world.caches
        for translation, uppers in self._outcome.kept:
            caches.keep(translation)
            for upper in uppers:
                caches.keep_upper(upper)


def _decide(performance: Performance, access: Access, linear: int) -> _Outcome:
    outcomes: list[_Outcome] = []
    for found in _permitted(performance.world, access, linear):
        _add(outcomes, found)
    if performance.with_ghosts:
        for translation, by in reversed(performance.world.caches.ghosts):
            ghost = _of_cached(performance.world, access, translation, linear)
            if ghost is not None and all(ghost.shows() != each.shows() for each in outcomes):
                ghost.ghost = by
                outcomes.append(ghost)
    outcome = performance.decide(rules.STALE, outcomes)
    performance.ghost = performance.ghost or outcome.ghost
    return outcome


def _add(outcomes: list[_Outcome], found: _Outcome) -> None:
    """Outcomes that look alike are one: the flags on which they differ are open."""
    for outcome in outcomes:
        if outcome.shows() == found.shows():
            every = outcome.certain | found.certain | outcome.possible | found.possible
            outcome.certain &= found.certain
            outcome.possible = every - outcome.certain
            outcome.kept += found.kept
            return
    outcomes.append(found)


def _permitted(world: World, access: Access, linear: int) -> Iterator[_Outcome]:
    """What memory says first."""
    setting = world.setting
    fresh = walk(setting, world.structures, world.control, linear)
    yield _of_walk(world, access, linear, fresh, True)
    if not setting.in_probe_area(linear):
        # Nobody changes those translations.
        return
    for translation in world.caches.translations(linear):
        cached = _of_cached(world, access, translation, linear)
        if cached is not None:
            yield cached
    for upper in world.caches.uppers(linear):
        mixed = walk(setting, world.structures, world.control, linear, upper)
        yield _of_walk(world, access, linear, mixed, False)


def _of_walk(
    world: World, access: Access, linear: int, walked: Walk, from_memory: bool
) -> _Outcome:
    page = walked.translation
    allowed, rule = False, walked.obstacle
    if page is not None:
        allowed, rule = right(access, world.control, page)
    assert rule is not None
    if not from_memory:
        rule = rules.STALE
    elif _pdpte_register_decides(world, linear):
        rule = rules.PDPTE_REGISTERS
    # Elsewhere nobody looks at the flags.
    flagged = walked.used if world.setting.in_probe_area(linear) else ()
    accessed = frozenset((address, ACCESSED) for address in flagged)
    if page is None or not allowed:
        code = error_code(world.setting, world.control, access, walked.obstacle)
        return _Outcome(None, code, rule, from_memory, frozenset(), accessed)
    physical = page.physical + linear - page.start
    if not flagged:
        return _Outcome(physical, 0, rule, from_memory, accessed, frozenset())
    leaf = walked.used[-1]
    writes = access.kind == "write"
    # A dirty flag that is open may be set: then the processor may keep it as set.
    dirty = (
        writes or page.dirty or any(flag == DIRTY for flag, _ in world.structures.open_flags(leaf))
    )
    certain = accessed | {(leaf, DIRTY)} if writes else accessed
    kept = Translation(
        page.start,
        page.size,
        page.physical,
        page.user,
        page.writable,
        page.execute_disable,
        dirty,
    )
    return _Outcome(
        physical,
        0,
        rule,
        from_memory,
        certain,
        frozenset(),
        [(kept, walked.uppers)],
    )


def _of_cached(world: World, access: Access, page: Translation, linear: int) -> _Outcome | None:
    """What a TLB entry says; None where it does not apply."""
    if not page.start <= linear < page.start + page.size:
        return None
    allowed, _ = right(access, world.control, page)
    if not allowed:
        code = error_code(world.setting, world.control, access, None)
        return _Outcome(None, code, rules.STALE, False, frozenset(), frozenset())
    if access.kind == "write" and not page.dirty:
        # The dirty flag has to be set in memory first, so that memory is looked at (4.8).
        return None
    physical = page.physical + linear - page.start
    return _Outcome(physical, 0, rules.STALE, False, frozenset(), frozenset())


def _pdpte_register_decides(world: World, linear: int) -> bool:
    """Would the PDPTE in memory lead elsewhere than the register?"""
    if not world.setting.pae:
        return False
    register = world.control.pdptes[linear >> 30]
    in_memory = world.structures.read(entry_address(world.setting, "pointer_table", linear))
    return bool((register ^ in_memory) & PRESENT) or is_bad_pdpte(in_memory)
