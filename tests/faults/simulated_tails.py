"""Projections and the tails that write them: killed, paused in the middle of a batch, restarted, overtaken.

After every step a projection's file must hold what the entries up to its checkpoint come to.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from eventlog import START, EventLog, Moment, Position, ProjectionFile, Subscription
from eventlog.continuity import Verdict
from eventlog.errors import CheckpointMoved, WrongLog
from eventlog.generations import Generations
from tests.eventlog.parcels import make_codec, make_post
from tests.faults.simulated_connection import make_pool
from tests.faults.simulated_log import StreamEntry
from tests.faults.simulated_truth import Fold, Truth
from tests.faults.simulated_world import World

_POST = make_post()
_MOST_STATEMENTS = 12  # of a batch, about


class _Killed(BaseException):
    """The process is gone: nothing that it had still to do happens."""


class _Connection(sqlite3.Connection):
    """Something else may happen before each statement."""

    before_statement: Callable[[str], None] | None = None

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if self.before_statement is not None:
            self.before_statement(sql)
        return super().execute(sql, *arguments)

    def executemany(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if self.before_statement is not None:
            self.before_statement(sql)
        return super().executemany(sql, *arguments)


@dataclass
class _Place:
    """One projection's directory, the tails that write it, and what must be in it."""

    directory: Path
    reader: sqlite3.Connection
    tails: list[_Tail] = field(default_factory=list)
    log_id: str = ""
    applied: list[StreamEntry] = field(default_factory=list)
    fold: Fold = field(default_factory=Fold)

    def __str__(self) -> str:
        return f"{self.directory.name}, at number {len(self.applied)}, {self.position},"

    @property
    def position(self) -> Position:
        return self.applied[-1][0] if self.applied else START

    def look(self, sql: str) -> list[Any]:
        return self.reader.execute(sql).fetchall()

    def close(self) -> None:
        for tail in self.tails:
            tail.file.close()
        self.reader.close()


@dataclass
class _Tail:
    place: _Place
    batch_size: int
    file: ProjectionFile
    connection: _Connection
    subscription: Subscription


