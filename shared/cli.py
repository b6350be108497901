"""The commands every service has: those that run it here, those that look after it in the files beside."""

from __future__ import annotations

import os
import sys

import click

from eventlog.commands.common import Command, OneLineErrors, json_option, version_option
from eventlog.doctor.findings import Finding
from eventlog.doctor.report import report
from eventlog.tail import run_tail
from shared.backup_commands import backup, restore_file
from shared.doctor import as_running, examine_service, follower_of_service
from shared.generation_commands import generations, rollback
from shared.openapi_command import openapi
from shared.parked_commands import parked
from shared.rebuild_commands import rebuild, verify
from shared.replay_commands import as_of, replay, what_if
from shared.service import Service, pass_service
from shared.settings import InvalidSettings

# Measured: docs/decisions/020-what-a-worker-takes-on.md
WORKERS = max(2, min(4, len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1))

# A worker that is told to stop while it starts may miss it, and one with a slow client waits for that client.
_STOP_WITHIN_S = 8  # before supervisors lose patience, mostly after 10 s


class _ServiceCommands(OneLineErrors):
    known = (*OneLineErrors.known, InvalidSettings)
    interrupted = "what is served is as it was"


@click.command(cls=Command, examples=[""])
@pass_service
def serve(service: Service) -> None:
    """Answer HTTP until SIGTERM or Ctrl-C."""
    from granian import Granian  # noqa: PLC0415  # a tail would wait for it as well
    from granian.constants import Interfaces  # noqa: PLC0415

    from shared.admission import THREADS  # noqa: PLC0415  # only what answers HTTP imports Flask

    settings = service.read_settings()
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


@click.command(cls=Command, examples=[""])
@pass_service
def tail(service: Service) -> None:
    """Follow the log into the projection until SIGTERM or Ctrl-C."""
    from shared.telemetry import configure_logging  # noqa: PLC0415  # structlog takes 0.07 s to import

    configure_logging(f"{service.name}-tail")
    run_tail(service.connect(), service.directory, service.projection)


@click.command(cls=Command, examples=["", "--json"])
@json_option
@pass_service
def doctor(service: Service, as_json: bool) -> None:
    """Say what is wrong with this service, its projection and its tail, with the mend; change nothing.

    `eventlog doctor` looks at the log and the machine. Exit code 0: no problem, though there may be warnings.
    3: a problem. 1: it could not look at all.
    """
    settings = service.read_settings()
    follower = follower_of_service(settings, service.name, service.projection)
    settings = as_running(settings, follower)

    def examine() -> list[Finding]:
        return examine_service(settings, follower, service.connect()) + service.examine(settings)

    report(examine, as_document=as_json)


_COMMANDS = (
    doctor,
    serve,
    tail,
    parked,
    rebuild,
    verify,
    rollback,
    generations,
    as_of,
    what_if,
    replay,
    backup,
    restore_file,
    openapi,
)


def make_commands(service: Service) -> click.Group:
    """The group `customers` or `accounts`; a service adds its own commands to it."""

    @click.group(name=service.name, cls=_ServiceCommands, examples=["doctor", "rebuild --switch-if-equal"])
    @version_option
    @click.pass_context
    def main(context: click.Context) -> None:
        """Run and look after one service; README.md lists the variables it reads."""
        context.obj = service

    for command in _COMMANDS:
        main.add_command(command)
    return main
