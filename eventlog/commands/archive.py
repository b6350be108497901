"""`eventlog archive` and `eventlog reseed`: keep the log, and write it back."""

from __future__ import annotations

import sys
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import click

from eventlog.archive import Archive
from eventlog.archive_check import check_archive
from eventlog.archive_reader import ArchiveReader, is_chained
from eventlog.archiving import ARCHIVE_READER, Archiving, run_archive
from eventlog.checkpoints import Checkpoint
from eventlog.commands.common import DIFFERENT, NOT_YET, Command, Place, at_the_log, json_option, print_json
from eventlog.counted import counted
from eventlog.errors import ArchiveAltered, ArchiveUnusable, LogUnavailable, TailRunning
from eventlog.position import START
from eventlog.progress import progress
from eventlog.readers import ReaderKind
from eventlog.reseed import COUNTER_MARGIN, Reseeded, reseed
from eventlog.tail_lock import LOCK_NAME, TailLock, find_holders
from eventlog.tail_status import TailState, TailStatusFile, judge_dead


@click.command(cls=Command, examples=["", "--once", "--check --json"])
@click.option("--once", is_flag=True, help="End where the log ends now.")
@click.option("--check", is_flag=True, help="Keep nothing, and prove that what is kept is as it was written.")
@json_option
@partial(at_the_log, user="archive")
def archive(place: Place, once: bool, check: bool, as_json: bool) -> None:
    """Keep every entry in DATA_DIR/archive/archive.db, until SIGTERM or Ctrl-C.

    What is kept can be trimmed from Redis, is read from there by tails and rebuilds, and is what `eventlog
    reseed` writes back. Exit code 2: not done, for another process keeps it; 3: --check found something.
    """
    if check:
        if once:
            raise click.UsageError("--check keeps nothing: leave --once out.")
        _check(place, as_json=as_json)
        return
    _log_as_process(place)
    if not once:
        run_archive(place.log, place.archive)
        return
    lock = TailLock(place.archive.parent)
    try:
        try:
            lock.acquire()
        except TailRunning:
            click.echo(f"{place.archive} is being kept already, {_by_whom(place)}", err=True)
            sys.exit(NOT_YET)
        with closing(Archive(place.archive)) as file:
            sequence = place.log.state().sequence
            with progress("keeping") as on_progress:
                Archiving(place.log, file).run_to_head(
                    on_batch=lambda now: on_progress(now.sequence, max(now.sequence, sequence))
                )
            end = file.checkpoint()
        place.log.readers.report(
            ARCHIVE_READER,
            ReaderKind.ARCHIVE,
            position=end.position,
            sequence=end.sequence,
            log_id=end.log_id,
        )
    finally:
        lock.release()
    facts = {
        "archive": str(place.archive),
        "log_id": end.log_id,
        "position": str(end.position),
        "sequence": end.sequence,
    }
    if as_json:
        print_json(facts)
    else:
        click.echo(
            f"{place.archive} has {counted(end.sequence, 'entry')} of log {end.log_id}, up to {end.position}"
        )


def _by_whom(place: Place) -> str:
    """It holds the lock; where it hangs, with the mend."""
    status = TailStatusFile(place.archive.parent).read()
    if status.state is not TailState.DEAD:
        return "by a process that goes on: see `eventlog readers`"
    detail, mend = judge_dead(status, find_holders(place.archive.parent / LOCK_NAME), "wait until it begins")
    return f"and {detail}: {mend}"


def _log_as_process(place: Place) -> None:
    from eventlog.process_log import adding_position, configure_logging  # noqa: PLC0415  # takes 0.07 s to import

    def find_position() -> str | None:
        with suppress(ArchiveUnusable):
            return str(ArchiveReader(place.archive).checkpoint().position)
        return None

    configure_logging("archive", adding_position(find_position))


