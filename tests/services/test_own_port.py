"""A port has one web server: a second is refused, whenever it starts, and a killed one is in nobody's way."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from eventlog import EventLog
from eventlog.child_process import ending_with
from eventlog.embedded_redis import EmbeddedRedis, free_port, is_free
from shared.cli import WORKERS
from shared.own_port import take_port
from shared.settings import InvalidSettings
from tests.make_run import NEVER_S, ROOT, wait_until
from tests.pair import Pair, running_pair
from tests.services.accounts_server import accounts_server


def share(port: int) -> socket.socket:
    """As a worker of the web server listens."""
    worker = socket.socket()
    worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    worker.bind(("127.0.0.1", port))
    worker.listen()
    return worker


@pytest.mark.parametrize("second_host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104  # what is refused
def test_a_port_is_taken_before_a_worker_listens_and_while_all_have_ended(second_host: str) -> None:
    port = free_port()
    with take_port("127.0.0.1", port, "ACCOUNTS_PORT"):
        for workers in (0, 2, 0):
            listening = [share(port) for _ in range(workers)]
            with pytest.raises(InvalidSettings, match=f"port {port} is taken .* set ACCOUNTS_PORT"):
                take_port(second_host, port, "ACCOUNTS_PORT")
            assert not is_free(port)
            for worker in listening:
                worker.close()


def test_the_holder_gets_no_connection() -> None:
    port = free_port()
    with take_port("127.0.0.1", port, "ACCOUNTS_PORT"):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=NEVER_S)
        with share(port) as worker:
            for _ in range(50):
                with socket.create_connection(("127.0.0.1", port), timeout=NEVER_S) as client:
                    accepted, address = worker.accept()
                    assert address == client.getsockname()
                    accepted.close()  # first, so that what is left of it stays in TIME_WAIT
    with take_port("127.0.0.1", port, "ACCOUNTS_PORT"):
        pass


def test_of_many_at_once_one_has_the_port() -> None:
    def take(port: int) -> socket.socket | None:
        with suppress(InvalidSettings):
            return take_port("127.0.0.1", port, "ACCOUNTS_PORT")
        return None

    tried = [port for port in [free_port() for _ in range(16)] for _ in range(8)]
    with ThreadPoolExecutor(len(tried)) as threads:
        taken = [found for found in threads.map(take, tried) if found is not None]
    ports = sorted(found.getsockname()[1] for found in taken)
    for found in taken:
        found.close()
    assert ports == sorted(set(tried))


@pytest.fixture
def pair(real_log: EventLog, redis_server: EmbeddedRedis, tmp_path: Path) -> Iterator[Pair]:
    with running_pair(real_log, tmp_path / "data", redis_url=redis_server.url) as pair:
        pair.make_demo()
        yield pair


@pytest.mark.processes
@pytest.mark.parametrize("service", ["accounts", "customers"])
def test_a_second_installation_is_refused_in_one_line(
    pair: Pair, redis_server: EmbeddedRedis, tmp_path: Path, service: str
) -> None:
    with accounts_server(pair, redis_server, tmp_path / "output") as server:
        variable = f"{service.upper()}_PORT"
        refused = subprocess.run(
            ending_with(os.getpid(), [str(Path(sys.executable).with_name(service)), "serve"]),
            cwd=ROOT,
            env={
                **os.environ,
                "DATA_DIR": str(pair.folder),
                "DEMO": "1",
                "REDIS_URL": redis_server.url,
                variable: str(server.port),
            },
            capture_output=True,
            text=True,
            timeout=NEVER_S,
            check=False,
        )
        assert refused.returncode == 1
        assert refused.stderr == (
            f"Error: port {server.port} is taken by another program: end that, or set {variable} to a free one\n"
        )
        assert httpx.get(f"http://127.0.0.1:{server.port}/status", timeout=NEVER_S).is_success


@pytest.mark.processes
def test_workers_are_respawned_and_the_next_server_starts_at_once_after_kill_9(
    pair: Pair, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    with accounts_server(pair, redis_server, tmp_path / "first") as first:
        victim = psutil.Process(first.process.pid).children()[-1]
        victim.kill()
        wait_until(
            lambda: first.output.read_text().count("Started worker") == WORKERS + 1, first.output.read_text
        )
        first.process.kill()
        with accounts_server(pair, redis_server, tmp_path / "second", {"ACCOUNTS_PORT": str(first.port)}):
            answer = httpx.get(f"http://127.0.0.1:{first.port}/status", timeout=NEVER_S)
            assert answer.is_success
