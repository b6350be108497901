"""`make replay-figures`: what rebuilding and restarting cost on long logs; a recorded run, no test."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import httpx
import msgspec

from accounts.revenue import revenue
from bench.mixed_events import mixed_events, publish
from eventlog import EventLog, Position, ProjectionReader
from eventlog.embedded_redis import EmbeddedRedis, free_port
from shared.events import make_codec
from shared.permissions import Identity, Role
from shared.tokens import Tokens
from tests.faults.campaign import describe_versions
from tests.make_run import wait_until

_SECRET = "figures are no secret, but tokens want one"
_ACCOUNTS, _CUSTOMERS = 10, 1000
_READERS, _READS_PER_S = 6, 300
_WITHIN_S = 900.0
_RESTARTS = 5
_SHORT, _LONG, _LONGEST = 100_000, 1_000_000, 2_000_000
_TRIM_EVERY, _KEEP = 100_000, 50_000
_MIB: Final = 1024  # as /proc counts, in KiB


class _Rebuilt(NamedTuple):
    events: int
    seconds: float
    peak_mib: float
    told: Any


class _Machine:
    """A Redis and the accounts service on it, alone."""

    def __init__(self, folder: Path, seed: int, ending: ExitStack) -> None:
        server = ending.enter_context(EmbeddedRedis(folder / "redis"))
        self._log = EventLog.connect(server.url, make_codec())
        ending.callback(self._log.close)
        self._log.create()
        self._events = mixed_events(random.Random(seed), accounts=_ACCOUNTS, customers=_CUSTOMERS)
        self._published = 0
        self._folder = folder
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        self._environment = {
            **os.environ,
            "DATA_DIR": str(folder / "data"),
            "REDIS_URL": server.url,
            "EVENT_STREAM": "",
            "JWT_SECRET": _SECRET,
            "ACCOUNTS_PORT": str(port),
        }
        self._headers = {"Authorization": f"Bearer {Tokens(_SECRET).issue(Identity('reader', Role.ADMIN))}"}
        self._reader = ProjectionReader(folder / "data" / "accounts" / revenue.name, revenue)
        self._running: list[subprocess.Popen[bytes]] = []
        ending.callback(self.stop)

    def publish_up_to(self, events: int) -> None:
        """Grow the log to so many entries, and wait until they are applied."""
        publish(self._log, self._events, events - self._published)
        self._published = events
        assert self._reader.wait_until_applied(self._log.state().end, _WITHIN_S)

    def start(self) -> float:
        """Web server and tail; the seconds until a read is answered as fresh."""
        started = time.monotonic()
        self._running = [self._start("serve"), self._start("tail")]
        wait_until(self._reads_fresh, lambda: "no fresh read", _WITHIN_S)
        return time.monotonic() - started

    def stop(self) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait(30)
        self._running = []

    def keep_archive(self) -> None:
        """Until the machine stops."""
        self._running.append(self._start("archive", program="eventlog"))

    def trim(self) -> float:
        """All but the newest entries, once the archive has them; the memory of Redis then, in MiB."""
        end = self._log.state().sequence

        def all_have_it() -> bool:
            return {reader.sequence for reader in self._log.readers.list_all()} == {end}

        wait_until(all_have_it, lambda: str(self._log.readers.list_all()), _WITHIN_S)
        assert self._start("trim", "--keep", str(_KEEP), program="eventlog").wait(600) == 0
        return self._log.server_state().used_memory_bytes / 2**20

    def rebuild(self) -> _Rebuilt:
        """`accounts rebuild`, then forgotten again."""
        started = time.monotonic()
        process = self._start("rebuild", "--json", stdout=subprocess.PIPE)
        peak_kib = 0
        while process.poll() is None:
            peak_kib = max(peak_kib, _peak_kib(process.pid))
            time.sleep(0.01)
        seconds = time.monotonic() - started
        assert process.stdout is not None
        with process.stdout:
            told = msgspec.json.decode(process.stdout.read())
        self._start("generations", "prune", stdout=subprocess.DEVNULL).wait(60)
        return _Rebuilt(self._published, seconds, peak_kib / _MIB, told)

    @contextmanager
    def reading(self) -> Iterator[list[str]]:
        """Reads at a steady pace meanwhile; what each came to: `ok`, or what was wrong."""
        outcomes: list[str] = []
        stop = threading.Event()
        threads = [
            threading.Thread(target=self._read_steadily, args=(stop, outcomes)) for _ in range(_READERS)
        ]
        for thread in threads:
            thread.start()
        try:
            yield outcomes
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _read_steadily(self, stop: threading.Event, outcomes: list[str]) -> None:
        read_to = Position(0, 0)
        due = time.monotonic()
        with httpx.Client(base_url=self._url, headers=self._headers, timeout=15) as client:
            while not stop.wait(max(0.0, due - time.monotonic())):
                due += _READERS / _READS_PER_S
                try:
                    answer = client.get("/accounts/1")
                except httpx.TransportError as problem:
                    outcomes.append(repr(problem))
                    continue
                at = Position.parse(answer.headers.get("Log-Position", "0-0").partition("@")[0])
                outcomes.append("ok" if answer.status_code == 200 and at >= read_to else answer.text)
                read_to = at

    def _reads_fresh(self) -> bool:
        try:
            answer = httpx.get(f"{self._url}/accounts", headers=self._headers)
        except httpx.TransportError:
            return False
        return answer.status_code == 200 and answer.headers["Projection-State"] == "following"

    def _start(
        self, *words: str, program: str = "accounts", stdout: int | None = None
    ) -> subprocess.Popen[bytes]:
        with (self._folder / "output.log").open("ab") as output:
            return subprocess.Popen(
                [str(Path(sys.executable).parent / program), *words],
                env=self._environment,
                stdout=stdout or output,
                stderr=output,
                process_group=0,
            )


def _peak_kib(pid: int) -> int:
    """The most memory the process ever had; 0 if it has just ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)


