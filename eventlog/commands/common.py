"""What all operators' commands share: which log is meant, errors in one line, Ctrl-C, and JSON."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec

import click
import msgspec
from click.core import ParameterSource

from eventlog.archiving import ARCHIVE_NAME
from eventlog.codec import Codec
from eventlog.errors import EventLogError
from eventlog.log import DEFAULT_STREAM, EventLog

_PRIVATE_REDIS_PORT = 16379
# Exit codes, beside 0 for done and 1 for refused or failed.
NOT_YET: Final = 2  # what was asked is not done, and nothing is wrong
DIFFERENT: Final = 3  # something differs or was found, as diff says it
INTERRUPTED: Final = 130  # as shells say it of a program that Ctrl-C ended

P = ParamSpec("P")


class OneLineErrors(click.Group):
    """What goes wrong for a reason we know is one line with the mend, and exit code 1; Ctrl-C is 130."""

    known: tuple[type[Exception], ...] = (EventLogError, OSError, sqlite3.Error)
    interrupted = "nothing is half done"

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # `| head` has seen enough. What is left in the buffer must not be tried again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)
        except KeyboardInterrupt:
            click.echo(f"Interrupted: {self.interrupted}.", err=True)
            ctx.exit(INTERRUPTED)
        except self.known as problem:
            raise click.ClickException(str(problem)) from problem


class Place(NamedTuple):
    """The log a command is about, and where the projections lie that follow it."""

    log: EventLog
    data_dir: Path

    @property
    def archive(self) -> Path:
        """The file of the archive."""
        return self.data_dir / ARCHIVE_NAME


def at_the_log(command: Callable[Concatenate[Place, P], None]) -> Callable[..., None]:
    """Give a command the options that say which log, and call it with the Place first; the log is closed behind it."""

    @click.option(
        "--redis-url", envvar="REDIS_URL", default="", help="[env REDIS_URL] Default: the private server."
    )
    @click.option("--redis-port", envvar="REDIS_PORT", default=_PRIVATE_REDIS_PORT, help="[env REDIS_PORT]")
    @click.option(
        "--stream",
        envvar="EVENT_STREAM",
        default=DEFAULT_STREAM,
        show_default=True,
        help="[env EVENT_STREAM]",
    )
    @click.option(
        "--data-dir",
        envvar="DATA_DIR",
        default="./var",
        show_default=True,
        type=click.Path(path_type=Path, file_okay=False),
        help="[env DATA_DIR] Where projections and archive lie.",
    )
    @wraps(command)
    def connected(*, redis_url: str, redis_port: int, stream: str, data_dir: Path, **options: Any) -> None:
        try:
            log = EventLog.connect(
                redis_url or f"redis://127.0.0.1:{redis_port}",
                Codec([]),
                stream,
                archive=data_dir / ARCHIVE_NAME,
            )
        except ValueError as problem:
            raise click.ClickException(
                f"REDIS_URL cannot be read ({problem}): set it to redis://[user:password@]host[:port][/database]"
            ) from problem
        with closing(log):
            command(Place(log, data_dir), **options)  # type: ignore[call-arg]  # click gives what it was told of

    return connected


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")


def is_for_subcommand() -> bool:
    """Whether a group that lists by itself was called for one of its commands; UsageError for options in between."""
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        return False
    if any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in context.params):
        raise click.UsageError(f"Give options behind `{context.invoked_subcommand}`.")
    return True


def checked_by(parse: Callable[[str], Any]) -> Callable[..., Any]:
    """The callback of an option whose text `parse` turns into a value, or finds wrong with a ValueError."""

    def check(_context: click.Context, _option: click.Parameter, text: str | None) -> Any:
        try:
            return None if text is None else parse(text)
        except ValueError as problem:
            raise click.BadParameter(str(problem)) from problem

    return check


def print_json(document: Any) -> None:
    click.echo(msgspec.json.encode(document))
