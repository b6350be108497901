"""Row 13: what signatures cost whoever publishes, and whoever follows the log."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from typing import Final

from accounts.revenue import revenue
from bench.figure import Aim, Bench, Figure, Measured
from bench.mixed_events import mixed_events, publish
from bench.turns import take_turns
from eventlog import EventLog, Moment, ProjectionFile, Subscription
from eventlog.embedded_redis import EmbeddedRedis
from eventlog.key_file import new_key, write_keys
from eventlog.new_ids import NewIds
from eventlog.signing import Keys
from shared.events import make_codec
from tests.services.facts import an_invoice_created

_EVENTS, _EVENTS_QUICK = 300_000, 30_000
_WRITES, _WRITES_QUICK = 4_000, 500
_WRITERS: Final = 8
_FOLLOW_AIM, _PUBLISH_AIM = Aim("at least", 0.75), Aim("at least", 0.5)


def measure(bench: Bench) -> Measured:
    """The same events, signed and not, on one server; each of them with an id of its own in the second figure."""
    events, writes = (_EVENTS_QUICK, _WRITES_QUICK) if bench.quick else (_EVENTS, _WRITES)
    keys = bench.folder / "keys.json"
    write_keys(keys, Keys([new_key()], {}))
    folders = (bench.folder / str(number) for number in count())
    with ExitStack() as ending:
        server = ending.enter_context(EmbeddedRedis(bench.folder / "redis"))
        logs = {
            name: ending.enter_context(closing(EventLog.connect(server.url, make_codec(), name, keys=path)))
            for name, path in {"unsigned": None, "signed": keys}.items()
        }
        for log in logs.values():
            log.create()
            bench.tell(f"publishing {events:,} events, {log.stream}")
            publish(log, mixed_events(random.Random(bench.seed)), events)

        def follow(log: EventLog) -> Callable[[], float]:
            return lambda: _per_s(events, lambda: _follow(log, next(folders)))

        followed = take_turns({name: follow(log) for name, log in logs.items()}, bench.turns(), bench.chance)

        def write(log: EventLog) -> Callable[[], float]:
            return lambda: _per_s(writes, lambda: _write(log, writes))

        written = take_turns({name: write(log) for name, log in logs.items()}, bench.turns(), bench.chance)
    return Measured(
        [
            Figure(
                row=13,
                measure=what,
                against="the same, unsigned",
                value=turns.ratio("signed", "unsigned"),
                unit="times its rate",
                aim=aim,
                turns=bench.turns(),
                absolute=" and ".join(
                    f"{turns.spread(name).median:,.0f}/s" for name in ("signed", "unsigned")
                ),
            )
            for what, turns, aim in (
                (f"tail and rebuild, {events:,} signed mixed events", followed, _FOLLOW_AIM),
                (f"signed events with new ids, {_WRITERS} writers, one at a time", written, _PUBLISH_AIM),
            )
        ]
    )


def _per_s(how_many: int, do_it: Callable[[], object]) -> float:
    started = time.perf_counter()
    do_it()
    return how_many / (time.perf_counter() - started)


def _follow(log: EventLog, folder: Path) -> None:
    with closing(Subscription(log, ProjectionFile(folder, revenue))) as subscription:
        subscription.run_to_head()


def _write(log: EventLog, how_many: int) -> None:
    state = log.state()
    moment = Moment(state.log_id or "", state.end)

    def write(_: int) -> None:
        ids = NewIds.between("bench", 0, 10**15)
        log.publish([an_invoice_created(ids.provisional(), 1, 100)], decided_at=moment, new_ids=ids)

    with ThreadPoolExecutor(_WRITERS) as threads:
        list(threads.map(write, range(how_many)))
