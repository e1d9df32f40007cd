"""Known divergences in a pytest session: replayed, skipped with a reason, or missed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from conformance.case.case import Case
from conformance.case.codec import dump_case
from conformance.case.program import Count, Program

Run = Callable[..., pytest.RunResult]

CONFTEST = "from conformance.suites.conftest import pytest_generate_tests"
SUITE = """
def test_known_divergence(differential_test, image_id, known_divergence):
    differential_test.check_known(known_divergence, image_id)
"""
ENTRY = """
[[divergence]]
signature = "{kind}: counted.free_frames higher after count (legacy)"
kind = "{kind}"
versions = "{versions}"
section = "TRACE.md"
sentence = "counts too many"
case = "{case}.json"
"""


@pytest.fixture
def run(
    pytester: pytest.Pytester,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    small_case: Case,
) -> Run:
    """A session on the reference model, with a list of known divergences of one's own."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("PYTHONPATH", environment.get("PYTHONPATH", ""))
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(SUITE)
    pytester.makefile(".toml", conformance='known = "mine.toml"\n[backends.model]\nkind="unicorn"')
    cases = pytester.mkdir("known")
    text = dump_case(replace(small_case, program=Program((Count(),))))
    for name in ("one", "two"):
        (cases / f"{name}.json").write_text(text)

    def go(entries: str, *words: object) -> pytest.RunResult:
        pytester.makefile(".toml", mine=entries)
        options = ("-p", "conformance.pytest_plugin", "-p", "no:cacheprovider", "-rs")
        selected = ("-k", "none or one or two or malformed")
        return pytester.runpytest_subprocess(*options, *selected, *map(str, words), timeout=60)

    return go


def test_what_no_longer_shows_up_fails_and_what_is_not_here_is_skipped(run: Run) -> None:
    gone = ENTRY.format(kind="unicorn", versions=">=1", case="one")
    other = ENTRY.format(kind="unicorn", versions=">=99", case="two")
    done = run(gone + other)
    done.assert_outcomes(failed=1, skipped=1)
    stale = (
        "known divergence no longer shows up: "
        "unicorn: counted.free_frames higher after count (legacy) (on model)"
    )
    assert done.stdout.str().count(stale) >= 2  # at the test, and in the summary
    done.stdout.fnmatch_lines(["SKIPPED * no unicorn >=99 in this run"])


def test_what_is_to_be_found_anew_is_not_replayed(run: Run) -> None:
    done = run(ENTRY.format(kind="unicorn", versions=">=1", case="one"), "--conformance-no-known")
    done.assert_outcomes(skipped=1)
    done.stdout.fnmatch_lines(["SKIPPED * --no-known"])


def test_a_malformed_list_ends_the_session_with_one_line(run: Run) -> None:
    done = run(ENTRY.format(kind="unicorn", versions="new", case="one"))
    assert done.ret == 2
    complaint = "divergence[0].versions: expected versions like"
    assert complaint in done.stdout.str() + done.stderr.str()
