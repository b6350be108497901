"""What all operators' commands share: which log is meant, examples, errors in one line, Ctrl-C, and JSON."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec

import click
import msgspec
from click.core import ParameterSource
from click.exceptions import NoArgsIsHelpError

from eventlog.archiving import ARCHIVE_NAME
from eventlog.codec import Codec
from eventlog.errors import OPERATOR, EventLogError, NotLetIn, PermissionMissing, mend_for
from eventlog.log import DEFAULT_STREAM, EventLog
from eventlog.redis_address import RedisAddress

_PRIVATE_REDIS_PORT = 16379
# Exit codes, beside 0 for done and 1 for refused or failed.
NOT_YET: Final = 2  # what was asked is not done, and nothing is wrong
DIFFERENT: Final = 3  # something differs or was found, as diff says it
INTERRUPTED: Final = 130  # as shells say it of a program that Ctrl-C ended

P = ParamSpec("P")


class Command(click.Command):
    """A command whose help ends with examples: what is typed behind its name, in order.

    @click.command(cls=Command, examples=["--keep 7d --dry-run"])
    """

    def __init__(self, *args: Any, examples: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each on a line of its own, whole, so that it can be copied."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    line = f"{ctx.command_path} {example}".rstrip()
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class CommandGroup(Command, click.Group):
    """A group of such commands, with examples of its own."""

    command_class = Command


class OneLineErrors(CommandGroup):
    """What goes wrong for a reason we know is one line with the mend, and exit code 1; wrong usage 2; Ctrl-C 130.

    Colours are for a terminal, and for nobody who set NO_COLOR (https://no-color.org).
    """

    known: tuple[type[Exception], ...] = (EventLogError, OSError, sqlite3.Error)
    interrupted = "nothing is half done"
    group_class = CommandGroup

    def make_context(self, *args: Any, **settings: Any) -> click.Context:
        with _wrong_usage_in_one_line():
            return super().make_context(*args, **settings)

    def invoke(self, ctx: click.Context) -> object:
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        try:
            with _wrong_usage_in_one_line():
                return super().invoke(ctx)
        except BrokenPipeError:  # `| head` has seen enough
            abandon_output()
            ctx.exit(0)
        except KeyboardInterrupt:
            click.echo(f"Interrupted: {self.interrupted}.", err=True)
            ctx.exit(INTERRUPTED)
        except self.known as problem:
            if isinstance(problem, OSError) and not _is_output_taken():
                abandon_output()
            raise click.ClickException(str(problem)) from problem


def abandon_output() -> None:
    """What standard output has not taken is not tried again at exit, which would say so in lines of its own."""
    with suppress(OSError):  # it is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_output_taken() -> bool:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        return False
    return True


class _WrongUsage(click.ClickException):
    exit_code = click.UsageError.exit_code


@contextmanager
def _wrong_usage_in_one_line() -> Iterator[None]:
    """With where to read on, instead of click's three lines."""
    try:
        yield
    except NoArgsIsHelpError:  # its message is the help itself
        raise
    except click.UsageError as wrong:
        path = wrong.ctx.command_path if wrong.ctx else ""
        raise _WrongUsage(f"{wrong.format_message()} (see `{path} --help`)") from wrong


class Place(NamedTuple):
    """The log a command is about, and where the projections lie that follow it."""

    log: EventLog
    data_dir: Path

    @property
    def archive(self) -> Path:
        """The file of the archive."""
        return self.data_dir / ARCHIVE_NAME


keys_file_option = click.option(
    "--keys-file",
    envvar="EVENT_KEYS_FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="[env EVENT_KEYS_FILE] The keys that sign entries. Without it no signature is looked at.",
)


def at_the_log(command: Callable[Concatenate[Place, P], None], user: str = OPERATOR) -> Callable[..., None]:
    """Give a command the options that say which log, and call it with the Place first; the log is closed behind it.

    `user` is as whom it comes to the private server, and should come to any other.
    """

    @click.option(
        "--redis-url",
        envvar="REDIS_URL",
        default="",
        help="[env REDIS_URL] Default: the private server. With it REDIS_USER, REDIS_PASSWORD_FILE, REDIS_CA_FILE.",
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
    @keys_file_option
    @wraps(command)
    def connected(
        *,
        redis_url: str,
        redis_port: int,
        stream: str,
        data_dir: Path,
        keys_file: Path | None,
        **options: Any,
    ) -> None:
        given = RedisAddress.from_variables({**os.environ, "REDIS_URL": redis_url})
        address = given or RedisAddress.of_private_server(data_dir, redis_port, user)
        archive = data_dir / ARCHIVE_NAME
        with closing(EventLog.connect(address, Codec([]), stream, archive=archive, keys=keys_file)) as log:
            try:
                command(Place(log, data_dir), **options)  # type: ignore[call-arg]  # click gives what it was told of
            except NotLetIn:
                raise
            except PermissionMissing as denied:
                raise PermissionMissing(denied.user, denied.what, mend_for(denied.user, user)) from denied

    return connected


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")


def version_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--version`; made for each program, for click keeps the name of the first that was asked."""
    return click.version_option(package_name="revenue-stream", message="%(prog)s %(version)s")(command)


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
