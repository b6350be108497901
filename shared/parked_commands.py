"""The commands about entries that a projection set aside."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import click

from eventlog.commands.common import json_option, print_json
from eventlog.parking import Parked
from eventlog.tail import acknowledge_parked
from shared.command_output import NOT_YET
from shared.service import Service, pass_service

_ACKNOWLEDGE_WAIT_S = 10.0


@click.group()
def parked() -> None:
    """Entries the projection set aside."""


@parked.command("list")
@json_option
@pass_service
def list_parked(service: Service, as_json: bool) -> None:
    """Print each parked entry: position, type, reason, and whether somebody acknowledged it."""
    reader = service.reader()
    found: list[Parked] = []
    while True:
        with reader.look() as look:
            page = look.list_parked(after=found[-1].sequence if found else 0)
        if not page:
            break
        found += page
    if as_json:
        print_json([{**entry._asdict(), "position": str(entry.position)} for entry in found])
        return
    for entry in found:
        seen = "acknowledged" if entry.acknowledged_at else "new"
        click.echo(f"{entry.position}  {entry.event_type or '?'}  {entry.reason}  [{seen}]")


@parked.command("acknowledge")
@json_option
@pass_service
def acknowledge(service: Service, as_json: bool) -> None:
    """Mark all that is parked now as seen. What is served does not change."""
    with service.reader().look() as look:
        up_to = look.checkpoint.sequence
        new = look.count_unacknowledged()
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    if new and not acknowledge_parked(service.directory, service.projection, up_to, at, _ACKNOWLEDGE_WAIT_S):
        click.echo("The tail is busy; it will acknowledge them when it can.", err=True)
        sys.exit(NOT_YET)
    if as_json:
        print_json({"acknowledged": new})
    else:
        click.echo(f"{new} acknowledged")
