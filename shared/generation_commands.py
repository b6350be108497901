"""The commands about what was built before: list it, serve it again, delete it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import click

from eventlog import Projection
from eventlog.commands.common import Command, CommandGroup, json_option, print_json
from eventlog.errors import EventLogError
from eventlog.generations import remove_version
from eventlog.progress import progress
from eventlog.rebuild import catch_up, rebuild_name
from eventlog.subscription import reader_name
from shared.built_generations import BuiltGeneration, list_generations, require_previous
from shared.command_output import describe_moment
from shared.rebuild_commands import switch_or_exit
from shared.service import Service, pass_service


@click.command(cls=Command, examples=[""])
@json_option
@pass_service
def rollback(service: Service, as_json: bool) -> None:
    """Catch up the generation that was served before, then serve it again. Twice is back again."""
    _serve(service, require_previous(service.name, service.generations), as_json)


@click.group(cls=CommandGroup, invoke_without_command=True, examples=["", "switch 1", "prune"])
@json_option
@click.pass_context
def generations(context: click.Context, as_json: bool) -> None:
    """List what was built: version and number, which is served, how large and how far it is."""
    if context.invoked_subcommand is not None:
        return
    service = context.find_object(Service)
    assert service is not None  # nosec B101  # noqa: S101  # the group it is in has one
    found = list(list_generations(service.directory, service.projection))
    if as_json:
        print_json(found)
        return
    several = len({each.version for each in found}) > 1
    for version, theirs in groupby(found, key=attrgetter("version")):
        if several:
            whose = "this code" if version == service.projection.version else "other code"
            click.echo(f"version {version}, of {whose}, which serves its own:")
        _print_generations(theirs)


def _print_generations(found: Iterable[BuiltGeneration]) -> None:
    for each in found:
        since = f"  begun {each.begun_at}" if each.begun_at else ""
        click.echo(
            f"v{each.version} {each.generation:>4}  {each.state:<10} {each.bytes:>13,} bytes  "
            f"number {each.sequence} at {each.position}{since}"
        )


@generations.command("switch", examples=["1"])
@click.argument("number", type=int)
@json_option
@pass_service
def switch_to(service: Service, number: int, as_json: bool) -> None:
    """Catch up a generation of this version, then serve it."""
    _serve(service, service.generations.find(number), as_json)


@generations.command(examples=["", "--version 1"])
@click.option("--version", type=int, help="Delete all of another version, which no tail follows any more.")
@json_option
@pass_service
def prune(service: Service, version: int | None, as_json: bool) -> None:
    """Delete what is neither served, nor what a rollback would return to, nor being built."""
    if version is None:
        pruned = service.generations.prune()
        deleted = [str(path) for path in pruned]
        for path in pruned:  # one that was killed while it was built is known still
            _forget_reader(service, rebuild_name(service.projection, path))
    elif version == service.projection.version:
        raise click.UsageError(f"version {version} is what this code serves: prune without --version")
    else:
        deleted = [str(remove_version(service.directory, version))]
        _forget_reader(service, reader_name(Projection(service.projection.name, version, ())))
    if as_json:
        print_json({"deleted": deleted})
    else:
        click.echo("\n".join(f"deleted {path}" for path in deleted) or "nothing to delete")


def _forget_reader(service: Service, name: str) -> None:
    """What it had not read yet need not be kept for it any more."""
    try:
        service.connect().readers.remove(name)
    except EventLogError as problem:
        click.echo(
            f"{problem}. The log still keeps what {name} has not read: `eventlog readers remove {name}`",
            err=True,
        )


def _serve(service: Service, generation: Path, as_json: bool) -> None:
    with progress(f"catching up generation {generation.name}") as on_progress:
        catch_up(service.connect(), service.directory, service.projection, generation, on_progress)
    switch_or_exit(service, generation)
    with service.reader().look() as look:
        served = look.checkpoint
    if as_json:
        print_json({"generation": int(generation.name), "version": served.version, **describe_moment(served)})
    else:
        click.echo(
            f"generation {generation.name} of {service.projection.name} is served, as of {served.position}"
        )
