"""Check, or with --fix make, the format of the kernel's C++ with clang-format."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent


def main(arguments: list[str]) -> int:
    """Run clang-format over every C++ file; its exit status."""
    files = sorted(path for ending in ("*.cpp", "*.hpp") for path in _FOLDER.rglob(ending))
    if not files:
        print(f"{_FOLDER}: no C++ files", file=sys.stderr)
        return 1
    mode = ["-i"] if arguments == ["--fix"] else ["--dry-run", "--Werror"]
    return subprocess.run(["clang-format", *mode, *map(str, files)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
