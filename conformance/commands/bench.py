"""`conformance bench`: cases a second, by backend and side by side, and the harness's own share."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from conformance.case.strategies import cases as generated_cases
from conformance.commands.options import backend_option, cases_option, config_option
from conformance.config import load_config
from conformance.engine.explore import explore
from conformance.engine.runner import Result
from conformance.engine.setup import build_harness, choose_images

__all__ = ["bench"]


@click.command()
@cases_option()
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=7,
    show_default=True,
    metavar="S",
    help="Seed of the generation.",
)
@backend_option()
@config_option()
def bench(cases: int, seed: int, backends: tuple[str, ...], config: Path | None) -> int:
    """Measure: each backend alone, then all of them side by side on the same generated cases.

    The harness's own share is the processor time of this process, for generating, encoding,
    decoding, the oracle and the judge; the emulators run in processes of their own.
    """
    images = choose_images(None)
    loaded = load_config(config)
    _, usable = build_harness(loaded, names=backends, images=images, seed=seed, cases=cases)
    names = [each.instance.name for each in usable]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("backends")
    for column in ("cases", "seconds", "cases/s", "harness CPU s", "harness share"):
        table.add_column(column, justify="right")
    status = 0
    for group in [[name] for name in names] + ([names] if len(names) > 1 else []):
        harness, _ = build_harness(loaded, names=group, images=images, seed=seed, cases=cases)
        results: list[Result] = []
        with harness.runner:
            strategy = generated_cases()
            # Engines start, and Python imports, outside of what is measured.
            explore(harness.runner, strategy, cases=1, seed=seed, on_result=results.append)
            results.clear()
            start, start_cpu = time.perf_counter(), time.process_time()
            explore(harness.runner, strategy, cases=cases, seed=seed, on_result=results.append)
            seconds = time.perf_counter() - start
            own = time.process_time() - start_cpu
        status = status if all(result.passes for result in results) else 1
        table.add_row(
            Text(", ".join(group)),
            str(len(results)),
            f"{seconds:.2f}",
            f"{len(results) / seconds:.1f}",
            f"{own:.2f}",
            f"{own / seconds / (os.cpu_count() or 1):.0%}",
        )
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"seed {seed}; share: of the time of all {os.cpu_count()} processors", soft_wrap=True
    )
    if status:
        console.print("not all cases agreed: see 'conformance run'")
    return status
