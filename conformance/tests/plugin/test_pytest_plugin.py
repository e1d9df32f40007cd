"""The plugin in a project of its own: a few lines are a differential test."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., pytest.RunResult]

PASSING = """
from conformance import cases, differential, memory_maps

@differential(cases(memory_maps=memory_maps(max_regions=4)))
def test_small_maps(result):
    assert result.observations[0].trace, "the kernel said nothing"
"""
FAILING = """
from conformance import Dump, cases, differential

@differential(cases(), cases=30)
def test_no_dump(result):
    "Dumps are forbidden."
    assert Dump() not in result.case.program.operations, "there is a dump"
"""


@pytest.fixture
def run(
    pytester: pytest.Pytester, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """pytest on a file, with the plugin loaded whether or not it is installed."""
    # Whatever else is installed has no say; the plugin is loaded by its module's name.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("CI", raising=False)
    if "PYTHONPATH" in environment:
        monkeypatch.setenv("PYTHONPATH", environment["PYTHONPATH"])
    else:
        monkeypatch.delenv("PYTHONPATH", raising=False)

    def go(source: str, *words: object, backend: str = "unicorn") -> pytest.RunResult:
        pytester.makepyfile(source)
        chosen = ("--backend", backend) if backend else ()
        options = ("-p", "conformance.pytest_plugin", "-p", "no:cacheprovider", *chosen)
        return pytester.runpytest_subprocess(*options, *map(str, words), timeout=60)

    return go


def test_five_lines_are_a_test(run: Run) -> None:
    done = run(PASSING, "--cases", 6, "--conformance-seed", 7)
    done.assert_outcomes(passed=1)
    assert done.ret == 0
    done.stdout.fnmatch_lines(
        [
            "conformance: backends unicorn",
            "*= conformance =*",
            "seed 7: 6 agree",
            "unicorn: 6 cases*",
        ]
    )


def test_a_demand_that_fails_shows_the_smallest_case(run: Run, tmp_path: Path) -> None:
    words = ("--conformance-seed", 7, "--conformance-out", tmp_path / "out")
    done = run(FAILING, *words, "--conformance-json", tmp_path / "out.json")
    done.assert_outcomes(failed=1)
    assert done.ret == 1
    done.stdout.fnmatch_lines(
        [
            "diverge: assertion: test_no_dump",
            "  culprit   unknown",
            "  why       there is a dump",
            "  smallest case:",
            "    0: dump",
            "  replay    conformance replay *.json",
        ]
    )
    done.stdout.no_fnmatch_line("    1: *")
    done.stdout.no_fnmatch_line("*Traceback*")
    (divergence,) = json.loads((tmp_path / "out.json").read_text())["divergences"]
    assert Path(divergence["file"]).parent == tmp_path / "out" / "divergences"


SNAPSHOT = """\
diverge: kernel or broken: counted.free_frames higher after count (legacy)
  culprit   kernel or broken
  why       broken is the only backend that ran, and it differs from the oracle
  seen in   N cases of suite it-agrees
  smallest case:
    region [0x1000000, 0x1001000) available
    0: count

first difference: event 29 of the trace
    24  pass pass=probe_arena free_frames=1
    25  reserved pass=trace_buffer first=A end=B
    26  pass pass=trace_buffer free_frames=1
    27  ready free_frames=1 lowest=4096
    28  stacks stacks=0 free=0

      oracle               broken
      ------               ------
        counted              counted
          operation    0       operation    0
      >   free_frames  1   >   free_frames  0x100001
