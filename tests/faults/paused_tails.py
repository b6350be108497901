"""Three tails on one file without a lock, stopped and continued at random: each event counts once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.faults.campaign import Fault, Outcome, Piece
from tests.faults.pair import Pair, running_pair
from tests.make_run import NEVER_S

LOCK_REMOVED = Path(__file__).parent / "builds" / "lock_removed"
_ACCEPTED_PER_PAUSE = 200
_PAUSED_FOR_S = (0.02, 0.5)  # within a transaction it stops the others too, and then every client that reads


def pause_tails(piece: Piece, accepted_per_pause: int = _ACCEPTED_PER_PAUSE) -> Outcome:
    """A trial is one pause. The build is the real one less its lock, or one broken further."""
    chance = random.Random(piece.seed)
    pauses = 0
    with (
        running_pair(piece._replace(build=piece.build or LOCK_REMOVED)) as pair,
        _more_tails(pair, piece, 2) as others,
    ):
        tails = [psutil.Process(pair.run.find("accounts", "tail").pid), *others]
        with pair.load(threads=6, seed=piece.seed) as load:
            while pauses < piece.trials and not load.violations:
                paused, wanted = chance.choice(tails), load.accepted + accepted_per_pause
                paused.suspend()
                time.sleep(chance.uniform(*_PAUSED_FOR_S))
                paused.resume()
                pauses += 1
                pair.wait_until_accepted(load, wanted - load.accepted)
        books = pair.books(load)
    return Outcome(pauses, books.counts(), list(books.wrong))


@contextmanager
def _more_tails(pair: Pair, piece: Piece, count: int) -> Iterator[list[psutil.Process]]:
    """More processes that tail for accounts, told what the first was told."""
    environment = {**pair.run.environment, "REDIS_URL": pair.redis_url}
    program = [str(Path(sys.executable).parent / "accounts"), "tail"]
    with (piece.folder / "more tails.log").open("wb") as output:
        started = [
            subprocess.Popen(program, env=environment, stdout=output, stderr=output, process_group=0)
            for _ in range(count)
        ]
    try:
        yield [psutil.Process(process.pid) for process in started]
    finally:
        for process in started:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait(NEVER_S)


PAUSED_TAILS = Fault(
    "paused-tails", "three tails on one file, lock removed, SIGSTOP and SIGCONT", 500, 50, pause_tails
)
