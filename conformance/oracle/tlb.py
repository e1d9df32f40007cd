"""Which translations a processor may use that are not, or no longer, in memory (SDM vol. 3, 4.10).

A translation that an access used may be kept until it is invalidated; and it may be dropped at any
time. So it is permitted to use what memory says, any kept translation, or a kept PDE with the PTE
in memory. The processor may do each time as it likes: it can have several caches.

The manual also permits translations in advance of any access. No engine here makes those, and an
engine that did would set accessed flags too; what nobody used is not in these sets.
"""

from __future__ import annotations

from typing import Final

from conformance.oracle import rules
from conformance.oracle.address_space import ACCESSED
from conformance.oracle.expectation import Rule
from conformance.oracle.setting import PAGE, SLOT
from conformance.oracle.translation import Translation

__all__ = ["TranslationCaches"]

_GHOSTS: Final = 16


class TranslationCaches:
    """TLB entries and cached PDEs that may be there.

    Attributes:
        ghosts: translations that have been invalidated, the latest last, and by what. No processor
            may use them: they explain what one that does so shows.
    """

    __slots__ = ("_directory_entries", "_translations", "ghosts")

    def __init__(self) -> None:
        self._translations: tuple[Translation, ...] = ()
        # Base of what the PDE maps, and the PDE with its accessed flag set.
        self._directory_entries: tuple[tuple[int, int], ...] = ()
        self.ghosts: tuple[tuple[Translation, Rule], ...] = ()

    def keep(self, translation: Translation) -> None:
        """An access used a translation."""
        if translation not in self._translations:
            self._translations = (*self._translations, translation)

    def keep_directory_entry(self, base: int, entry: int) -> None:
        """An access used a PDE that references a page table; `base` is the start of what it maps.

        Its accessed flag is set: otherwise it would not be kept (4.10.3.1).
        """
        kept = base, entry | ACCESSED
        if kept not in self._directory_entries:
            self._directory_entries = (*self._directory_entries, kept)

    def translations(self, linear: int) -> list[Translation]:
        """Those of an address, the oldest first."""
        return [each for each in self._translations if _covers(each, linear)]

    def directory_entries(self, base: int, current: int) -> list[int]:
        """The PDEs for what begins at `base` that differ from the one in memory."""
        return [
            entry for start, entry in self._directory_entries if start == base and entry != current
        ]

    def invalidate_page(self, linear: int) -> None:
        """INVLPG: an address, and all of the paging-structure caches (4.10.4.1)."""
        self._drop(linear, rules.INVLPG)
        self._directory_entries = ()

    def page_fault(self, linear: int, base: int) -> None:
        """A page fault does the same, for what would be used for its address (4.10.4.1).

        Of a large page there may be several entries, one for each smaller part (4.10.2.3), and
        only for INVLPG does the manual say that all of them go.
        """
        self._drop(linear, rules.PAGE_FAULT_INVALIDATES, largest=PAGE)
        self._directory_entries = tuple(each for each in self._directory_entries if each[0] != base)

    def flush(self) -> None:
        """MOV to CR3, and to CR4 where it sets SMEP (4.10.4.1). No page is global: CR4.PGE is 0."""
        self._bury(self._translations, rules.RELOAD_INVALIDATES)
        self._translations, self._directory_entries = (), ()

    def copy(self) -> TranslationCaches:
        """The same, to be changed by itself."""
        twin = TranslationCaches()
        twin._translations = self._translations
        twin._directory_entries = self._directory_entries
        twin.ghosts = self.ghosts
        return twin

    def key(self) -> tuple[object, ...]:
        """Equal exactly where what may be used is."""
        return frozenset(self._translations), frozenset(self._directory_entries)

    def _drop(self, linear: int, by: Rule, largest: int = SLOT) -> None:
        dropped = tuple(each for each in self.translations(linear) if each.size <= largest)
        if dropped:
            self._bury(dropped, by)
            self._translations = tuple(each for each in self._translations if each not in dropped)

    def _bury(self, translations: tuple[Translation, ...], by: Rule) -> None:
        self.ghosts = (*self.ghosts, *((each, by) for each in translations))[-_GHOSTS:]


def _covers(translation: Translation, linear: int) -> bool:
    return translation.start <= linear < translation.start + translation.size