"""


def test_the_shrunk_failure_reads_like_this(
    run: Run,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
) -> None:
    # An installed third party's backend: its metadata lies beside its module.
    third_party = pytester.mkdir("third_party")
    tests = Path(__file__).parents[1]
    (third_party / "broken_backend.py").write_text((tests / "broken_backend.py").read_text())
    metadata = third_party / "broken-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(
        "[conformance.backends]\nbroken = broken_backend:from_config\n"
    )
    path = [str(third_party), *filter(None, [environment.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", ":".join(path))
    pytester.makefile(".toml", conformance='[backends.broken]\nkind = "broken"\n')
    source = """
        from conformance import Machine, cases, differential

        @differential(cases(machine=Machine()), cases=30)
        def test_it_agrees(result):
            pass
    """
    pytester.makepyfile(test_it_agrees=source)
    done = run("", "test_it_agrees.py", "--conformance-seed", 7, backend="broken")
    done.assert_outcomes(failed=1)
    text = done.stdout.str()
    start = text.index("diverge: ")
    text = text[start : text.index("\n\n", text.index("free_frames  0x")) + 1]
    # How many cases count is the generator's affair, and where its parts are the kernel's.
    text = re.sub(r"seen in   \d+ cases", "seen in   N cases", text)
    text = re.sub(r"first=\d+ end=\d+", "first=A end=B", text)
    assert text == SNAPSHOT


def test_an_unknown_backend_ends_the_session_with_one_line(run: Run) -> None:
    done = run(PASSING, backend="nonsense")
    assert done.ret == 2
    complaint = "no backend 'nonsense'; configured: qemu, bochs, unicorn"
    lines = [line for line in done.outlines + done.errlines if complaint in line]
    assert len(lines) == 1
    assert "Traceback" not in done.stdout.str() + done.stderr.str()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--cases", 0), "--cases 0: at least 1"),
        (("--cases", "many"), "argument --cases: invalid int value: 'many'"),
        (("--conformance-json", "/dev/null/x"), "cannot write /dev/null/x"),
        (("--conformance-out", "/dev/null/x"), "cannot write /dev/null/x"),
    ],
)
def test_a_wrong_option_is_a_usage_error(words: tuple[object, ...], message: str, run: Run) -> None:
    done = run(PASSING, *words)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"*{message}*"])
    assert "Traceback" not in done.stderr.str()


def test_a_malformed_configuration_ends_the_session(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makefile(".toml", conformance="[backends.x]\nkind = 'y'\n")
    done = run(PASSING, backend="")
    assert done.ret == 2
    assert "no backend kind 'y'" in done.stdout.str() + done.stderr.str()


def test_the_decorators_count_comes_before_the_options(run: Run) -> None:
    source = PASSING.replace("max_regions=4)", "max_regions=4), program").replace(
        "memory_maps(max_regions=4), program))", "memory_maps(max_regions=4)), cases=3)"
    )
    done = run(source, "--cases", 50, "--conformance-seed", 7)
    done.stdout.fnmatch_lines(["seed 7: 3 agree"])


def test_tests_that_want_nothing_of_it_start_no_emulator(run: Run) -> None:
    done = run("def test_plain(): pass", backend="nonsense")
    done.assert_outcomes(passed=1)
    assert "seed" not in done.stdout.str()


def test_the_fixtures_can_be_used_directly(run: Run) -> None:
    done = run(
        """
        from conformance import Case, Count, MemoryMap, Program, Region

        def test_one_case(differential_test, image_id):
            case = Case(image_id, memory_map=MemoryMap((Region(0, 1 << 20),)))
            result = differential_test.check(case)
            assert result.agrees

        def test_wrong(differential_test, image_id):
            def check(result):
                assert not result.observations[0].trace, "it spoke"

            differential_test.check(Case(image_id), check)
        """,
        "--conformance-seed",
        7,
    )
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["  why       it spoke", "  smallest case:"])


def test_the_body_keeps_its_name_and_words(run: Run) -> None:
    done = run(FAILING, "--collect-only", "-v")
    assert "test_no_dump" in done.stdout.str()
    assert "Dumps are forbidden." in done.stdout.str()


def test_two_tests_share_one_harness(run: Run) -> None:
    second = PASSING.replace("test_small_maps", "test_again")
    done = run(PASSING + second, "--cases", 4, "--conformance-seed", 7)
    done.assert_outcomes(passed=2)
    done.stdout.fnmatch_lines(["seed 7: 8 agree", "unicorn: 8 cases*"])
