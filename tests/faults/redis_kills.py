"""`kill -9` of Redis under load, amid large writes or while its disk is slow: what was acknowledged is there."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.faults.campaign import Fault, Outcome, Piece
from tests.faults.pair import Pair, running_pair
from tests.make_run import NEVER_S, wait_until

_ACCEPTED_BETWEEN = 100
_RECOVERS_WITHIN_S = 10.0
_SLOW_FOR_S = (0.5, 2.5)
_LARGE_BYTES = 4_000_000
_WRITING_FOR_S = (0.02, 0.2)
_SLOW_SYNC_US = 900_000


def kill_redis(
    piece: Piece, *, patience_s: float = 60.0, recovers_within_s: float = _RECOVERS_WITHIN_S
) -> Outcome:
    """A trial is one kill.

    Later than `recovers_within_s` is wrong in a recorded run; beside other tests it says nothing.
    """
    chance = random.Random(piece.seed)
    recovered: list[float] = []
    kills = slow = torn = 0
    with running_pair(piece) as pair:
        with pair.load(threads=6, seed=piece.seed, patience_s=patience_s) as load:
            while kills < piece.trials and not load.violations and not pair.any_halted():
                pair.wait_until_accepted(load, chance.randrange(_ACCEPTED_BETWEEN * 2))
                if kills % 2:
                    slow += 1
                    with _slow_disk(pair):
                        time.sleep(chance.uniform(*_SLOW_FOR_S))
                        killed_at = pair.kill("redis-server")
                else:
                    with _large_writes(pair):
                        time.sleep(chance.uniform(*_WRITING_FOR_S))
                        killed_at = pair.kill("redis-server")
                kills += 1
                recovered.append(load.seconds_until_accepted(killed_at))
        books = pair.books(load)
        torn = len(list(Path(pair.run.environment["DATA_DIR"]).glob("redis/torn-*.aof")))
    late = [
        f"{took_s:.1f} s until writes were accepted again"
        for took_s in recovered
        if took_s > recovers_within_s
    ]
    return Outcome(
        kills,
        {"with a slow disk": slow, "in the middle of a record": torn, **books.counts()},
        [*late, *books.wrong],
        {"until writes were accepted again": recovered},
    )


@contextmanager
def _large_writes(pair: Pair) -> Iterator[None]:
    """Somebody writes so much at once that a kill may leave half a record behind."""
    stop = threading.Event()

    def write() -> None:
        with (
            redis.Redis.from_url(pair.redis_url, retry=Retry(NoBackoff(), 0)) as client,
            suppress(redis.RedisError),
        ):
            while not stop.is_set():
                client.set("a-key-of-the-fault", bytes(_LARGE_BYTES))

    with ThreadPoolExecutor(1) as writer:
        writing = writer.submit(write)
        try:
            yield
        finally:
            stop.set()
            writing.result()


@contextmanager
def _slow_disk(pair: Pair) -> Iterator[None]:
    """Each sync of Redis takes nearly a second."""
    server = pair.run.find("redis-server").pid
    tracer = subprocess.Popen(
        [
            "strace", "-f", "-qq", "-p", str(server), "-e", "trace=fsync,fdatasync",
            "-e", f"inject=fsync,fdatasync:delay_enter={_SLOW_SYNC_US}", "-o", "/dev/null",
        ],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: _tracer_of(server) == tracer.pid, lambda: "strace does not attach")
        yield
    finally:
        tracer.terminate()
        tracer.wait(NEVER_S)


def _tracer_of(pid: int) -> int:
    with Path(f"/proc/{pid}/status").open() as status:
        return next(int(line.split()[1]) for line in status if line.startswith("TracerPid"))


REDIS_KILLS = Fault(
    "redis-kills",
    "`kill -9` of Redis under load, in turn amid large writes and with slow fsync",
    300,
    20,
    kill_redis,
)
