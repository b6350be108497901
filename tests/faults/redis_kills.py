"""`kill -9` of Redis under load, every second time while its disk is slow: what was acknowledged is there."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.campaign import Fault, Outcome, Piece
from tests.faults.pair import Pair, running_pair
from tests.make_run import wait_until

_ACCEPTED_BETWEEN = 100
_SLOW_FOR_S = (0.5, 2.5)
_SLOW_SYNC_US = 900_000


def kill_redis(piece: Piece, *, patience_s: float = 60.0) -> Outcome:
    """A trial is one kill."""
    chance = random.Random(piece.seed)
    recovered: list[float] = []
    kills = slow = 0
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
                    killed_at = pair.kill("redis-server")
                kills += 1
                recovered.append(load.seconds_until_accepted(killed_at))
        books = pair.books(load)
    return Outcome(
        kills,
        {"with a slow disk": slow, **books.counts()},
        list(books.wrong),
        {"until writes were accepted again": recovered},
    )


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
        tracer.wait(10)


def _tracer_of(pid: int) -> int:
    with Path(f"/proc/{pid}/status").open() as status:
        return next(int(line.split()[1]) for line in status if line.startswith("TracerPid"))


REDIS_KILLS = Fault(
    "redis-kills", "`kill -9` of Redis under load, every second time with slow fsync", 300, 20, kill_redis
)
