"""`eventlog archive` and `eventlog reseed`: keep the log, and write it back."""

from __future__ import annotations

import logging
import sys
from contextlib import closing
from pathlib import Path

import click

from eventlog.archive import Archive
from eventlog.archiving import ARCHIVE_READER, Archiving, run_archive
from eventlog.commands.common import Place, at_the_log, json_option, print_json
from eventlog.progress import progress
from eventlog.readers import ReaderKind
from eventlog.reseed import COUNTER_MARGIN, Reseeded, reseed
from eventlog.tail_lock import TailLock

_REPORT_EVERY_S = 1.0
_INTERRUPTED = 130


@click.command()
@click.option("--once", is_flag=True, help="End where the log ends now.")
@json_option
@at_the_log
def archive(place: Place, once: bool, as_json: bool) -> None:
    """Keep every entry in DATA_DIR/archive/archive.db, until SIGTERM or Ctrl-C.

    What is kept can be trimmed from Redis, is read from there by tails and rebuilds, and is what `eventlog
    reseed` writes back.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    if not once:
        run_archive(place.log, place.archive)
        return
    lock = TailLock(place.archive.parent)
    try:
        lock.acquire()
        with closing(Archive(place.archive)) as file:
            Archiving(place.log, file).run_to_head()
            end = file.checkpoint()
        place.log.readers.report(
            ARCHIVE_READER,
            ReaderKind.ARCHIVE,
            position=end.position,
            sequence=end.sequence,
            log_id=end.log_id,
        )
    finally:
        lock.release()
    facts = {
        "archive": str(place.archive),
        "log_id": end.log_id,
        "position": str(end.position),
        "sequence": end.sequence,
    }
    if as_json:
        print_json(facts)
    else:
        click.echo(f"{place.archive} has {end.sequence} entries of log {end.log_id}, up to {end.position}")


@click.command(name="reseed")
@click.option(
    "--archive",
    "archives",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="An archive; more than one must agree. Default: DATA_DIR/archive/archive.db.",
)
@json_option
@at_the_log
def reseed_log(place: Place, archives: tuple[Path, ...], as_json: bool) -> None:
    """Write the log back from its archive, after Redis lost everything.

    The same log: its id, positions and sequences, counters, and the commands that clients named in the last 24
    hours; tails, services and the archive go on by themselves. Refuses, with exit code 1, where entries are there
    already, or where something would be lost; Ctrl-C leaves everything as it was.
    """
    with progress("writing back") as on_progress:
        done = reseed(place.log, archives or [place.archive], place.data_dir, on_progress)
    if as_json:
        print_json(done._asdict())
    else:
        click.echo(_told(done))


def _told(done: Reseeded) -> str:
    if not done.entries_written:
        return f"log {done.log_id} is there, up to {done.position} and further: nothing to do"
    return (
        f"log {done.log_id} is back: {done.entries_written} entries, up to {done.position}; "
        f"{done.commands_remembered} named commands are remembered. Ids go on {COUNTER_MARGIN} above the last known."
    )
