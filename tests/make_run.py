"""`make run` as a process: started on free ports and a data directory of its own, watched, and gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from eventlog.embedded_redis import free_port, is_free

ROOT = Path(__file__).parents[1]
NEVER_S = 180.0  # what has not come by then will not; sooner, it is only slow beside other tests
_PAUSE_S = 0.05


def wait_until(condition: Callable[[], bool], describe: Callable[[], str], within_s: float = NEVER_S) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {within_s:.0f} s in vain: {describe()}"
        time.sleep(_PAUSE_S)


def answers_http(port: int) -> bool:
    """Whether a service does; its port is taken before."""
    try:
        httpx.get(f"http://127.0.0.1:{port}/status", timeout=NEVER_S)
    except httpx.TransportError:
        return False
    return True


class Run:
    """One `make run`, and every process beneath it that was ever seen."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], output: Path) -> None:
        self._output = output
        self.environment = environment
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        self._seen: dict[int, psutil.Process] = {}

    def output(self) -> str:
        return self._output.read_text()

    def wait_for_output(self, text: str) -> None:
        wait_until(lambda: text in self.output() or self.has_ended(), self.output)
        assert text in self.output(), self.output()

    def wait_until_up(self) -> None:
        self.wait_for_output("Ctrl-C stops everything")
        self.processes()

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def processes(self) -> list[psutil.Process]:
        """All that is alive of it and beneath it, orphans included."""
        if not self.has_ended():
            top = psutil.Process(self.process.pid)
            self._seen.update({found.pid: found for found in [top, *top.children(recursive=True)]})
        return [found for found in self._seen.values() if _is_alive(found)]

    def find(self, *words: str) -> psutil.Process:
        """The topmost process whose command line has all the words."""
        return self.find_all(*words)[0]

    def find_all(self, *words: str) -> list[psutil.Process]:
        """All whose command line has all the words, the topmost first."""
        return [found for found in self.processes() if all(word in _command_line(found) for word in words)]

    def interrupt(self) -> int:
        """Ctrl-C, which a terminal sends to the whole foreground group; the exit code."""
        self.processes()
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(NEVER_S)

    def wait_until_nothing_is_left(self) -> None:
        wait_until(
            lambda: not (self.processes() or self._never_seen()),
            lambda: f"still there: {self.processes()} {self._never_seen()}",
        )
        # A process of several threads counts as ended a moment before the last of them has let go of its sockets.
        ports = {
            name: int(self.environment[name]) for name in ("CUSTOMERS_PORT", "ACCOUNTS_PORT", "REDIS_PORT")
        }
        wait_until(
            lambda: all(is_free(port) for port in ports.values()),
            lambda: (
                f"nothing is left, and still taken: {[name for name, port in ports.items() if not is_free(port)]}"
            ),
        )

    def _never_seen(self) -> list[psutil.Process]:
        """What was started just before the end, and is known by its data directory alone."""
        data_dir = self.environment["DATA_DIR"]
        return [found for found in psutil.process_iter() if _data_dir_of(found) == data_dir]

    def destroy(self) -> None:
        left = self.processes()
        for found in left:
            with suppress(psutil.NoSuchProcess):
                found.kill()
        psutil.wait_procs(left, timeout=NEVER_S)
        self.process.wait(NEVER_S)


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _data_dir_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("DATA_DIR")
    except psutil.Error:
        return None


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def make_environment(folder: Path) -> dict[str, str]:
    """Free ports, a data directory with a difficult path, and nothing of the surrounding configuration."""
    ours = {
        "REDIS_URL",
        "EVENT_STREAM",
        "JWKS",
        "DEMO",
        "HOST",
        "CORS_ORIGINS",
        "CUSTOMERS_URL",
        "TRUSTED_PROXIES",
        "METRICS_TOKEN",
        "METRICS_TOKEN_FILE",
    }
    ours |= {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"}
    return {
        **{name: value for name, value in os.environ.items() if name not in ours},
        "DATA_DIR": str(folder / "data dir, 100%"),
        "CUSTOMERS_PORT": str(free_port()),
        "ACCOUNTS_PORT": str(free_port()),
        "REDIS_PORT": str(free_port()),
        "MAKELEVEL": "1",  # it ends with the test run, as it would with make
    }


@contextmanager
def runs_ended(folder: Path, environment: dict[str, str]) -> Iterator[Callable[..., Run]]:
    """Start `python -m deploy.run`, or another command, with variables that differ from `environment`."""
    runs: list[Run] = []

    def start(command: Sequence[str] = (sys.executable, "-m", "deploy.run"), **variables: str) -> Run:
        run = Run(command, {**environment, **variables}, folder / f"output-{len(runs)}")
        runs.append(run)
        return run

    try:
        yield start
    finally:
        for run in reversed(runs):
            run.destroy()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return make_environment(tmp_path)


@pytest.fixture
def start_run(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Run]]:
    with runs_ended(tmp_path, environment) as start:
        yield start
