"""`eventlog tail`: the stream as it is, whatever wrote it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import click
import msgspec

from eventlog.archive_reader import ArchiveReader
from eventlog.checkpoints import Checkpoint
from eventlog.codec import Entry
from eventlog.commands.common import Command, Place, at_the_log, checked_by
from eventlog.continuity import find_divergence
from eventlog.errors import LogUnavailable
from eventlog.log import EventLog
from eventlog.mends import wrong_log
from eventlog.moments import NamedMoment, first_since, parse_moment, time_of
from eventlog.position import START, Position
from eventlog.shown_entries import ShownEvent, ShownRaw, read_entry

_CHUNK = 1000
_SHOWN_AT_FIRST = 10
_WAKE_EVERY_MS = 1000
_PAUSE_S = 1.0
_SUBJECT = re.compile(r"([a-z][a-z0-9_]*)-([0-9A-Za-z_.:-]+)", re.ASCII)


class Subject(NamedTuple):
    """`customer-7`: what has a `customer_id` of 7, and `Customer…` events whose `id` is 7."""

    kind: str
    id: str

    @classmethod
    def parse(cls, text: str) -> Subject:
        found = _SUBJECT.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no subject: expected one like customer-7")
        return cls(found[1], found[2])

    def concerns(self, event_type: str, payload: dict[str, Any]) -> bool:
        named = payload.get(f"{self.kind}_id")
        if event_type.startswith(self.kind.title().replace("_", "")):
            return self.id in {str(named), str(payload.get("id"))}
        return str(named) == self.id


class Wanted(NamedTuple):
    """Which entries are shown; no types means all."""

    types: frozenset[str]
    subject: Subject | None

    def includes(self, shown: ShownEvent | ShownRaw) -> bool:
        """What cannot be read is shown only where all is wanted."""
        if not self.types and self.subject is None:
            return True
        if isinstance(shown, ShownRaw) or (self.types and shown.type not in self.types):
            return False
        return self.subject is None or self.subject.concerns(shown.type, msgspec.json.decode(shown.payload))


@click.command(
    cls=Command, examples=["--follow", "--type InvoiceCreated --since 10m", "--subject customer-7 --json"]
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is published, until Ctrl-C.")
@click.option(
    "--type", "types", multiple=True, metavar="TYPE", help="Only events of this type; may be repeated."
)
@click.option(
    "--subject",
    callback=checked_by(Subject.parse),
    help="Only what concerns it: customer-7 is a customer_id of 7, or an id of 7 in events named Customer….",
)
@click.option(
    "--since",
    metavar="MOMENT",
    callback=checked_by(parse_moment),
    help="Only from there on: 2026-10-01, 2026-10-01T12:00Z, a position, or 10m for ten minutes ago.",
)
@click.option(
    "-n",
    "count",
    metavar="COUNT",
    type=click.IntRange(min=0),
    help="Only the last COUNT of what is chosen. [default: 10, all with --since]",
)
@click.option("--json", "as_json", is_flag=True, help="A JSON document a line.")
@at_the_log
def tail(
    place: Place,
    *,
    follow: bool,
    types: tuple[str, ...],
    subject: Subject | None,
    since: NamedMoment | None,
    count: int | None,
    as_json: bool,
) -> None:
    """Show the stream as it is: time, position, sequence, type and payload of each entry.

    With --keys-file what its signature does not prove is marked; copies are not told from originals.
    With -f, a log that is replaced meanwhile is an error (exit code 1), and Ctrl-C is how it ends (0).
    """
    wanted = Wanted(frozenset(types), subject)
    log = place.log
    checkpoint = _begin(log)
    first = START if since is None else first_since(since, log)
    try:
        if count is None and since is None:
            count = _SHOWN_AT_FIRST
        if count is not None:
            last, checkpoint = _last_entries(place, checkpoint, wanted, first, count)
            _print(last, as_json)
            if not follow:
                return
        else:
            checkpoint = checkpoint._replace(position=first.previous())
        for entries in _entries_behind(log, checkpoint, follow):
            found = (_show(log, checkpoint.log_id, entry) for entry in entries)
            _print(filter(wanted.includes, found), as_json)
    except KeyboardInterrupt:
        if not follow:
            raise


def _begin(log: EventLog) -> Checkpoint:
    """At the log's start; WrongLog if there is none."""
    snapshot = log.snapshot(START, 1)
    checkpoint = Checkpoint("tail", 1, snapshot.state.log_id or "")
    divergence = find_divergence(checkpoint, snapshot)
    if divergence is not None:
        raise wrong_log(divergence, checkpoint)
    return checkpoint


