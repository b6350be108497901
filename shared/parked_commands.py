"""The commands about entries that a projection set aside."""

from __future__ import annotations

import click

from eventlog.commands.common import CommandGroup, json_option, print_json
from eventlog.commands.parked import (
    acknowledge_or_exit,
    describe_parked,
    list_all_parked,
    parked_as_json,
    say_acknowledged,
)
from shared.service import Service, pass_service


@click.group(cls=CommandGroup, examples=["list", "acknowledge"])
def parked() -> None:
    """Entries the projection set aside."""


@parked.command("list", examples=["", "--json"])
@json_option
@pass_service
def list_parked(service: Service, as_json: bool) -> None:
    """Print each parked entry: position, type, reason, and whether somebody acknowledged it."""
    found = list(list_all_parked(service.reader()))
    if as_json:
        print_json([parked_as_json(entry) for entry in found])
        return
    for entry in found:
        click.echo(describe_parked(entry))


@parked.command("acknowledge", examples=[""])
@json_option
@pass_service
def acknowledge(service: Service, as_json: bool) -> None:
    """Mark all that is parked now as seen. What is served does not change."""
    with service.reader().look() as look:
        up_to = look.checkpoint.sequence
        new = look.count_unacknowledged()
    if new:
        acknowledge_or_exit(service.directory, service.projection, up_to)
    say_acknowledged(new, as_json=as_json)
