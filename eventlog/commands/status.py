"""`eventlog status`: the log at a glance."""

from __future__ import annotations

from collections.abc import Iterator

import click

from eventlog.archive_status import AWAY, ArchiveStatus, describe_archive
from eventlog.commands.common import Command, Place, at_the_log, json_option, print_json
from eventlog.commands.readers import describe_readers
from eventlog.counted import counted
from eventlog.log_status import EntryStatus, LogStatus, MemoryStatus, describe_log
from eventlog.position import Position
from eventlog.projection import Projection
from eventlog.reader_status import ReaderStatus
from eventlog.subscription import reader_name
from eventlog.tail_status import NO_TAIL


@click.command(cls=Command, examples=["", "--json"])
@json_option
@at_the_log
def status(place: Place, as_json: bool) -> None:
    """Show the log: its length and memory, its archive, its readers and their lag, what projections parked.

    Exit code 1 where there is no log, or Redis is away.
    """
    found = describe_log(place.log, place.data_dir)
    if as_json:
        print_json(found)
        return
    for line in _describe(found):
        click.echo(line)


def _describe(found: LogStatus) -> Iterator[str]:
    memory = found.memory
    weak = ", ".join(f"{name} is {value!r}" for name, value in found.weak_settings.items())
    yield f"log         {found.log_id} on stream {found.stream}"
    yield f"length      {counted(found.length, 'entry')} in Redis; the last of its own is number {found.sequence:,}"
    if found.missing:
        yield f"missing     {found.missing:,} of the entries that it counted"
    in_archive = found.first and Position.parse(found.first.position) < Position.parse(found.trimmed_to)
    yield f"first       {_describe_entry(found.first)}{', in the archive' if in_archive else ''}"
    yield f"last        {_describe_entry(found.last)}"
    yield f"trimmed     {counted(found.trimmed, 'entry')}, all below {found.trimmed_to}"
    yield f"floor       {found.floor}"
    yield f"durability  {found.durability}{f': {weak}' if weak else ''}"
    yield (
        f"memory      stream {_describe_bytes(memory.stream)}, subjects {_describe_bytes(memory.subjects)}, "
        f"{_describe_records(memory)}"
    )
    yield f"archive     {_describe_archive(found.archive)}"
    for reader, line in zip(found.readers, describe_readers(found.readers), strict=True):
        yield f"reader      {line}{_not_told(found, reader)}"
    for projection in found.projections:
        parked = f"{projection.parked_unacknowledged:,} new of {projection.parked:,} parked"
        other = "" if projection.log_id in {"", found.log_id} else f"; of another log, {projection.log_id}"
        yield (
            f"projection  {projection.projection} version {projection.version} at {projection.position}: {parked}; "
            f"{projection.home}{other}"
        )


def _describe_archive(archive: ArchiveStatus | None) -> str:
    """With the mend, where what it says of itself does not have it."""
    if archive is None:
        return "none: nothing can be trimmed"
    mend = f": {archive.mend}" if archive.state in {AWAY, *NO_TAIL} else ""
    return f"{describe_archive(archive)}{mend}"


def _not_told(found: LogStatus, reader: ReaderStatus) -> str:
    """Where its file is further than the log knows: it tells once a second, and one that is killed tells no more."""
    for projection in found.projections:
        name = reader_name(Projection(projection.projection, projection.version, ()))
        told, applied = Position.parse(reader.position), Position.parse(projection.position)
        if name == reader.name and projection.log_id == found.log_id and applied > told:
            return f"; its file is further, at {applied}, which it has not told yet"
    return ""


def _describe_entry(entry: EntryStatus | None) -> str:
    return f"{entry.position}  {entry.at:%Y-%m-%d %H:%M:%S} UTC" if entry else "none"


def _describe_records(memory: MemoryStatus) -> str:
    if memory.command_record_count is None:
        return "command records not counted: this user of Redis may not SCAN; operator may"
    return f"{counted(memory.command_record_count, 'command record')} about {_describe_bytes(memory.command_records)}"


def _describe_bytes(size: int | None) -> str:
    if size is None:
        return "unknown"
    return f"{size / 1024**2:,.1f} MiB"
