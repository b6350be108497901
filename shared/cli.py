"""The commands every service has: serve, tail, parked."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

import click
from granian import Granian
from granian.constants import Interfaces

from eventlog import EventLog, EventLogError, Projection, ProjectionReader
from eventlog.tail import acknowledge_parked, run_tail
from shared.events import make_codec
from shared.settings import InvalidSettings, Settings
from shared.telemetry import configure_logging

# Measured on two cores: more workers or threads only wait for each other (docs/decisions).
WORKERS = 2
THREADS = 16

# A worker that is told to stop while it starts may miss it, and one with a slow client waits for that client.
_STOP_WITHIN_S = 8  # before supervisors lose patience, mostly after 10 s
_ACKNOWLEDGE_WAIT_S = 10.0


class Service(NamedTuple):
    """What the commands of a service differ in."""

    name: str
    projection: Projection
    worker: str
    port: Callable[[Settings], int]


class OneLineErrors(click.Group):
    """What goes wrong for a reason we know is one line with the mend, and exit code 1."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (EventLogError, InvalidSettings, OSError) as problem:
            raise click.ClickException(str(problem)) from problem


def make_commands(service: Service) -> click.Group:
    """The group `customers` or `accounts`; a service adds its own commands to it."""

    @click.group(name=service.name, cls=OneLineErrors)
    def main() -> None:
        """Run and look after one service; README.md lists the variables it reads."""

    @main.command()
    def serve() -> None:
        """Answer HTTP until SIGTERM or Ctrl-C."""
        settings = Settings.from_environment(os.environ)
        settings.require_secret()
        Granian(
            service.worker,
            factory=True,
            interface=Interfaces.WSGI,
            address=settings.host,
            port=service.port(settings),
            workers=WORKERS,
            blocking_threads=THREADS,
            respawn_failed_workers=True,
            workers_kill_timeout=_STOP_WITHIN_S,
            websockets=False,
        ).serve()

    @main.command()
    def tail() -> None:
        """Follow the log into the projection until SIGTERM or Ctrl-C."""
        configure_logging(f"{service.name}-tail")
        settings = Settings.from_environment(os.environ)
        log = EventLog.connect(settings.redis_url, make_codec(), settings.stream)
        run_tail(log, settings.projection_directory(service.name, service.projection), service.projection)

    @main.group()
    def parked() -> None:
        """Entries the projection set aside."""

    @parked.command("list")
    def list_parked() -> None:
        """Print each parked entry: position, type, reason, and whether somebody acknowledged it."""
        settings = Settings.from_environment(os.environ)
        reader = ProjectionReader(
            settings.projection_directory(service.name, service.projection), service.projection
        )
        after = 0
        while True:
            with reader.look() as look:
                page = look.list_parked(after=after)
            for entry in page:
                seen = "acknowledged" if entry.acknowledged_at else "new"
                click.echo(f"{entry.position}  {entry.event_type or '?'}  {entry.reason}  [{seen}]")
            if not page:
                return
            after = page[-1].sequence

    @parked.command("acknowledge")
    def acknowledge() -> None:
        """Mark all that is parked now as seen. What is served does not change."""
        settings = Settings.from_environment(os.environ)
        directory = settings.projection_directory(service.name, service.projection)
        with ProjectionReader(directory, service.projection).look() as look:
            up_to = look.checkpoint.sequence
            new = look.count_unacknowledged()
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        if new and not acknowledge_parked(directory, service.projection, up_to, at, _ACKNOWLEDGE_WAIT_S):
            click.echo("The tail is busy; it will acknowledge them when it can.", err=True)
            sys.exit(2)
        click.echo(f"{new} acknowledged")

    return main