@click.command()
@click.option("--seed", default=1, show_default=True)
def main(seed: int) -> None:
    """Publish a long log, and print what it costs to rebuild from it and to restart on it."""
    with tempfile.TemporaryDirectory(prefix="long-log-") as folder, ExitStack() as ending:
        machine = _Machine(Path(folder), seed, ending)
        machine.start()
        machine.publish_up_to(_SHORT)
        short = machine.rebuild()
        machine.publish_up_to(_LONG)
        began = time.monotonic()
        with machine.reading() as reads:
            long = machine.rebuild()
        reads_per_s = len(reads) / (time.monotonic() - began)
        machine.publish_up_to(_LONGEST)
        restarts = []
        for _ in range(_RESTARTS):
            machine.stop()
            restarts.append(machine.start())
        machine.stop()
    with tempfile.TemporaryDirectory(prefix="trimmed-log-") as folder, ExitStack() as ending:
        machine = _Machine(Path(folder), seed, ending)
        machine.start()
        machine.keep_archive()
        memory_mib = []
        for events in range(_TRIM_EVERY, _LONGEST + 1, _TRIM_EVERY):
            machine.publish_up_to(events)
            memory_mib.append(machine.trim())
        trimmed = machine.rebuild()
    failed = sum(each != "ok" for each in reads)
    lines = ["| what | figure |", "|---|---|"]
    for found in (short, long):
        meanwhile = "" if found is short else f", {reads_per_s:.0f} reads/s meanwhile, {failed} failed"
        same = "the same as" if found.told["same"] else "NOT the same as"
        lines.append(
            f"| `accounts rebuild` of {found.events:,} events | {found.seconds:.1f} s, "
            f"{found.events / found.seconds:,.0f}/s; {found.told['rows']:,} rows, {same} those served; "
            f"peak {found.peak_mib:.0f} MiB{meanwhile} |"
        )
    lines.append(
        f"| web server and tail started with a current checkpoint on {_LONGEST:,} events, until the first fresh read | "
        f"{min(restarts):.2f} to {max(restarts):.2f} s in {_RESTARTS} restarts |"
    )
    same = "the same as" if trimmed.told["same"] else "NOT the same as"
    first_mib, *later_mib = memory_mib
    lines.append(
        f"| memory of Redis while the log grows to {_LONGEST:,} events, trimmed to {_KEEP:,} every {_TRIM_EVERY:,} "
        f"| {first_mib:.0f} MiB after the first {_TRIM_EVERY:,}, then {min(later_mib):.0f} to {max(later_mib):.0f} |"
    )
    lines.append(
        f"| `accounts rebuild` of these, {_LONGEST - _KEEP:,} of them from the archive | {trimmed.seconds:.1f} s, "
        f"{trimmed.events / trimmed.seconds:,.0f}/s; {trimmed.told['rows']:,} rows, {same} those served; "
        f"peak {trimmed.peak_mib:.0f} MiB |"
    )
    click.echo("\n".join([*lines, f"seed {seed}; {describe_versions()}"]))


if __name__ == "__main__":
    main()
