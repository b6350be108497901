"""`eventlog parked`: entries that projections set aside, for whoever knows no service."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from eventlog.commands.common import (
    NOT_YET,
    CommandGroup,
    Place,
    at_the_log,
    is_for_subcommand,
    json_option,
    print_json,
)
from eventlog.errors import NotBuilt
from eventlog.found_projections import FoundProjection, find_projections
from eventlog.parking import Parked
from eventlog.projection import Projection
from eventlog.projection_reader import ProjectionReader
from eventlog.subscription import reader_name
from eventlog.tail import acknowledge_parked

_ACKNOWLEDGE_WAIT_S = 10.0


@click.group(cls=CommandGroup, invoke_without_command=True, examples=["--json", "acknowledge revenue"])
@json_option
@at_the_log
def parked(place: Place, as_json: bool) -> None:
    """List what each projection below the data directory set aside: position, type, reason, whether it was seen."""
    if is_for_subcommand():
        return
    found = [
        (projection, entry)
        for projection in find_projections(place.data_dir)
        for entry in list_all_parked(ProjectionReader(projection.home.parent, _projection(projection)))
    ]
    if as_json:
        print_json([_described(projection, entry) for projection, entry in found])
        return
    for projection, entry in found:
        click.echo(f"{_named(projection)}  {describe_parked(entry)}")
    if not found:
        click.echo(f"Nothing is parked by any projection below {place.data_dir} (DATA_DIR).", err=True)


@parked.command(examples=["revenue"])
@click.argument("name")
@json_option
@at_the_log
def acknowledge(place: Place, name: str, as_json: bool) -> None:
    """Mark all that projection NAME has parked now as seen. What is served does not change."""
    found = [each for each in find_projections(place.data_dir) if each.checkpoint.projection == name]
    if not found:
        raise NotBuilt(f"no projection {name} is served below {place.data_dir}: `eventlog status` lists them")
    for each in found:
        if each.unacknowledged:
            acknowledge_or_exit(each.home.parent, _projection(each), each.checkpoint.sequence)
        if not as_json:
            click.echo(f"{_named(each)}: {each.unacknowledged} acknowledged")
    if as_json:
        say_acknowledged(sum(each.unacknowledged for each in found), as_json=True)


def list_all_parked(reader: ProjectionReader) -> Iterator[Parked]:
    """Page by page, each in a look of its own."""
    after = 0
    while True:
        with reader.look() as look:
            page = look.list_parked(after=after)
        if not page:
            return
        yield from page
        after = page[-1].sequence


def describe_parked(entry: Parked) -> str:
    """One line of a list."""
    seen = "acknowledged" if entry.acknowledged_at else "new"
    return f"{entry.position}  {entry.event_type or '?'}  {entry.reason}  [{seen}]"


def parked_as_json(entry: Parked) -> dict[str, Any]:
    return {**entry._asdict(), "position": str(entry.position)}


def acknowledge_or_exit(directory: Path, projection: Projection, up_to_sequence: int) -> None:
    """Exit code 2 where the tail does not do it in time."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    if not acknowledge_parked(directory, projection, up_to_sequence, at, _ACKNOWLEDGE_WAIT_S):
        click.echo("The tail is busy; it will acknowledge them when it can.", err=True)
        sys.exit(NOT_YET)


def say_acknowledged(count: int, *, as_json: bool) -> None:
    if as_json:
        print_json({"acknowledged": count})
    else:
        click.echo(f"{count} acknowledged")


def _named(found: FoundProjection) -> str:
    """Each version has parked for itself."""
    return reader_name(_projection(found))


def _projection(found: FoundProjection) -> Projection:
    """Its own code alone knows its tables and handlers; what is parked needs neither."""
    return Projection(found.checkpoint.projection, found.checkpoint.version, ())


def _described(found: FoundProjection, entry: Parked) -> dict[str, Any]:
    which = {"projection": found.checkpoint.projection, "version": found.checkpoint.version}
    return {**which, **parked_as_json(entry)}
