"""`make bench`: every measure in turn, then bench/results.md. `make bench-quick` shows the same, and writes nothing."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from bench import (
    bulk,
    growing,
    hot_account,
    idle,
    latency,
    limits,
    memory,
    overload,
    posting,
    signing,
    tailing,
    workers,
)
from bench.figure import Bench, Curve, Figure, Measured, NotRun
from bench.results import format_spread, write_results

MEASURES: dict[str, Callable[[Bench], Measured]] = {
    "tailing": tailing.measure,
    "posting": posting.measure,
    "latency": latency.measure,
    "growing": growing.measure,
    "bulk": bulk.measure,
    "hot_account": hot_account.measure,
    "overload": overload.measure,
    "workers": workers.measure,
    "memory": memory.measure,
    "idle": idle.measure,
    "signing": signing.measure,
    "limits": limits.measure,
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(MEASURES)))
@click.option("--quick", is_flag=True, help="Smaller and fewer: to see that it runs, not how fast.")
@click.option("--seed", type=int, default=1, show_default=True)
def main(names: tuple[str, ...], quick: bool, seed: int) -> None:
    """Measure everything, or what is named."""
    figures: list[Figure] = []
    curves: list[Curve] = []
    not_run: list[str] = []
    started = time.monotonic()
    for name in names or MEASURES:
        click.echo(f"{name} ...")
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            own_seed = f"{seed}-{name}"
            chance = random.Random(own_seed)
            bench = Bench(quick, Path(folder), own_seed, chance, lambda told: click.echo(f"  {told}"))
            try:
                measured = MEASURES[name](bench)
            except NotRun as why:
                click.echo(f"  not run: {why}")
                not_run.append(f"{name}: {why}")
                continue
        for figure in measured.figures:
            click.echo(
                f"  {figure.measure}: {format_spread(figure.value)} {figure.unit}, to reach: {figure.aim}"
                f" ({figure.absolute})"
            )
        figures += measured.figures
        curves += measured.curves
    if not quick and not names:
        write_results(Path(__file__).parent, figures, curves, not_run, seed)
    click.echo(f"{time.monotonic() - started:.0f} s")


main()
