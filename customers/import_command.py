"""The command `customers import`: an operator's file of invoices into the log, once."""

from __future__ import annotations

import getpass
import os
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import click

from customers.import_record import ImportRecordFile
from customers.importing import OPERATOR, Import
from customers.invoice_file import BrokenLine, Checked, ImportRefused, InvoiceFile
from eventlog import EventLogError
from eventlog.commands.common import INTERRUPTED, Command, json_option, print_json
from eventlog.counted import counted
from eventlog.progress import progress
from shared.service import Service, pass_service


@click.command("import", cls=Command, examples=["november.ndjson"])
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
@pass_service
def import_file(service: Service, file: Path, as_json: bool) -> None:
    """Publish a FILE of invoices, each on a line of its own, as a body of POST /invoices.

    All of it is checked first. FILE.imported keeps how far it is: the same command goes on where one ended, however
    that was, and imports no line twice.
    """
    file = file.resolve()  # what is known of it lies beside the file itself
    with closing(InvoiceFile(file)) as invoices, closing(service.connect()) as log:
        run = Import(ImportRecordFile(file), log, service.reader(), _operator(), lambda: datetime.now(UTC))
        before = run.record.done.lines
        with progress(f"checking {file.name}, bytes") as on_progress:
            checked = invoices.check(run.record.done, on_progress)
        _refuse_broken(file, checked)
        if checked.whole != run.record.done:
            _publish(run, invoices, checked.whole.lines, file)
    if as_json:
        print_json(
            {
                "file": str(file),
                "lines": checked.whole.lines,
                "lines_before": before,
                "published": run.published,
                "replayed": run.replayed,
                "log_id": run.record.log_id,
                "position": run.record.position,
            }
        )
    else:
        click.echo(_describe(run, file, checked.whole.lines, before))


def _operator() -> str:
    """Who runs the command, as the actor of its events."""
    try:
        return f"{OPERATOR}{getpass.getuser()}"
    except (KeyError, OSError):  # no name for this number, as in some containers
        return f"{OPERATOR}{os.getuid()}"


def _refuse_broken(file: Path, checked: Checked) -> None:
    if not checked.broken:
        return
    for problem in checked.broken:
        click.echo(problem, err=True)
    more = checked.broken_lines - len(checked.broken)
    named = f", the first {len(checked.broken)} of them above" if more else ""
    raise ImportRefused(
        f"{file}: {counted(checked.broken_lines, 'line')} cannot be imported{named}, so none is now: mend them"
    )


def _publish(run: Import, invoices: InvoiceFile, lines: int, file: Path) -> None:
    try:
        with progress(f"importing {file.name}") as on_progress:
            for done in run.publish(invoices.batches_behind(run.record.done)):
                on_progress(done.lines, lines)
    except KeyboardInterrupt:
        click.echo(f"Interrupted: {_how_far(run, file)}.", err=True)
        sys.exit(INTERRUPTED)
    except (EventLogError, BrokenLine, OSError) as problem:
        raise ImportRefused(f"{str(problem).rstrip('.')}. {_how_far(run, file)}") from problem


def _how_far(run: Import, file: Path) -> str:
    record = run.record
    done = f"imported up to line {record.done.lines:,}" if record.done.lines else "not imported"
    if record.begun is not None:
        done += f", or up to line {record.begun.end.lines:,}, which the next run finds out"
    return f"{file} is {done}: the same command goes on from there"


def _describe(run: Import, file: Path, lines: int, before: int) -> str:
    if before == lines:
        return (
            f"{file}: all of its {counted(lines, 'line')} were imported before"
            if lines
            else f"{file} is empty"
        )
    parts = [f"{counted(run.published, 'invoice')} imported"]
    if run.replayed:
        parts.append(f"{run.replayed:,} were in the log already")
    if before:
        parts.append(f"lines 1 to {before:,} were imported before")
    return f"{file}: {', '.join(parts)}; as of {run.record.position}"
