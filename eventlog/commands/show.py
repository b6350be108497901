"""`eventlog show`: one entry, wherever it lies now."""

from __future__ import annotations

import click
import msgspec

from eventlog.archive_reader import ArchiveReader
from eventlog.codec import Entry
from eventlog.commands.common import Command, Place, at_the_log, checked_by, json_option, print_json
from eventlog.commands.tail import pretty
from eventlog.continuity import Verdict
from eventlog.errors import ArchiveUnusable, WrongLog
from eventlog.mends import NO_LOG_MEND
from eventlog.position import Position
from eventlog.shown_entries import read_entry


@click.command(cls=Command, examples=["1795262660328-0"])
@click.argument("position", callback=checked_by(Position.parse))
@json_option
@at_the_log
def show(place: Place, position: Position, as_json: bool) -> None:
    """Show the entry at POSITION, in Redis or, where it is there no more, in the archive.

    Exit code 1 where there is none.
    """
    log_id = place.log.state().log_id
    if log_id is None:
        raise WrongLog(Verdict.REPLACED, "there is no log", NO_LOG_MEND)
    entry, lies_in = _find_in_redis(place, position), "redis"
    if entry is None:
        entry, lies_in = _find_in_archive(place, position, log_id), "archive"
    shown = read_entry(entry, place.log.why_unproven(entry, log_id))
    if as_json:
        told = msgspec.structs.asdict(shown)
        if shown.unproven is None:
            del told["unproven"]
        print_json({**told, "lies_in": lies_in})
    else:
        click.echo(pretty(shown))
        click.echo("in Redis" if lies_in == "redis" else f"in the archive, {place.archive}")


def _find_in_redis(place: Place, position: Position) -> Entry | None:
    found = place.log.read_back(position, 1)
    return found[0] if found and found[0].position == position else None


def _find_in_archive(place: Place, position: Position, log_id: str) -> Entry:
    try:
        archive = ArchiveReader(place.archive)
        of_log = archive.checkpoint().log_id
        entry = archive.find(position) if of_log == log_id else None
        why = "" if of_log == log_id else f"; {place.archive} is of another log, {of_log or '(none yet)'}"
    except ArchiveUnusable as unusable:
        entry, why = None, f"; {unusable} (DATA_DIR)"
    if entry is None:
        raise click.ClickException(
            f"the log has no entry {position} in Redis, nor in its archive{why}: `eventlog tail --since {position}` "
            "shows what follows"
        )
    return entry