class Tails:
    """Two tails of one projection, and one of another; more while one is built anew."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._log = EventLog(make_pool(world.server.answer), make_codec())
        self._directories = 0
        self._places = [self._new_place(tails=2), self._new_place(tails=1)]

    def close(self) -> None:
        for place in self._places:
            place.close()

    # What happens to them

    def run_one(self) -> None:
        """One batch."""
        self._run(self._draw())

    def kill_one(self) -> None:
        """Before any statement of its next batch; then it is started again."""
        tail = self._draw()
        left = self._world.chance.randint(1, _MOST_STATEMENTS)

        def count_down(_: str) -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                raise _Killed

        tail.connection.before_statement = count_down
        self._run(tail)
        tail.connection.before_statement = None
        if left <= 0:
            tail.file.close()
            tail.place.tails.remove(tail)
            self._open_tail(tail.place, tail.batch_size)

    def overtake_one(self, something: Callable[[], None]) -> None:
        """Paused with a batch read and not committed, while other tails of its file, and somebody else, go on."""
        tail = self._draw()
        read = self._world.chance.randint(1, _MOST_STATEMENTS)

        def count_down(sql: str) -> None:
            nonlocal read
            read -= 1
            if read <= 0 or sql == "BEGIN IMMEDIATE":
                tail.connection.before_statement = None
                for other in tail.place.tails:
                    if other is not tail:
                        self._run(other)
                something()

        def begin(_: str) -> None:
            """Reading the checkpoint comes first, then the log is read; pauses begin behind both."""
            tail.connection.before_statement = count_down

        tail.connection.before_statement = begin
        self._run(tail)
        tail.connection.before_statement = None

    def restart_the_machine(self) -> None:
        """All tails of a projection end at once; its file is found as it lay there, the WAL not yet moved over."""
        place = self._world.chance.choice(self._places)
        moved = self._new_directory()
        without_shared_memory = shutil.ignore_patterns("*-shm")
        shutil.copytree(
            place.directory, moved, symlinks=True, ignore=without_shared_memory, dirs_exist_ok=True
        )
        place.close()
        tails, place.tails = place.tails, []
        place.directory, place.reader = moved, _open_reader(moved)
        for tail in tails:
            self._open_tail(place, tail.batch_size)
        self._world.note("machine restarted:", place)
        self._look(place, self._world.truth, [])

    def rebuild(self) -> None:
        """What is built anew is the same as what lived through it all, down to what was set aside and why."""
        rebuilt = self._new_place(tails=1, batch_size=self._world.chance.choice([3, 1000]))
        try:
            self._run_to_head(rebuilt.tails[0])
            judged = "SELECT sequence, position, event_type, reason FROM parked ORDER BY sequence"
            for place in self._places:
                if (place.log_id, place.applied) == (rebuilt.log_id, rebuilt.applied):
                    self._world.counts["rebuilt alike"] += bool(place.applied)
                    found, anew = place.look(judged), rebuilt.look(judged)
                    self._world.check(found == anew, place, "parked", found, "and rebuilt parked", anew)
        finally:
            rebuilt.close()

    def run_all_to_head(self) -> None:
        for place in self._places:
            self._run_to_head(place.tails[0])

    def run_or_replace_all(self, share_replaced: float) -> None:
        """As an operator does: many a projection that halts is deleted, so that it is built anew."""
        for number, place in enumerate(self._places):
            halted = self._run(place.tails[0]) is not Verdict.SAME
            if halted and self._world.happens(share_replaced):
                place.close()
                self._places[number] = self._new_place(tails=len(place.tails))

    # A batch, and what must have come of it

    def _run_to_head(self, tail: _Tail) -> None:
        before = None
        while before != tail.place.position:
            before = tail.place.position
            self._run(tail)

    def _run(self, tail: _Tail) -> Verdict | None:
        """One batch, and its verdict; None if it came to none. Compared with the log as it was when it was read."""
        world, place = self._world, tail.place
        truth, there = world.truth.copy(), world.entries()
        entries = there or []
        expected = truth.verdict(place.log_id, place.applied, there)
        before = (place.position, place.log_id)
        batch = [position for position, _ in entries if position > place.position][: tail.batch_size]
        verdict: Verdict | None = None
        try:
            moved = tail.subscription.run_once()
        except _Killed:
            outcome = "was killed"
        except CheckpointMoved:
            outcome = "gave way"
            world.check(before != (place.position, place.log_id), place, "gave way to nobody")
        except WrongLog as wrong:
            verdict = wrong.verdict
            outcome = f"halted: {verdict}"
            world.check(expected.allows_halting(verdict), place, wrong, "Expected:", expected)
        else:
            verdict = Verdict.SAME
            outcome = f"applied {moved}"
            world.counts["entries applied"] += moved
            world.check(expected.allows_applying(batch, moved), place, outcome, "Expected:", expected)
        if not outcome.startswith("applied"):
            world.counts[f"tail {outcome}"] += 1
        world.note("tail of", place, outcome)
        self._look(place, truth, entries)
        return verdict

    def _look(self, place: _Place, truth: Truth, entries: Sequence[StreamEntry]) -> None:
        """The file holds what the entries up to its checkpoint come to; `entries` is the log as it was read."""
        check = self._world.check
        ((log_id, text, sequence, passed_over),) = place.look(
            "SELECT log_id, position, sequence, passed_over FROM checkpoint"
        )
        position = Position.parse(text)
        check(place.log_id in {"", log_id}, place, "of log", place.log_id, "is now of", log_id)
        check(position >= place.position, place, "went back to", position)
        place.log_id = log_id
        for entry in entries:
            if place.position < entry[0] <= position:
                adopted = entry[0] <= truth.adopted_to
                place.applied.append(entry)
                place.fold.apply(entry, adopted=adopted)
                number = self._world.numbers.get((entry[0], entry[1][-1]))
                check(adopted or number in {None, len(place.applied)}, place, "skipped to number", number)
        check(
            (position, sequence) == (place.position, len(place.applied)),
            *(place, "has a checkpoint at number", sequence, position),
        )
        found = (
            {key: row for key, *row in place.look("SELECT id, parcels, weight_g FROM customers")},
            {key: row for key, *row in place.look("SELECT id, customer_id, weight_g, lost FROM parcels")},
            place.look("SELECT sequence, position FROM parked ORDER BY sequence"),
            set(json.loads(passed_over)),
        )
        fold = place.fold
        wanted = (fold.customers, fold.parcels, fold.parked, fold.passed_over)
        check(found == wanted, place, "holds", found, "and should hold", wanted)
        if log_id:
            self._world.moments.append(Moment(log_id, position))

    # Opening files

    def _draw(self) -> _Tail:
        return self._world.chance.choice([tail for place in self._places for tail in place.tails])

    def _new_place(self, *, tails: int, batch_size: int | None = None) -> _Place:
        """An empty projection: a copy of one, because making the tables takes ten times as long."""
        directory = self._new_directory()
        generations = Generations(directory, _POST)
        generations.switch(generations.begin())
        generations.served_file.write_bytes(_empty_file())
        place = _Place(directory, _open_reader(directory))
        for _ in range(tails):
            self._open_tail(place, batch_size or self._world.chance.randint(1, 6))
        return place

    def _new_directory(self) -> Path:
        self._directories += 1
        directory = self._world.folder / f"projection-{self._directories}"
        directory.mkdir()
        return directory

    def _open_tail(self, place: _Place, batch_size: int) -> None:
        opened: list[_Connection] = []
        connect = sqlite3.connect

        def connect_interruptible(path: Path, **settings: Any) -> _Connection:
            opened.append(connect(path, factory=_Connection, **settings))
            return opened[-1]

        with patch("sqlite3.connect", connect_interruptible):
            file = ProjectionFile(place.directory, _POST)
        opened[0].execute("PRAGMA synchronous = OFF")  # no power cut is simulated
        subscription = Subscription(
            self._log, file, batch_size=batch_size, clock=lambda: self._world.clock.now
        )
        place.tails.append(_Tail(place, batch_size, file, opened[0], subscription))


def _open_reader(directory: Path) -> sqlite3.Connection:
    return sqlite3.connect(Generations(directory, _POST).served_file.resolve(), isolation_level=None)


@cache
def _empty_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        ProjectionFile(Path(folder), _POST).close()
        return Generations(Path(folder), _POST).served_file.read_bytes()
