"""The commands that replay the log into a scratch file: as of a moment, what if, and from a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from eventlog import EventLog, Position
from eventlog.backup import require_new, write_copy
from eventlog.checkpoints import Checkpoint
from eventlog.commands.common import Command, json_option, print_json
from eventlog.comparison import Comparison, compare
from eventlog.counted import counted
from eventlog.moments import NamedMoment, last_before, parse_moment
from eventlog.position import LAST
from eventlog.progress import progress
from eventlog.replay import Scratch, Without, scratch_file
from shared.command_output import describe_comparison, describe_moment, list_differences
from shared.service import Service, pass_service


class _Parsed(click.ParamType[NamedMoment]):
    """A moment, or a position alone, as a parser reads it."""

    def __init__(self, name: str, parse: Callable[[str], NamedMoment]) -> None:
        self.name = name
        self._parse = parse

    def convert(
        self, value: str | NamedMoment, param: click.Parameter | None, ctx: click.Context | None
    ) -> NamedMoment:
        try:
            return self._parse(value) if isinstance(value, str) else value
        except ValueError as problem:
            self.fail(str(problem), param, ctx)


_MOMENT = _Parsed("moment", parse_moment)
_MOMENT_HELP: Final = "2026-10-01, 2026-10-01T12:00Z, a position, 10m for ten minutes ago, start or now."
_POSITION = _Parsed("position", Position.parse)


@click.command("as-of", cls=Command, examples=["2026-10-01T12:00Z", "7d"])
@click.argument("moment", type=_MOMENT)
@click.option("--json", is_flag=True, expose_value=False, help="What it always does.")
@pass_service
def as_of(service: Service, moment: NamedMoment) -> None:
    """Print, as JSON, what GET answered at a MOMENT.

    2026-10-01, 2026-10-01T12:00Z or 2026-10-01T14:00+02:00, a position, 10m for ten minutes ago, start or now.
    """
    log = service.connect()
    with scratch_file(log, service.projection) as scratch:
        _replay(log, scratch, last_before(moment, log))
        with scratch.look() as look:
            print_json(service.show(look))


@click.command("what-if", cls=Command, examples=["--without 1795262660328-0"])
@click.option(
    "--without", "left_out", type=_POSITION, multiple=True, required=True, help="An entry; may be repeated."
)
@click.option("--as-of", "moment", type=_MOMENT, default="now", show_default=True, help=_MOMENT_HELP)
@json_option
@pass_service
def what_if(service: Service, left_out: tuple[Position, ...], moment: NamedMoment, as_json: bool) -> None:
    """Print what would be different had some entries never been written. The log is not touched."""
    log, projection = service.connect(), service.projection
    left_out = tuple(dict.fromkeys(left_out))
    for position in left_out:
        _require_there(log, position)
    without = Without(projection, frozenset(left_out))
    with scratch_file(log, projection) as as_it_is, scratch_file(log, without) as as_it_would_be:
        reached = _replay(log, as_it_is, last_before(moment, log), "replaying as it is")
        _replay(log, as_it_would_be, reached.position, "replaying without")
        with as_it_is.look() as before, as_it_would_be.look() as after:
            comparison = compare(before, after, projection)
    named = [str(position) for position in left_out]
    if as_json:
        print_json({"left_out": named, **describe_moment(reached), **describe_comparison(comparison)})
    else:
        click.echo(f"without {', '.join(named)}, as of number {reached.sequence} at {reached.position}:")
        _say_differences(comparison)


@click.command(cls=Command, examples=["--from 1795262660328-0 --into replayed.db"])
@click.option("--from", "start", type=_MOMENT, default="start", show_default=True, help=_MOMENT_HELP)
@click.option(
    "--into", type=click.Path(path_type=Path, dir_okay=False), help="Keep the scratch file under this name."
)
@json_option
@pass_service
def replay(service: Service, start: NamedMoment, into: Path | None, as_json: bool) -> None:
    """Go back to a checkpoint and apply all behind it once more, in a scratch file; print what that changes."""
    if into is not None:
        require_new(into)
    log, projection = service.connect(), service.projection
    with scratch_file(log, projection) as then:
        before = _replay(log, then, last_before(start, log))
        with then.look() as was, scratch_file(log, projection, was) as now:
            started = time.monotonic()
            after = _replay(log, now, LAST)
            seconds = time.monotonic() - started
            with now.look() as look:
                comparison = compare(was, look, projection)
                if into is not None:
                    write_copy(look, into)
    applied = after.sequence - before.sequence
    if as_json:
        moments = {"from": describe_moment(before), "to": describe_moment(after)}
        figures = {"applied": applied, "seconds": round(seconds, 3)}
        print_json({**moments, **figures, **describe_comparison(comparison)})
        return
    click.echo(
        f"from number {before.sequence} at {before.position} to number {after.sequence} at {after.position}: "
        f"{counted(applied, 'entry')} in {seconds:.2f} s"
    )
    _say_differences(comparison)
    if into is not None:
        click.echo(f"kept as {into}")


def _replay(log: EventLog, scratch: Scratch, up_to: Position, what: str = "replaying") -> Checkpoint:
    last = log.read_back(up_to, 1)
    end = int((last and last[0].claimed_sequence) or log.state().sequence)
    with progress(what) as on_progress:
        return scratch.replay(up_to, on_batch=lambda now: on_progress(now.sequence, max(end, now.sequence)))


def _require_there(log: EventLog, position: Position) -> None:
    snapshot = log.snapshot(position, 1)
    if snapshot.at_checkpoint is None:
        why = snapshot.why_unread(position.previous())
        raise click.ClickException(
            f"entry {position} cannot be read: {why}"
            if why
            else f"the log has no entry {position}: look with `eventlog tail`"
        )


def _say_differences(comparison: Comparison) -> None:
    for sentence in list_differences(comparison):
        click.echo(sentence)
    if comparison.is_same:
        click.echo(f"no row of {comparison.rows} is different")