def _show(log: EventLog, log_id: str, entry: Entry) -> ShownEvent | ShownRaw:
    return read_entry(entry, log.why_unproven(entry, log_id))


def _last_entries(
    place: Place, checkpoint: Checkpoint, wanted: Wanted, first: Position, count: int
) -> tuple[list[ShownEvent | ShownRaw], Checkpoint]:
    """The last that are wanted, the oldest first, and the checkpoint at the log's end they were looked for from."""
    newest = place.log.read_back(count=1)
    if newest:
        checkpoint = checkpoint._replace(position=newest[0].position, digest=newest[0].digest())
    found: list[ShownEvent | ShownRaw] = []
    back = chain.from_iterable(_chunks_back(place, checkpoint.position, first))
    while len(found) < count and (entry := next(back, None)) is not None and entry.position >= first:
        shown = _show(place.log, checkpoint.log_id, entry)
        if wanted.includes(shown):
            found.append(shown)
    return found[::-1], checkpoint


def _chunks_back(place: Place, up_to: Position, first: Position) -> Iterator[list[Entry]]:
    """To the log's start, the newest entry first; what was trimmed is read from the archive."""
    while chunk := place.log.read_back(up_to, _CHUNK):
        yield chunk
        up_to = chunk[-1].position.previous()
    snapshot = place.log.snapshot(START, 1)
    unread = snapshot.why_unread(first.previous())
    if unread:
        click.echo(f"older entries are not shown: {unread}", err=True)
    if unread or not snapshot.state.trimmed:
        return
    archive = ArchiveReader(place.archive)
    while chunk := archive.read_back(up_to, _CHUNK):
        yield chunk
        up_to = chunk[-1].position.previous()


def _entries_behind(log: EventLog, checkpoint: Checkpoint, follow: bool) -> Iterator[list[Entry]]:
    """Batch by batch, each once, in order; without `follow` up to the end.

    WrongLog once the log is not the one that was read so far.
    """
    away = told = False
    while True:
        try:
            snapshot = log.snapshot(checkpoint.position, _CHUNK)
            unread = snapshot.why_unread(checkpoint.position)
            if unread and not told:
                click.echo(f"older entries are not shown: {unread}", err=True)
                told = True
            # Where it began behind a position that was only asked for, there need be no entry.
            seen = checkpoint if checkpoint.digest else checkpoint._replace(position=START)
            divergence = find_divergence(seen, snapshot)
            if divergence is not None:
                raise wrong_log(divergence, checkpoint)
            away = False
            if snapshot.entries:
                last = snapshot.entries[-1]
                checkpoint = checkpoint._replace(position=last.position, digest=last.digest())
                yield snapshot.entries
            elif follow:
                log.wait(checkpoint.position, _WAKE_EVERY_MS)
            if snapshot.reached_end and not follow:
                return
        except LogUnavailable as problem:
            if not follow:
                raise
            if not away:
                click.echo(f"{problem}; trying again", err=True)
            away = True
            time.sleep(_PAUSE_S)


def _print(entries: Iterable[ShownEvent | ShownRaw], as_json: bool) -> None:
    for shown in entries:
        click.echo(msgspec.json.encode(shown) if as_json else pretty(shown))


def pretty(shown: ShownEvent | ShownRaw) -> str:
    """One line for a terminal; what is not proven says so at its end."""
    doubt = "" if not shown.unproven else click.style(f"  parked: {shown.unproven}", fg="red")
    return f"{_pretty(shown)}{doubt}"


def _pretty(shown: ShownEvent | ShownRaw) -> str:
    position = Position.parse(shown.position)
    when = click.style(f"{time_of(position):%Y-%m-%d %H:%M:%S.%f}"[:-3], dim=True)
    if isinstance(shown, ShownRaw):
        return f"{when}  {position}  {click.style(_harmless(f'{shown.reason}: {shown.fields}'), fg='red')}"
    sequence = "-" if shown.sequence is None else shown.sequence
    event_type = click.style(_harmless(shown.type), fg="cyan")
    return f"{when}  {position}  {sequence}  {event_type}  {_harmless(bytes(shown.payload).decode())}"


def _harmless(text: str) -> str:
    """In one line, and without what a terminal would obey: anybody may write to the stream."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
