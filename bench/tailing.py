"""Rows 1 and 2: how fast a projection follows the log, beside the hand-written limit and beside peers."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Final

from accounts.revenue import revenue
from bench.figure import Bench, Figure, Measured
from bench.handwritten import follow_by_hand
from bench.mixed_events import mixed_events, publish
from bench.turns import take_turns
from eventlog import EventLog, ProjectionFile, Subscription
from eventlog.embedded_redis import EmbeddedRedis
from shared.events import make_codec

_EVENTS, _EVENTS_QUICK = 300_000, 30_000
_AIM: Final = 0.8


def measure(bench: Bench) -> Measured:
    events = _EVENTS_QUICK if bench.quick else _EVENTS
    with (
        EmbeddedRedis(bench.folder / "redis") as server,
        closing(EventLog.connect(server.url, make_codec())) as log,
    ):
        log.create()
        bench.tell(f"publishing {events:,} events")
        publish(log, mixed_events(bench.chance), events)
        folders = (bench.folder / str(number) for number in count())
        schema = _schema_of(_follow(log, next(folders)))

        def ours() -> float:
            folder = next(folders)
            started = time.perf_counter()
            _follow(log, folder)
            return events / (time.perf_counter() - started)

        def by_hand() -> float:
            path = next(folders).with_suffix(".db")
            started = time.perf_counter()
            follow_by_hand(server.url, log.stream, path, schema)
            return events / (time.perf_counter() - started)

        _require_same(_follow(log, next(folders)), _by_hand(server.url, log.stream, next(folders), schema))
        turns = take_turns({"ours": ours, "by hand": by_hand}, bench.turns(), bench.chance)
    ratio = turns.ratio("ours", "by hand")
    figure = Figure(
        row=1,
        measure=f"tail and rebuild, {events:,} mixed events",
        against="a loop written by hand, without lookups or checks",
        value=ratio,
        unit="of its rate",
        aim=f"at least {_AIM}",
        reached=ratio.median >= _AIM,
        turns=bench.turns(),
        absolute=f"{turns.spread('ours').median:,.0f}/s and {turns.spread('by hand').median:,.0f}/s",
    )
    return Measured([figure])


def _follow(log: EventLog, folder: Path) -> Path:
    """The loop that tail and rebuild run, from the start to the head of the log; answers the file."""
    with closing(Subscription(log, ProjectionFile(folder, revenue))) as subscription:
        subscription.run_to_head()
    return next(folder.rglob("projection.db"))


def _by_hand(url: str, stream: str, folder: Path, schema: str) -> Path:
    path = folder.with_suffix(".db")
    follow_by_hand(url, stream, path, schema)
    return path


def _schema_of(path: Path) -> str:
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
    return ";\n".join(sql for (sql,) in found)


def _require_same(one: Path, other: Path) -> None:
    """Both wrote the same rows, or nothing is compared."""
    with closing(sqlite3.connect(one)) as mine, closing(sqlite3.connect(other)) as theirs:
        for table in revenue.tables:
            query = f"SELECT * FROM {table.name} ORDER BY {table.key}"
            assert mine.execute(query).fetchall() == theirs.execute(query).fetchall(), table.name
