"""The command line: `conformance`."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from conformance.case.wire import one_line
from conformance.commands.bench import bench
from conformance.commands.build import build
from conformance.commands.doctor import doctor
from conformance.commands.export import decode, export
from conformance.commands.known import known
from conformance.commands.maps import maps
from conformance.commands.replay import replay
from conformance.commands.run import run
from conformance.commands.show import show
from conformance.errors import ConformanceError

__all__ = ["main"]

EXAMPLES = """\b
Examples:
  conformance doctor
  conformance run --suite frames --cases 200 --seed 7 --json out.json
  conformance run --backend qemu --map /proc/iomem
  conformance replay conformance-results/divergences/NAME.json
  conformance show conformance-results/divergences/NAME.json
  conformance known list
  conformance maps show dell-xps-13-9360-16g

\b
Exit status:
  0 all agree, but for what is known
  1 a divergence, or a known one that no longer shows up
  2 wrong usage or input
  3 inconclusive
"""


@click.group(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="conformance")
def cli() -> None:
    """Boot one kernel image on QEMU, Bochs and a reference model, and compare what it does."""


for command in (run, replay, show, export, decode, known, doctor, maps, build, bench):
    cli.add_command(command)


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """A TERM or HUP signal unwinds like Ctrl-C: sessions are closed, results are written."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _keep_hypothesis_out() -> None:
    """What Hypothesis keeps from run to run does not belong into the folder one works in."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(cache / "conformance" / "hypothesis"))


def _complain(problem: str) -> None:
    click.echo(f"conformance: {one_line(problem)}", err=True)


def main() -> None:
    """Run the command line; every error that a user can cause is one line and status 2."""
    _keep_hypothesis_out()
    try:
        with _terminated_like_interrupted():
            status = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("conformance: interrupted", err=True)
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        _complain(error.format_message())
        sys.exit(2)
    except ConformanceError as error:
        _complain(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        click.echo("conformance: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has had enough of it.
        sys.stderr.close()
        sys.exit(0)
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    sys.argv[0] = str(Path(sys.argv[0]))
    main()
