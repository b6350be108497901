"""A log that grows, with the accounts service on it alone: read, restarted, rebuilt from."""

from __future__ import annotations

import http.client
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from accounts.revenue import revenue
from accounts.signing_keys import SigningKeys
from accounts.token_issuer import TokenIssuer
from bench.mixed_events import mixed_events, publish
from eventlog import EventLog, ProjectionReader
from eventlog.embedded_redis import EmbeddedRedis, free_port
from eventlog.generations import Generations
from shared.events import make_codec
from shared.permissions import Identity, Role

HOST: Final = "127.0.0.1"
WITHIN_S: Final = 900.0
_POLL_S: Final = 0.005
_END_WITHIN_S, _ASK_AGAIN_S = 30.0, 0.1
_KIB_PER_MIB: Final = 1024


class Rebuilt(NamedTuple):
    """What `accounts rebuild` of so many events came to; `told` is what it printed."""

    events: int
    seconds: float
    peak_mib: float
    told: Any


class GrowingLog:
    """A Redis and the accounts service on it; `ending` ends both."""

    def __init__(
        self, folder: Path, chance: random.Random, ending: ExitStack, *, accounts: int, customers: int
    ) -> None:
        folder.mkdir(exist_ok=True)
        server = ending.enter_context(EmbeddedRedis(folder / "redis"))
        self.log = ending.enter_context(closing(EventLog.connect(server.url, make_codec())))
        self.log.create()
        self.port = free_port()
        self.published = 0
        self._events = mixed_events(chance, accounts=accounts, customers=customers)
        self._output = folder / "output.log"
        self._environment = {
            **os.environ,
            "DATA_DIR": str(folder / "data"),
            "REDIS_URL": server.url,
            "EVENT_STREAM": "",
            "ACCOUNTS_PORT": str(self.port),
            "PYTHONDONTWRITEBYTECODE": "",  # else every start compiles anew what was changed since
        }
        self._directory = folder / "data" / "accounts" / revenue.name
        self._keys = SigningKeys(folder / "data" / "accounts")
        self._keys.make_first()
        self._running: list[subprocess.Popen[bytes]] = []
        ending.callback(self.stop)

    @property
    def served_file(self) -> Path:
        """The SQLite file that is read."""
        return Generations(self._directory, revenue).served_file

    def copy_served(self, path: Path) -> None:
        """The rows that are read, as one more SQLite file."""
        with ProjectionReader(self._directory, revenue).look() as look:
            look.copy_to(path)

    def token(self) -> str:
        """An admin's, for 15 minutes."""
        return TokenIssuer(self._keys).issue(Identity("reader", Role.ADMIN))

    def publish_up_to(self, events: int) -> None:
        """Grow the log to so many entries, and wait until they are applied."""
        publish(self.log, self._events, events - self.published)
        self.published = events
        reader = ProjectionReader(self._directory, revenue)
        assert reader.wait_until_applied(self.log.state().end, WITHIN_S), self._output.read_text()

    def start(self) -> float:
        """Web server and tail; the seconds until a read is answered as fresh."""
        started = time.monotonic()
        self._running = [self.start_program("accounts", "serve"), self.start_program("accounts", "tail")]
        while not self._reads_fresh():
            assert time.monotonic() < started + WITHIN_S, self._output.read_text()
            time.sleep(_POLL_S)
        return time.monotonic() - started

    def restart(self) -> float:
        """As `start` answers."""
        self.stop()
        return self.start()

    def stop(self) -> None:
        """End everything that was started and is kept running."""
        for process in self._running:
            _end(process)
        self._running = []

    def keep_running(self, program: str, *words: str) -> None:
        """Until it is stopped, as web server and tail are."""
        self._running.append(self.start_program(program, *words))

    def rebuild(self) -> Rebuilt:
        """`accounts rebuild`, then forgotten again."""
        started = time.monotonic()
        process = self.start_program("accounts", "rebuild", "--json", stdout=subprocess.PIPE)
        peak_kib = 0
        while process.poll() is None:
            peak_kib = max(peak_kib, _peak_kib(process.pid))
            time.sleep(_POLL_S)
        seconds = time.monotonic() - started
        assert process.stdout is not None
        with process.stdout:
            told = msgspec.json.decode(process.stdout.read())
        self.start_program("accounts", "generations", "prune", stdout=subprocess.DEVNULL).wait(60)
        return Rebuilt(self.published, seconds, peak_kib / _KIB_PER_MIB, told)

    def start_program(self, program: str, *words: str, stdout: int | None = None) -> subprocess.Popen[bytes]:
        """One of the project's own, with the variables of this log."""
        with self._output.open("ab") as output:
            return subprocess.Popen(
                [str(Path(sys.executable).parent / program), *words],
                env=self._environment,
                stdout=stdout or output,
                stderr=output,
                process_group=0,
            )

    def _reads_fresh(self) -> bool:
        asking = http.client.HTTPConnection(HOST, self.port, timeout=15)
        with closing(asking):
            try:
                asking.request(
                    "GET", "/accounts?limit=1", headers={"Authorization": f"Bearer {self.token()}"}
                )
                answer = asking.getresponse()
            except (OSError, http.client.HTTPException):
                return False
            return answer.status == 200 and answer.headers["Projection-State"] == "following"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Asked until it ends: a web worker that is just starting passes over a SIGTERM, and would be waited for."""
    deadline = time.monotonic() + _END_WITHIN_S
    while process.poll() is None:
        assert time.monotonic() < deadline, process.args
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_ASK_AGAIN_S)


def _peak_kib(pid: int) -> int:
    """The most memory the process ever had; 0 if it has just ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)
