"""A log on a real server, a tail as a process that follows it, and what the doctor finds there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from click.testing import CliRunner

from eventlog import EventLog, ProjectionReader
from eventlog.cli import main
from eventlog.embedded_redis import EmbeddedRedis, Server
from eventlog.generations import home_of
from eventlog.tail_status import TailState, TailStatusFile
from tests.eventlog import tail_process
from tests.eventlog.log_contract import publish
from tests.eventlog.parcels import a_parcel_sent, make_codec
from tests.eventlog.tally import tally
from tests.make_run import NEVER_S
from tests.tester import TESTER_URL, admit_tester

ROOT = Path(__file__).parents[2]
LOCK_REMOVED = ROOT / "tests" / "faults" / "builds" / "lock_removed"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + NEVER_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Patient:
    """Healthy to begin with: three entries, all applied, by a tail that follows."""

    def __init__(self, server: EmbeddedRedis, data_dir: Path) -> None:
        self.server = server
        self.url = TESTER_URL.format(server.port)
        self.data_dir = data_dir
        self.directory = data_dir / "services" / "tally"
        self.client = redis.Redis.from_url(self.url, protocol=2)
        self.log = EventLog.connect(self.url, make_codec())
        self.started: list[subprocess.Popen[bytes]] = []
        self.log.create()
        self.publish(3)
        self.tail = self.start_tail()
        self.wait_until_applied()

    def publish(self, count: int) -> None:
        publish(self.log, *[a_parcel_sent(number) for number in range(count)])

    def start(self, *command: str | Path, **variables: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.started.append(process)
        return process

    def start_tail(self, **variables: str) -> subprocess.Popen[bytes]:
        return self.start(tail_process.__file__, self.url, self.directory, "ProjectionFile", "0", **variables)

    def wait_for_tail(self, state: TailState) -> None:
        wait_until(lambda: TailStatusFile(home_of(self.directory, tally)).read().state is state)

    def wait_until_applied(self) -> None:
        self.wait_for_tail(TailState.FOLLOWING)
        assert ProjectionReader(self.directory, tally).wait_until_applied(self.log.state().end, 30)

    def ask(self, *options: str) -> tuple[int, str]:
        """The doctor's exit code and what it prints."""
        asked = ["doctor", "--redis-url", self.url, "--data-dir", str(self.data_dir), *options]
        answer = CliRunner().invoke(main, asked)
        return answer.exit_code, answer.output

    def found(self) -> dict[str, dict[str, Any]]:
        """By name, what the doctor finds wrong; its exit code agrees."""
        code, output = self.ask("--json")
        found = {
            each["name"]: each
            for each in json.loads(output)["findings"]
            if each["severity"] in {"problem", "warning"}
        }
        assert code == (3 if any(each["severity"] == "problem" for each in found.values()) else 0), output
        return found

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.communicate()
        self.log.close()
        self.client.close()


@contextmanager
def a_patient(folder: Path, server: Server) -> Iterator[Patient]:
    admit_tester(folder / "redis")
    with EmbeddedRedis(folder / "redis", server=server) as running:
        patient = Patient(running, folder / "data")
        try:
            yield patient
        finally:
            patient.close()
