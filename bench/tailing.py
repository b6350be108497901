"""Rows 1 and 2: how fast a projection follows the log, beside the hand-written limit and beside peers."""

from __future__ import annotations

import gc
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from itertools import count, islice
from pathlib import Path
from typing import Final

import redis

from accounts.revenue import revenue
from bench.figure import Aim, Bench, Figure, Measured, NotRun
from bench.handwritten import follow_by_hand
from bench.mixed_events import mixed_events, publish
from bench.turns import Turns, take_turns
from eventlog import EventLog, ProjectionFile, Subscription
from eventlog.embedded_redis import EmbeddedRedis
from shared.events import make_codec

try:
    from bench.peers import eventsourcing_follow, faststream_follow
except ModuleNotFoundError as missing:
    _missing = str(missing)
else:
    _missing = ""

_EVENTS, _EVENTS_QUICK = 300_000, 30_000
_SLOW_EVENTS, _SLOW_EVENTS_QUICK = 20_000, 2_000  # for those that take a transaction for each

_HAND: Final = "a loop written by hand, without lookups or checks"
_EVENTSOURCING: Final = "eventsourcing on SQLite, a transaction for each event"
_ONE_BY_ONE: Final = "FastStream, a handler for each message"
_BATCHES: Final = "FastStream in batches of 1,000, which checks nothing"
_AIMS: Final = {
    _HAND: (1, Aim("at least", 0.8)),
    _EVENTSOURCING: (2, Aim("over", 15)),
    _ONE_BY_ONE: (2, Aim("over", 20)),
    _BATCHES: (2, Aim("at least", 1)),
}


def measure(bench: Bench) -> Measured:
    """All of them write the same rows, of the same events, with the same SQLite settings."""
    if _missing:
        raise NotRun(f"{_missing}: `make bench` installs it")
    events = _EVENTS_QUICK if bench.quick else _EVENTS
    with ExitStack() as ending:
        server = ending.enter_context(EmbeddedRedis(bench.folder / "redis"))
        log = ending.enter_context(closing(EventLog.connect(server.url, make_codec())))
        log.create()
        bench.tell(f"publishing {events:,} events")
        publish(log, mixed_events(random.Random(bench.seed)), events)
        turns = _take_turns(bench, server.url, log, events)
    return Measured([_figure(turns, beside, events, bench.turns()) for beside in _AIMS])


def _take_turns(bench: Bench, url: str, log: EventLog, events: int) -> Turns:
    folders = (bench.folder / str(number) for number in count())
    ours = _follow(log, next(folders))
    schema = _schema_of(ours)
    slow = _SLOW_EVENTS_QUICK if bench.quick else _SLOW_EVENTS
    with closing(redis.Redis.from_url(url, protocol=2)) as client:
        faststream_follow.copy_to_its_stream(client, log.stream, events)
    source = eventsourcing_follow.Source(next(folders).with_suffix(".db"))
    source.take(islice(mixed_events(random.Random(bench.seed)), slow))

    def per_s(how_many: int, follow: Callable[[Path], object]) -> Callable[[], float]:
        def rate() -> float:
            path = next(folders).with_suffix(".db")
            started = time.perf_counter()
            follow(path)
            return how_many / (time.perf_counter() - started)

        return rate

    by_hand = next(folders).with_suffix(".db")
    follow_by_hand(url, log.stream, by_hand, schema)
    _require_same(ours, by_hand)
    gc.collect()
    gc.freeze()  # or the collector looks through the modules of all peers in everybody's turn
    return take_turns(
        {
            "ours": per_s(events, lambda path: _follow(log, path)),
            _HAND: per_s(events, lambda path: follow_by_hand(url, log.stream, path, schema)),
            _BATCHES: per_s(
                events, lambda path: faststream_follow.follow_in_batches(url, path, schema, events)
            ),
            _ONE_BY_ONE: per_s(
                slow, lambda path: faststream_follow.follow_one_by_one(url, path, schema, slow)
            ),
            _EVENTSOURCING: per_s(slow, lambda path: eventsourcing_follow.follow(source, path, schema)),
        },
        bench.turns(),
        bench.chance,
    )


def _figure(turns: Turns, beside: str, events: int, how_often: int) -> Figure:
    row, aim = _AIMS[beside]
    ratio = turns.ratio("ours", beside)
    return Figure(
        row=row,
        measure=f"tail and rebuild, {events:,} mixed events",
        against=beside,
        value=ratio,
        unit="times its rate",
        aim=aim,
        turns=how_often,
        absolute=f"{turns.spread('ours').median:,.0f}/s and {turns.spread(beside).median:,.0f}/s",
    )


def _follow(log: EventLog, folder: Path) -> Path:
    """The loop that tail and rebuild run, from the start to the head of the log; answers the file."""
    with closing(Subscription(log, ProjectionFile(folder, revenue))) as subscription:
        subscription.run_to_head()
    return next(folder.rglob("projection.db"))


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
