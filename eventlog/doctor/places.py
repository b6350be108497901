"""Where a projection's file lies, and where its tail keeps lock and status; no other module of the doctor knows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

from eventlog.checkpoints import read_checkpoint
from eventlog.doctor.findings import Finding, Name, Severity
from eventlog.generations import SERVED_FILE, Generations, list_homes, version_of
from eventlog.projection import Projection
from eventlog.readers import ReaderKind
from eventlog.tail_lock import LOCK_NAME
from eventlog.tail_status import NO_TAIL, TailStatusFile

_BUSY_TIMEOUT_MS: Final = 1000


class Follower(NamedTuple):
    """One projection's place: its file, and the directory where its tail keeps lock and status.

    `service` is the command that looks after it; None of a projection that has none.
    """

    label: str
    file: Path
    home: Path
    projection: Projection
    service: str | None = None
    kind: ReaderKind = ReaderKind.PROJECTION

    @property
    def start(self) -> str:
        """How its process is started."""
        return "start it: `eventlog archive`" if self.kind is ReaderKind.ARCHIVE else "start the tail"

    @property
    def lock(self) -> Path:
        return self.home / LOCK_NAME

    @property
    def wal(self) -> Path:
        return _wal_of(self.file.resolve())


def follower_of(directory: Path, projection: Projection, label: str, service: str | None = None) -> Follower:
    generations = Generations(directory, projection)
    return Follower(label, generations.served_file, generations.home, projection, service)


def list_followers(data_dir: Path) -> tuple[list[Follower], list[Finding]]:
    """Every projection below a directory, and a finding for each file that does not even say which it is of."""
    followers: list[Follower] = []
    unreadable: list[Finding] = []
    for home in _followed_homes(data_dir):
        path = home / SERVED_FILE
        directory = home.parent
        label = str(directory.relative_to(data_dir))
        try:
            with opened(path) as connection:
                found = read_checkpoint(connection)
        except (sqlite3.Error, UnicodeDecodeError) as problem:
            unreadable.append(unreadable_file(label, f"{path} cannot be read: {problem}"))
            continue
        if found is None:
            unreadable.append(unreadable_file(label, f"{path} has no checkpoint"))
        elif found.version != version_of(home):
            unreadable.append(
                unreadable_file(label, f"{path} holds {found.projection} version {found.version}")
            )
        else:
            # Its own code alone knows its tables and handlers; what is looked at here needs neither.
            followers.append(follower_of(directory, Projection(found.projection, found.version, []), label))
    return followers, unreadable


def _followed_homes(data_dir: Path) -> Iterator[Path]:
    """Of each projection the versions that have a tail, else the newest: an older one is kept to roll back to."""
    for _, group in groupby(list_homes(data_dir), key=lambda home: home.parent):
        homes = sorted(group, key=version_of)
        yield from [home for home in homes if TailStatusFile(home).read().state not in NO_TAIL] or homes[-1:]


@contextmanager
def opened(file: Path) -> Iterator[sqlite3.Connection]:
    """A read transaction, which leaves nothing behind. sqlite3.Error where the file is not there.

    Where no WAL lies beside it, nobody has it open; a plain reader would make one, owned by whoever asks.
    """
    at_rest = "" if _wal_of(file).exists() else "&immutable=1"
    uri = f"{file.absolute().as_uri()}?mode=ro{at_rest}"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        connection.execute("BEGIN")
        yield connection


def remembers_log(follower: Follower) -> bool:
    """Whether its checkpoint is of a log."""
    try:
        with opened(follower.file) as connection:
            found = read_checkpoint(connection)
    except (sqlite3.Error, UnicodeDecodeError):
        return False
    return found is not None and bool(found.log_id)


def unreadable_file(label: str, problem: str, service: str | None = None) -> Finding:
    anew = (
        f"`{service} verify --repair` builds it anew and has it served"
        if service
        else "`verify --repair` of its service builds it anew and has it served; where there is no such command, "
        "stop its tail, delete its directory, start the tail again"
    )
    mend = f"where it was never built, start the tail; else {anew}"
    return Finding(Name.PROJECTION_UNREADABLE, Severity.PROBLEM, f"{label}: {problem}", mend)


def _wal_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")
