"""`make faults`: one recorded run of a fault, or of all, gone on with where it was left."""

from __future__ import annotations

import time
from pathlib import Path

import click

from tests.faults.all_faults import FAULTS
from tests.faults.campaign import Run

JOURNALS = Path("build/faults")


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--seed", default=1, show_default=True, help="With as many trials, the same seed tries the same things."
)
@click.option("--trials", type=click.IntRange(min=1), help="How many in all, earlier sittings included.")
def main(names: tuple[str, ...], seed: int, trials: int | None) -> None:
    """Try faults on real processes; with no NAMES, all of them. Exits with 1 if anything went wrong."""
    known = {fault.name: fault for fault in FAULTS}
    if unknown := set(names) - known.keys():
        raise click.UsageError(f"no fault {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    rows, wrong, versions = [], [], set()
    for run in [Run(known[name], seed, JOURNALS) for name in names or known]:
        fault, wanted = run.fault, trials or run.fault.trials
        if run.trials < wanted:
            click.echo(f"{fault.name}: {fault.summary}; {run.trials} of {wanted} trials are made", err=True)
        began, before = time.monotonic(), run.trials
        for outcome in run.go_on(wanted):
            left_s = (time.monotonic() - began) / (run.trials - before) * (wanted - run.trials)
            click.echo(
                f"{fault.name}: {run.trials} of {wanted} trials, {left_s:.0f} s left, {outcome.counts}",
                err=True,
            )
            for found in outcome.wrong:
                click.echo(f"WRONG: {found}", err=True)
        rows.append(run.summary())
        wrong += run.wrong
        versions |= run.versions
    click.echo("\n".join([*rows, *sorted(versions)]))
    if wrong:
        raise click.ClickException(f"{len(wrong)} things went wrong; see {JOURNALS}")


if __name__ == "__main__":
    main()
