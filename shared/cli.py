"""The commands every service has: those that run it here, those that look after it in the files beside."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from typing import Final

import click

from eventlog.commands.common import Command, OneLineErrors, json_option, version_option
from eventlog.doctor.findings import Finding
from eventlog.doctor.report import report
from eventlog.errors import NotBuilt
from eventlog.tail import run_tail
from shared.backup_commands import backup, restore_file
from shared.doctor import as_running, examine_service, follower_of_service
from shared.generation_commands import generations, rollback
from shared.openapi_command import openapi
from shared.own_port import take_port
from shared.parked_commands import parked
from shared.rebuild_commands import rebuild, verify
from shared.replay_commands import as_of, replay, what_if
from shared.service import Service, pass_service
from shared.settings import InvalidSettings
from shared.tracing import start_tracing

# Measured: docs/decisions/020-what-a-worker-takes-on.md
WORKERS = max(2, min(4, len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1))

MOST_CONNECTIONS: Final = 4096  # of a worker; those beyond wait until one ends
_BACKLOG: Final = (
    4096  # connections that no worker has taken yet; Linux takes no more than net.core.somaxconn
)
_HEADERS_WITHIN_MS: Final = 30_000  # of a request; as long may a connection be idle
_LARGEST_HEADERS_BYTES: Final = 32 * 1024  # and the request line; the server takes 100 headers

# A worker that is told to stop while it starts may miss it, and one with a slow client waits for that client.
_STOP_WITHIN_S = 8  # before supervisors lose patience, mostly after 10 s


class _ServiceCommands(OneLineErrors):
    known = (*OneLineErrors.known, InvalidSettings)
    interrupted = "what is served is as it was"


@click.command(cls=Command, examples=["", "--check"])
@click.option("--check", is_flag=True, help="Only say whether it may start.")
@pass_service
def serve(service: Service, check: bool) -> None:
    """Answer HTTP until SIGTERM or Ctrl-C; refuse to with a key or a password that others may have.

    And without EVENT_KEYS_FILE where the log is signed: what it published would be parked; and on a taken port.
    """
    settings = service.read_safe_settings()
    if check:
        return
    from granian import Granian  # noqa: PLC0415  # a tail would wait for it as well
    from granian.constants import HTTPModes, Interfaces  # noqa: PLC0415
    from granian.http import HTTP1Settings  # noqa: PLC0415

    from eventlog.process_log import configure_logging  # noqa: PLC0415  # structlog takes 0.07 s to import
    from shared.admission import THREADS  # noqa: PLC0415  # only what answers HTTP imports Flask
    from shared.connections import allow_connections  # noqa: PLC0415

    configure_logging(service.name)
    port = service.port(settings)
    server = Granian(
        service.worker,
        factory=True,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,  # what a client of HTTP/2 does not take, shared/connections.py cannot see
        address=settings.host,
        port=port,
        workers=WORKERS,
        blocking_threads=THREADS,
        backlog=_BACKLOG,
        backpressure=allow_connections(MOST_CONNECTIONS),
        http1_settings=HTTP1Settings(
            header_read_timeout=_HEADERS_WITHIN_MS, max_buffer_size=_LARGEST_HEADERS_BYTES
        ),
        respawn_failed_workers=True,
        workers_kill_timeout=_STOP_WITHIN_S,
        websockets=False,
        log_dictconfig={"formatters": {}, "handlers": {}, "loggers": {"_granian": {}}},  # to ours
    )
    with take_port(settings.host, port, f"{service.name.upper()}_PORT"):
        server.serve()


@click.command(cls=Command, examples=[""])
@pass_service
def tail(service: Service) -> None:
    """Follow the log into the projection until SIGTERM or Ctrl-C."""
    from eventlog.process_log import adding_position, configure_logging  # noqa: PLC0415  # structlog takes 0.07 s
    from shared.batches_seen import seeing_batches  # noqa: PLC0415  # prometheus_client as well
    from shared.metrics import TailMetrics  # noqa: PLC0415  # likewise

    configure_logging(f"{service.name}-tail", adding_position(_applied_to(service)))
    metrics = TailMetrics(service.read_settings().metrics_directory(service.name))
    spans = start_tracing(f"{service.name}-tail", os.environ)
    try:
        run_tail(
            service.connect(),
            service.directory,
            service.projection,
            on_applied=seeing_batches(metrics, spans.of_batch if spans else None),
        )
    finally:
        if spans is not None:
            spans.end()  # not left to the exit itself, during which Python 3.12 begins no thread


def _applied_to(service: Service) -> Callable[[], str | None]:
    """How to find out how far what is served is."""
    reader = service.reader()

    def find_position() -> str | None:
        try:
            with reader.look() as look:
                return str(look.checkpoint.position)
        except (NotBuilt, sqlite3.Error):
            return None

    return find_position


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
