"""Row 8: what an event takes in the memory of Redis."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Final

import redis

from bench.figure import Aim, Bench, Figure, Measured
from bench.mixed_events import mixed_events, publish
from bench.turns import Spread
from eventlog import EventLog
from eventlog.embedded_redis import EmbeddedRedis
from shared.events import make_codec

_EVENTS, _EVENTS_QUICK = 100_000, 10_000
_AIM: Final = Aim("at most", 2)
_BARE = "bare"


def measure(bench: Bench) -> Measured:
    """Counted by Redis, not timed: one turn says it all."""
    events = _EVENTS_QUICK if bench.quick else _EVENTS
    with (
        EmbeddedRedis(bench.folder / "redis") as server,
        closing(EventLog.connect(server.url, make_codec())) as log,
        redis.Redis.from_url(server.url, protocol=2) as client,
    ):
        log.create()
        publish(log, mixed_events(bench.chance), events)
        _copy_bare(client, log.stream)
        ours, bare = (_bytes_of(client, key) / events for key in (log.stream, _BARE))
        beside = {
            key.rsplit(":", 1)[-1]: _bytes_of(client, key)
            for key in (f"{{{log.stream}}}:subjects", f"{{{log.stream}}}:meta")
        }
    ratio = ours / bare
    figure = Figure(
        row=8,
        measure=f"bytes in the stream per event, of {events:,}",
        against="two bare fields, type and payload",
        value=Spread(ratio, ratio, ratio),
        unit="times as many",
        aim=_AIM,
        turns=1,
        absolute=f"{ours:.0f} and {bare:.0f} bytes; apart from them {beside}",
    )
    return Measured([figure])


def _copy_bare(client: redis.Redis, stream: str) -> None:
    after = "-"
    while True:
        entries: Any = client.xrange(stream, min=after, count=1000)
        if not entries:
            return
        with client.pipeline(transaction=False) as pipeline:
            for position, fields in entries:
                kept: Any = {field: fields[field] for field in (b"EventTypeName", b"Payload")}
                pipeline.xadd(_BARE, kept, id=position)
            pipeline.execute()
        after = f"({entries[-1][0].decode()}"


def _bytes_of(client: redis.Redis, key: str) -> int:
    found: Any = client.memory_usage(key, samples=0)
    return int(found or 0)
