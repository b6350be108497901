"""`make faults`: one recorded run of a fault, or of all, gone on with where it was left."""

from __future__ import annotations

import time
from pathlib import Path

import click

from eventlog.counted import counted
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
    rows, wrong, kept_in, versions = [], [], [], set()
    for run in [Run(known[name], seed, JOURNALS) for name in names or known]:
        fault, wanted = run.fault, trials or run.fault.trials
        if run.trials < wanted:
            click.echo(
                f"{fault.name}: {fault.summary}; {wanted:,} trials asked for, {run.trials:,} made", err=True
            )
        began, before = time.monotonic(), run.trials
        for outcome in run.go_on(wanted):
            left = max(0, wanted - run.trials)  # a piece may come to more than it was asked for
            left_s = (time.monotonic() - began) / (run.trials - before) * left
            click.echo(
                f"{fault.name}: {wanted:,} trials asked for, {run.trials:,} made, {left_s:.0f} s left, "
                f"{outcome.counts}",
                err=True,
            )
            for found in outcome.wrong:
                click.echo(f"WRONG: {found}", err=True)
        rows.append(run.summary())
        if run.wrong:
            wrong += run.wrong
            kept_in.append(str(run.journal))
        versions |= run.versions
    click.echo("\n".join([*rows, *sorted(versions)]))
    if wrong:
        raise click.ClickException(
            f"{counted(len(wrong), 'thing')} went wrong. It is kept, and said again each time: to begin anew, delete "
            + " and ".join(kept_in)
        )


if __name__ == "__main__":
    main()
