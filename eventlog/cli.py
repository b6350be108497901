"""The command `eventlog`, for operators."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import click

from eventlog.codec import Codec
from eventlog.doctor import examine
from eventlog.doctor.report import report
from eventlog.errors import EventLogError
from eventlog.log import DEFAULT_STREAM, EventLog
from eventlog.projection_file import list_remembered_logs

_PRIVATE_REDIS_PORT = 16379


@click.group()
def main() -> None:
    """Look after the log."""


def _with_log_options(command: Callable[..., None]) -> Callable[..., None]:
    """Which log, and where its projections lie: the variables that the services read, as options."""
    for option in (
        click.option(
            "--data-dir",
            envvar="DATA_DIR",
            default="./var",
            show_default=True,
            type=click.Path(path_type=Path, file_okay=False),
            help="[env DATA_DIR] Where the projections lie.",
        ),
        click.option(
            "--stream",
            envvar="EVENT_STREAM",
            default=DEFAULT_STREAM,
            show_default=True,
            help="[env EVENT_STREAM]",
        ),
        click.option(
            "--redis-port", envvar="REDIS_PORT", default=_PRIVATE_REDIS_PORT, help="[env REDIS_PORT]"
        ),
        click.option(
            "--redis-url", envvar="REDIS_URL", default="", help="[env REDIS_URL] Default: the private server."
        ),
    ):
        command = option(command)
    return command


def _connect(redis_url: str, redis_port: int, stream: str) -> EventLog:
    try:
        return EventLog.connect(redis_url or f"redis://127.0.0.1:{redis_port}", Codec([]), stream)
    except ValueError as problem:
        raise click.ClickException(f"REDIS_URL cannot be read: {problem}") from problem


@main.command()
@click.option("--adopt", is_flag=True, help="Make a new log of the entries that are there now.")
@_with_log_options
def init(adopt: bool, redis_url: str, redis_port: int, stream: str, data_dir: Path) -> None:
    """Make the log, once: its id and its empty stream. Harmless when it is there already.

    Refuses, with exit code 1, where a projection under the data directory remembers another log:
    making a new one would leave it stale for ever.
    """
    log = _connect(redis_url, redis_port, stream)
    try:
        log.check_durability()
        if adopt:
            click.echo(f"log {log.create(adopt=True)} on stream {stream}")
            followers = sorted(str(path.parent) for path in list_remembered_logs(data_dir))
            if followers:
                click.echo(f"Now delete {' and '.join(followers)}: their tails rebuild by themselves.")
            return
        existing = log.state().log_id
        strangers = {
            path.parent: remembered
            for path, remembered in list_remembered_logs(data_dir).items()
            if remembered != existing
        }
        if strangers:
            raise click.ClickException(
                f"projections remember a log ({', '.join(sorted(set(strangers.values())))}) that is not what is here "
                f"({existing or 'no log'}): make sure that this is the Redis and the stream you mean (REDIS_URL, "
                "EVENT_STREAM). Then restore the Redis data that held it; or accept what is here: run "
                "`eventlog init --adopt`."
            )
        click.echo(f"log {log.create()} on stream {stream}")
    except EventLogError as problem:
        raise click.ClickException(str(problem)) from problem
    finally:
        log.close()


@main.command()
@click.option("--json", "as_document", is_flag=True, help="One JSON document instead.")
@_with_log_options
def doctor(as_document: bool, redis_url: str, redis_port: int, stream: str, data_dir: Path) -> None:
    """Say what is wrong with the log, its machine and the projections, with the mend; change nothing.

    Exit code 0: nothing found. 3: something found. 1: it could not look at all.
    """
    if not data_dir.is_dir():
        raise click.ClickException(f"there is no directory {data_dir}: set DATA_DIR to that of the services")
    with closing(_connect(redis_url, redis_port, stream)) as log:
        report(lambda: examine(log, data_dir), as_document=as_document)
