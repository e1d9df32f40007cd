"""Which translations a processor may use that are not, or no longer, in memory (SDM vol. 3, 4.10).

A translation that an access used may be kept until it is invalidated; and it may be dropped at any
time. The same goes for what the entries above it lead to, at each level (4.10.3). So it is
permitted to use what memory says, any kept translation, or a kept upper part with the lower entries
in memory. The processor may do each time as it likes: it can have several caches.

The manual also permits translations in advance of any access. No engine here makes those, and an
engine that did would set accessed flags too; what nobody used is not in these sets.
"""

from __future__ import annotations

from typing import Final

from conformance.oracle import rules
from conformance.oracle.expectation import Rule
from conformance.oracle.setting import PAGE
from conformance.oracle.translation import Translation, Upper

__all__ = ["TranslationCaches"]

_GHOSTS: Final = 16


class TranslationCaches:
    """TLB entries, and entries of the paging-structure caches, that may be there.

    Attributes:
        ghosts: translations that have been invalidated, the latest last, and by what. No processor
            may use them: they explain what one that does so shows.
    """

    __slots__ = ("_translations", "_uppers", "ghosts")

    def __init__(self) -> None:
        self._translations: tuple[Translation, ...] = ()
        self._uppers: tuple[Upper, ...] = ()
        self.ghosts: tuple[tuple[Translation, Rule], ...] = ()

    def keep(self, translation: Translation) -> None:
        """An access used a translation."""
        if translation not in self._translations:
            self._translations = (*self._translations, translation)

    def keep_upper(self, upper: Upper) -> None:
        """An access used entries that reference other structures.

        Their accessed flags are set: otherwise it would not be kept (4.10.3.1).
        """
        if upper not in self._uppers:
            self._uppers = (*self._uppers, upper)

    def translations(self, linear: int) -> list[Translation]:
        """Those of an address, the oldest first."""
        return [each for each in self._translations if _covers(each, linear)]

    def uppers(self, linear: int) -> list[Upper]:
        """What may be used for an address in place of its upper entries, the oldest first."""
        return [each for each in self._uppers if each.covers(linear)]

    def invalidate_page(self, linear: int) -> None:
        """INVLPG: an address, and all of the paging-structure caches (4.10.4.1)."""
        self._drop(linear, rules.INVLPG)
        self._uppers = ()

    def page_fault(self, linear: int) -> None:
        """A page fault does the same, for what would be used for its address (4.10.4.1).

        Of a large page there may be several entries, one for each smaller part (4.10.2.3), and
        only for INVLPG does the manual say that all of them go.
        """
        self._drop(linear, rules.PAGE_FAULT_INVALIDATES, largest=PAGE)
        self._uppers = tuple(each for each in self._uppers if not each.covers(linear))

    def flush(self) -> None:
        """MOV to CR3, and to CR4 where it sets SMEP (4.10.4.1). No page is global: CR4.PGE is 0."""
        self._bury(self._translations, rules.RELOAD_INVALIDATES)
        self._translations, self._uppers = (), ()

    def copy(self) -> TranslationCaches:
        """The same, to be changed by itself."""
        twin = TranslationCaches()
        twin._translations = self._translations
        twin._uppers = self._uppers
        twin.ghosts = self.ghosts
        return twin

    def key(self) -> tuple[object, ...]:
        """Equal exactly where what may be used is."""
        return frozenset(self._translations), frozenset(self._uppers)

    def _drop(self, linear: int, by: Rule, largest: int | None = None) -> None:
        covering = self.translations(linear)
        dropped = tuple(each for each in covering if largest is None or each.size <= largest)
        if dropped:
            self._bury(dropped, by)
            self._translations = tuple(each for each in self._translations if each not in dropped)

    def _bury(self, translations: tuple[Translation, ...], by: Rule) -> None:
        self.ghosts = (*self.ghosts, *((each, by) for each in translations))[-_GHOSTS:]


def _covers(translation: Translation, linear: int) -> bool:
    return translation.start <= linear < translation.start + translation.size