def _check(place: Place, *, as_json: bool) -> None:
    """Print what came of it."""
    path = place.archive
    altered: ArchiveAltered | None = None
    end: Checkpoint | None = None
    archive = ArchiveReader(path)
    with progress("checking") as on_progress:
        try:
            end = check_archive(archive, on_progress)
        except ArchiveAltered as found:
            altered = found
    if altered:
        with suppress(ArchiveAltered):  # its form was
            end = archive.checkpoint()
    lacks = _count_lacking(place, end) if end else 0
    facts = {
        "archive": str(path),
        "log_id": end and end.log_id,
        "position": end and str(end.position),
        "sequence": end and end.sequence,
        "chained": end and is_chained(end),
        "lacks": lacks,
        "altered": str(altered) if altered else None,
        "altered_sequence": altered.sequence if altered else None,
        "altered_position": str(altered.position) if altered and altered.position > START else None,
    }
    if as_json:
        print_json(facts)
    elif altered or end is None:
        click.echo(str(altered))
    elif lacks:
        click.echo(
            f"{path} has {end.sequence} of the {end.sequence + lacks} entries that were trimmed: put back the archive "
            "that has them (docs/runbook.md, Archive)"
        )
    elif not end.sequence:
        click.echo(f"{path} has kept nothing yet: `eventlog archive` keeps what the log has")
    elif is_chained(end):
        click.echo(
            f"{path} is as it was written: {counted(end.sequence, 'entry')} of log {end.log_id}, up to {end.position}"
        )
    else:
        click.echo(
            f"{path} lacks none of its {counted(end.sequence, 'entry')}. Whether one was altered cannot be told: "
            "it has no chain yet, and `eventlog archive` gives it one"
        )
    if altered or lacks:
        sys.exit(DIFFERENT)


def _count_lacking(place: Place, end: Checkpoint) -> int:
    """How many entries are nowhere, for they were trimmed behind where the archive ends; 0 where Redis does not say."""
    try:
        state = place.log.state()
    except LogUnavailable:
        return 0
    return max(0, state.trimmed - end.sequence) if end.log_id in {"", state.log_id} else 0


@click.command("reseed", cls=Command, examples=["", "--replace", "--archive archive-copy.db"])
@click.option(
    "--archive",
    "archives",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="An archive; more than one must agree. Default: DATA_DIR/archive/archive.db.",
)
@click.option(
    "--replace",
    is_flag=True,
    help="Put aside what Redis has still of this log (as STREAM-aside), where the archive has all of it, or what it "
    "was before it was changed, or keys tell what of the rest is genuine.",
)
@json_option
@at_the_log
def reseed_log(place: Place, archives: tuple[Path, ...], replace: bool, as_json: bool) -> None:
    """Write the log back from its archive, after Redis lost everything; or, with --replace, a part of it.

    Where it is there, each entry is compared with the archive, and the first that differs is named.

    The same log: its id, positions and sequences, counters, and the commands that clients named in the last 24
    hours; tails, services and the archive go on by themselves. Refuses, with exit code 1, where entries are there
    already, or where something would be lost; Ctrl-C leaves everything as it was.

    Where the archive cannot go on with a signed log, --replace keeps what the keys prove behind it, and names the rest.
    """
    archives = archives or (place.archive,)
    for path in archives:
        if not path.exists():
            raise click.ClickException(
                f"there is no archive {path}: name it with --archive, or set DATA_DIR to that of the services"
            )
    done = reseed(place.log, archives, place.data_dir, replace=replace, progress=progress)
    if as_json:
        dropped = [{"position": str(at), "reason": reason} for at, reason in done.first_dropped]
        print_json(done._asdict() | {"first_dropped": dropped})
    else:
        click.echo(_told(done))


def _told(done: Reseeded) -> str:
    if not done.entries_written:
        return f"log {done.log_id} is there, up to {done.position} and further: nothing to do"
    behind = ""
    if done.entries_kept:
        behind = (
            f" From Redis came {counted(done.entries_kept, 'entry')} that keys prove, {done.renumbered} under another "
            "number."
        )
    if done.dropped:
        behind += (
            f" Of Redis {counted(done.dropped, 'entry')} {'is' if done.dropped == 1 else 'are'} left out."
        )
    for position, reason in done.first_dropped:
        behind += f"\n{position}: {reason}"
    return (
        f"log {done.log_id} is back: {counted(done.entries_written, 'entry')}, up to {done.position}; "
        f"{counted(done.commands_remembered, 'named command')} remembered. "
        f"Ids go on {COUNTER_MARGIN:,} above the last known.{behind}"
    )
