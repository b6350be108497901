"""`eventlog readers` and `eventlog trim`: who reads the log, and what that leaves to be freed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import click

from eventlog.archive_reader import ArchiveReader
from eventlog.commands.common import (
    Command,
    CommandGroup,
    Place,
    at_the_log,
    checked_by,
    is_for_subcommand,
    json_option,
    print_json,
)
from eventlog.counted import counted
from eventlog.durations import short_duration
from eventlog.errors import ArchiveDisagrees, ArchiveUnusable, TrimRefused
from eventlog.progress import progress
from eventlog.reader_status import ReaderStatus, list_reader_statuses
from eventlog.readers import ReaderKind, WhyKept
from eventlog.trimming import Keep, Trim, UnseenReader
from eventlog.trimming import trim as trim_log

_VERSIONED: Final = re.compile(r"(.+)-v([0-9]+)", re.ASCII)  # as eventlog.subscription.reader_name names them


def describe_readers(readers: Sequence[ReaderStatus]) -> Iterator[str]:
    """A line each; with the mend, where a newer version of the same projection reads, too."""
    for reader in readers:
        lag = "has all"
        if reader.lag_events:
            lag = f"{counted(reader.lag_events, 'event')} behind for {short_duration(reader.lag_seconds)}"
        told = f"last heard of {short_duration(reader.seen_seconds_ago)} ago"
        line = f"{reader.name:<24} {reader.kind:<10} {reader.position:<18} {lag}; {told}"
        newer = _find_newer(reader.name, readers)
        if newer:
            line += f"; an older version of {newer}: if it is gone for good, `eventlog readers remove {reader.name}`"
        yield line


def _find_newer(name: str, readers: Sequence[ReaderStatus]) -> str | None:
    """The reader of the newest version of the same projection, where that is not this one."""
    found = _VERSIONED.fullmatch(name)
    if found is None:
        return None
    versions = [
        other for reader in readers if (other := _VERSIONED.fullmatch(reader.name)) and other[1] == found[1]
    ]
    newest = max(versions, key=lambda other: int(other[2]))
    return newest[0] if int(newest[2]) > int(found[2]) else None


@click.group(cls=CommandGroup, invoke_without_command=True, examples=["--json", "remove revenue-v1"])
@json_option
@at_the_log
def readers(place: Place, as_json: bool) -> None:
    """List who reads the log: name, kind, position, how far behind in events and time, when last seen."""
    if is_for_subcommand():
        return
    found = list_reader_statuses(place.log)
    if as_json:
        print_json(found)
        return
    for line in describe_readers(found):
        click.echo(line)
    if not found:
        click.echo("No reader has made itself known yet: a tail does when it follows.", err=True)


@readers.command(examples=["revenue-v1"])
@click.argument("name")
@json_option
@at_the_log
def remove(place: Place, name: str, as_json: bool) -> None:
    """Forget a reader that is gone for good, so that what it has not got can be freed."""
    if not place.log.readers.remove(name):
        raise click.ClickException(f"no reader is named {name!r}: `eventlog readers` lists them")
    if as_json:
        print_json({"removed": name})
        return
    click.echo(f"{name} is forgotten; if it is alive, it makes itself known again within half a minute.")


@click.command(cls=Command, examples=["--keep 7d --dry-run", "--keep 100000"])
@click.option(
    "--keep",
    required=True,
    metavar="ENTRIES|AGE|SIZE",
    callback=checked_by(Keep.parse),
    help="What stays in Redis: 100000 entries, 7d or 12h, or 512mb.",
)
@click.option("--dry-run", is_flag=True, help="Free nothing, and say what would be.")
@json_option
@at_the_log
def trim(place: Place, keep: Keep, dry_run: bool, as_json: bool) -> None:
    """Free Redis of the oldest entries, as far as every known reader and the archive have them.

    Run it where the archive lies: it must have all that it said, and what is freed is compared with it first. The
    log's last entry always stays. Ctrl-C leaves the log whole; what was freed until then stays freed.
    """
    freed = 0

    try:
        _require_archived(place)
        archive = ArchiveReader(place.archive)
        with progress("looking" if dry_run else "freeing") as on_progress:

            def on_freed(so_far: int, at_most: int) -> None:
                nonlocal freed
                freed = so_far
                on_progress(so_far, at_most)

            done = trim_log(place.log, keep, archive=archive, dry_run=dry_run, progress=on_freed)
    except ArchiveUnusable as problem:
        so_far = (
            f"after {counted(freed, 'entry')} no more is freed"
            if freed and not dry_run
            else "nothing is freed"
        )
        mend = "put the archive back, or a copy of it (docs/runbook.md, Archive)"
        if not place.log.state().trimmed:  # else what was trimmed is nowhere but in the archive
            mend += f"; or, where it is lost, move {place.archive.parent} aside, so that another is built"
        if isinstance(problem, ArchiveDisagrees):  # and it may be all that has the genuine entry
            mend = (
                "first see `eventlog archive --check`. Where that finds nothing, it is Redis that was altered: "
                f"`eventlog reseed --replace`. Where it is the archive, {mend}"
            )
        raise TrimRefused(
            f"{so_far}, for what would go is not in the archive: {problem}. To mend it, {mend}; then try again"
        ) from problem
    if as_json:
        print_json(done)
    else:
        click.echo(_describe_trim(done))
    for reader in done.unseen:
        click.echo(_describe_unseen(reader), err=True)


def _require_archived(place: Place) -> None:
    """ArchiveUnusable where the archive here has not got what it made known to the log."""
    for reader in place.log.readers.list_all():
        if reader.kind is ReaderKind.ARCHIVE:
            ArchiveReader(place.archive).require_all(place.log.state().log_id or "", reader.sequence)


def _describe_trim(done: Trim) -> str:
    would = "would be freed" if done.dry_run else "freed"
    memory = ""
    if done.bytes_before is not None and done.bytes_after is not None:
        memory = f", {max(0, done.bytes_before - done.bytes_after):,} bytes of {done.bytes_before:,}"
    left = f"{done.left:,} left" + (f", from {done.first_kept} on" if done.first_kept else "")
    bound = {
        WhyKept.READER: f"bounded by reader {done.bounded_by}, which has no more yet",
        WhyKept.LAST: "bounded by the log's last entry, which always stays",
    }.get(done.why_kept, "as asked")
    forgotten = (
        f"; {counted(done.subjects, 'subject')} {'would be ' if done.dry_run else ''}forgotten"
        if done.subjects
        else ""
    )
    return f"{counted(done.freed, 'entry')} {would}{memory}{forgotten}; {left}: {bound}"


def _describe_unseen(reader: UnseenReader) -> str:
    return (
        f"Reader {reader.name}, at {reader.position}, was last seen at {reader.seen_at:%Y-%m-%d %H:%M:%S} UTC. "
        f"Start it; or, if it is gone for good, remove it by hand: eventlog readers remove {reader.name}"
    )
