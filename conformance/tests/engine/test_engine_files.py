"""Writing files: the old content or the new, and errors before the work is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.engine.files import check_writable, write_atomically
from conformance.errors import InvalidArgument


def test_a_file_in_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "result.json"
    check_writable(path)
    assert not path.parent.exists()
    write_atomically(path, "new ✓")
    assert path.read_text(encoding="utf-8") == "new ✓"
    check_writable(path)
    assert path.read_text(encoding="utf-8") == "new ✓"
    assert list(path.parent.iterdir()) == [path]


def test_whoever_reads_the_old_file_goes_on_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_atomically(path, "old")
    with path.open() as reader:
        write_atomically(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "half of it \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("path", ["/dev/null/result.json", "/proc/self/nowhere/result.json"])
def test_a_place_that_cannot_be_written(path: str) -> None:
    for attempt in (check_writable, lambda path: write_atomically(path, "text")):
        with pytest.raises(InvalidArgument, match=f"cannot write {path}: ") as got:
            attempt(Path(path))
        assert "\n" not in str(got.value)


def test_a_folder_that_findings_go_into(tmp_path: Path) -> None:
    check_writable(tmp_path)
    check_writable(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
