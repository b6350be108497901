"""The command `eventlog`, for operators."""

from __future__ import annotations

from pathlib import Path

import click

from eventlog.adopting import adopt as adopt_log
from eventlog.archive_reader import ArchiveReader
from eventlog.commands.archive import archive, reseed_log
from eventlog.commands.catalogue import catalogue
from eventlog.commands.common import OneLineErrors, Place, at_the_log, json_option, print_json, version_option
from eventlog.commands.keys import keys
from eventlog.commands.parked import parked
from eventlog.commands.readers import readers, trim
from eventlog.commands.show import show
from eventlog.commands.status import status
from eventlog.commands.tail import tail
from eventlog.doctor import examine
from eventlog.doctor.report import report
from eventlog.errors import ArchiveUnusable
from eventlog.found_projections import list_remembered_logs


@click.group(cls=OneLineErrors, examples=["status", "tail --follow", "doctor --json"])
@version_option
def main() -> None:
    """Look after the log."""


@main.command(examples=["", "--adopt"])
@click.option("--adopt", is_flag=True, help="Make a new log of the entries that are there now.")
@json_option
@at_the_log
def init(place: Place, adopt: bool, as_json: bool) -> None:
    """Make the log, once: its id and its empty stream. Harmless when it is there already.

    Refuses, with exit code 1, where a projection or the archive under the data directory remembers another
    log: making a new one would leave them stale for ever.
    """
    log, data_dir = place.log, place.data_dir
    log.check_durability()
    if adopt:
        log_id, beginning = adopt_log(log, data_dir, ArchiveReader(place.archive))
        followers = sorted({str(path.parent) for path in list_remembered_logs(data_dir)})
        archived = _archived_logs(place.archive)
        if as_json:
            aside = str(place.archive.parent) if archived else None
            print_json({"log_id": log_id, "stream": log.stream, "delete": followers, "move_aside": aside})
            return
        click.echo(f"log {log_id} on stream {log.stream}")
        if followers:
            click.echo(f"Now delete {' and '.join(followers)}: their tails rebuild by themselves.")
        if archived:
            click.echo(f"Then move {place.archive.parent} aside: another archive begins by itself.")
        if beginning is not None:
            click.echo(
                f"It is signed from the entry behind number {beginning.sequence} at {beginning.position} on."
            )
        return
    existing = log.state().log_id
    remembered = {*list_remembered_logs(data_dir).values(), *_archived_logs(place.archive)}
    strangers = sorted(remembered - {existing})
    if strangers:
        raise click.ClickException(
            f"projections or the archive remember a log ({', '.join(strangers)}) that is not what is here "
            f"({existing or 'no log'}): make sure that this is the Redis and the stream you mean (REDIS_URL, "
            "EVENT_STREAM). Then restore the Redis data that held it; or write it back "
            "from the archive: `eventlog reseed`; or accept what is here: run `eventlog init --adopt`."
        )
    log_id = log.create()
    if as_json:
        print_json({"log_id": log_id, "stream": log.stream, "delete": [], "move_aside": None})
        return
    done = "is there already, and stays as it is" if existing else "is made"
    click.echo(f"log {log_id} on stream {log.stream} {done}")


@main.command(examples=["", "--json"])
@json_option
@at_the_log
def doctor(place: Place, as_json: bool) -> None:
    """Say what is wrong with the log, its machine and the projections, with the mend; change nothing.

    Exit code 0: no problem, though there may be warnings. 3: a problem. 1: it could not look at all.
    """
    report(lambda: examine(place.log, place.data_dir), as_document=as_json)


def _archived_logs(archive: Path) -> set[str]:
    """The id of the log that the archive keeps, if there is one."""
    try:
        return {ArchiveReader(archive).checkpoint().log_id} - {""}
    except ArchiveUnusable:
        return set()


for command in (archive, catalogue, keys, parked, readers, reseed_log, show, status, tail, trim):
    main.add_command(command)
