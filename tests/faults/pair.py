"""A running pair, seen from outside: its addresses, a signed-in user, its processes, and its books."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from accounts.revenue import revenue
from customers.directory import directory
from eventlog import Projection, ProjectionReader
from eventlog.generations import Generations, home_of
from eventlog.tail_status import TailState, TailStatusFile
from tests.faults.campaign import Piece
from tests.faults.conservation import Books, compare, read_log
from tests.faults.load import Load
from tests.faults.signed_in import SignedIn
from tests.make_run import NEVER_S, Run, make_environment, runs_ended, wait_until

SETTLED_AFTER_S = 3.2  # startsecs of the supervisor, and a little


class Pair:
    """Starts on construction; `run` is replaced by a later one on the same data by `start_again`."""

    def __init__(self, start: Callable[..., Run]) -> None:
        self._start = start
        self.start_again()
        variables = self.run.environment
        self.customers_url = f"http://127.0.0.1:{variables['CUSTOMERS_PORT']}"
        self.accounts_url = f"http://127.0.0.1:{variables['ACCOUNTS_PORT']}"
        self.redis_url = variables.get("REDIS_URL") or f"redis://127.0.0.1:{variables['REDIS_PORT']}"
        self.folders: dict[Projection, Path] = {
            revenue: Path(variables["DATA_DIR"]) / "accounts" / revenue.name,
            directory: Path(variables["DATA_DIR"]) / "customers" / directory.name,
        }
        self.user = SignedIn(self.accounts_url)
        self.headers = {"Authorization": f"Bearer {self.user.token()}"}

    def start_again(self) -> None:
        self.run = self._start()
        self.run.wait_until_up()

    def load(self, *, threads: int, seed: str, patience_s: float = 60.0) -> Load:
        return Load(
            self.customers_url,
            self.accounts_url,
            self.user,
            threads=threads,
            seed=seed,
            patience_s=patience_s,
        )

    def both_answer(self) -> bool:
        try:
            return all(
                httpx.get(f"{url}/status", timeout=NEVER_S).is_success
                for url in (self.customers_url, self.accounts_url)
            )
        except httpx.TransportError:
            return False

    def applied(self, projection: Projection) -> int:
        """The sequence of the projection's checkpoint."""
        with ProjectionReader(self.folders[projection], projection).look() as look:
            return look.checkpoint.sequence

    def halted(self, projection: Projection) -> str | None:
        """Why the projection's tail has halted; None if it has not."""
        status = TailStatusFile(home_of(self.folders[projection], projection)).read()
        return f"{status.verdict}: {status.message}" if status.state is TailState.HALTED else None

    def any_halted(self) -> bool:
        return any(self.halted(projection) for projection in self.folders)

    def wait_until_applied(self, projection: Projection, sequence: int, load: Load | None = None) -> None:
        """The projection has applied this many entries, or has halted, or the load has failed."""
        wait_until(
            lambda: (
                self.applied(projection) >= sequence
                or self.halted(projection) is not None
                or bool(load and load.violations)
            ),
            lambda: f"{projection.name} is at {self.applied(projection)} of {sequence}",
        )

    def wait_until_accepted(self, load: Load, count: int) -> None:
        """This many more requests were accepted, or the load has failed, or nothing can be accepted any more."""
        wanted = load.accepted + count
        wait_until(
            lambda: load.accepted >= wanted or bool(load.violations) or self.any_halted(),
            lambda: f"accepted {load.accepted} of {wanted}",
            load.patience_s,
        )

    def kill(self, *words: str, beneath: bool = False) -> float:
        """`kill -9` the process whose command line has these words, or a child of it; its end by time.monotonic().

        Waits for one that has settled: the supervisor takes an earlier end for a start that failed, and is
        slower to start it again.
        """
        killed: list[psutil.Process] = []

        def kill() -> bool:
            try:
                found = self.run.find(*words)
                victim = found.children()[0] if beneath else found
                if _age_s(found) < SETTLED_AFTER_S:
                    return False
                victim.kill()
            except (psutil.NoSuchProcess, IndexError):
                return False
            killed.append(victim)
            return True

        wait_until(kill, lambda: f"no {' '.join(words)} to kill")
        psutil.wait_procs(killed, timeout=NEVER_S)
        return time.monotonic()

    def wait_until_tail_settled(self, service: str) -> None:
        """As `kill` waits: one that ends earlier is taken for a start that failed."""

        def settled() -> bool:
            found = self.run.find_all(service, "tail")
            return bool(found) and _age_s(found[0]) >= SETTLED_AFTER_S

        wait_until(settled, lambda: f"no {service} tail")

    def books(self, load: Load) -> Books:
        """The books once both projections have applied all of the log, or have halted."""
        wait_until(self._redis_answers, lambda: "Redis does not come back")
        log = read_log(self.redis_url)
        violations = list(load.violations)
        for projection in self.folders:
            self.wait_until_applied(projection, len(log))
            if halted := self.halted(projection):
                violations.append(f"{projection.name} halted: {halted}")
        files = [
            Generations(folder, projection).served_file.resolve()
            for projection, folder in self.folders.items()
        ]
        return compare(load.told, violations, log, *files)

    def _redis_answers(self) -> bool:
        with redis.Redis.from_url(self.redis_url, retry=Retry(NoBackoff(), 0)) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


def _age_s(process: psutil.Process) -> float:
    """Both ends by the kernel's one clock: psutil's create_time may be most of a second off."""
    try:
        started_ticks = int(
            Path(f"/proc/{process.pid}/stat").read_text("ascii").rpartition(")")[2].split()[19]
        )
    except FileNotFoundError:
        raise psutil.NoSuchProcess(process.pid) from None
    return float(Path("/proc/uptime").read_text("ascii").split()[0]) - started_ticks / os.sysconf(
        "SC_CLK_TCK"
    )


@contextmanager
def running_pair(piece: Piece, **variables: str) -> Iterator[Pair]:
    """The pair as `make run` starts it, of the piece's build, in the piece's folder."""
    environment = {**make_environment(piece.folder), **variables}
    if piece.build is not None:
        environment["PYTHONPATH"] = str(piece.build)
    with runs_ended(piece.folder, environment) as start:
        yield Pair(start)
