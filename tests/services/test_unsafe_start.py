"""Whatever server is started with a service refuses passwords and keys that others may have, as `serve` does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from eventlog import EventLog
from eventlog.child_process import ending_with
from eventlog.embedded_redis import EmbeddedRedis, free_port
from shared.key_files import PRIVATE_KEYS_NAME
from tests.make_run import NEVER_S, ROOT, wait_until
from tests.pair import Pair, running_pair

pytestmark = pytest.mark.processes

SERVERS = {
    "serve": "{service} serve",
    "flask run": "flask --app {service} run --port {port}",
    "a worker elsewhere": "granian --interface wsgi --factory {service}.app:create_worker --port {port}",
    "an app elsewhere": "granian --interface wsgi --factory {service}.app:create_app --port {port}",
}


@pytest.fixture
def pair(real_log: EventLog, redis_server: EmbeddedRedis, tmp_path: Path) -> Iterator[Pair]:
    with running_pair(real_log, tmp_path / "data", redis_url=redis_server.url) as pair:
        pair.make_demo()
        yield pair


def start(pair: Pair, line: str, environment: Mapping[str, str], output: Path) -> subprocess.Popen[bytes]:
    program, *words = line.split()
    command = [str(Path(sys.executable).with_name(program)), *words]
    variables = {**os.environ, "DATA_DIR": str(pair.folder), **environment}
    with output.open("wb") as written:
        return subprocess.Popen(
            ending_with(os.getpid(), command), cwd=ROOT, env=variables, stdout=written, stderr=written
        )


def answers(port: int) -> bool:
    """A server may have the port before what it serves has been made, or has refused."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/live", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def refusal(pair: Pair, server: str, service: str, environment: Mapping[str, str], output: Path) -> str:
    """What it says, where it ends by itself."""
    port = free_port()
    ports = {"ACCOUNTS_PORT": str(port), "CUSTOMERS_PORT": str(port)}
    line = SERVERS[server].format(service=service, port=port)
    with start(pair, line, {**environment, **ports}, output) as process:
        try:
            wait_until(lambda: process.poll() is not None or answers(port), output.read_text)
            assert process.poll() not in {None, 0}
        finally:
            process.terminate()
            process.wait(NEVER_S)
    return output.read_text()


@pytest.mark.parametrize("server", SERVERS)
def test_demo_users_are_let_in_by_no_server_outside_demo_mode(
    pair: Pair, redis_server: EmbeddedRedis, tmp_path: Path, server: str
) -> None:
    environment = {"REDIS_URL": redis_server.url, "DEMO": ""}
    said = refusal(pair, server, "accounts", environment, tmp_path / "output")
    assert "user1 and user2 can log in with a password that everybody can read" in said


@pytest.mark.parametrize("server", SERVERS)
def test_keys_that_others_can_read_are_used_by_no_server(
    pair: Pair, redis_server: EmbeddedRedis, tmp_path: Path, server: str
) -> None:
    environment = {"REDIS_URL": redis_server.url, "DEMO": "1"}
    pair.keys.path.chmod(0o644)
    said = refusal(pair, server, "accounts", environment, tmp_path / "output of accounts")
    assert f"others can read or write {pair.keys.path}: `chmod 600` it" in said
    private = {**environment, "JWKS": str(pair.folder / "accounts" / PRIVATE_KEYS_NAME)}
    said = refusal(pair, server, "customers", private, tmp_path / "output of customers")
    assert "these are private keys, which nobody but accounts may have" in said


@pytest.mark.parametrize("server", ["flask run", "a worker elsewhere"])
def test_in_demo_mode_every_server_starts(
    pair: Pair, redis_server: EmbeddedRedis, tmp_path: Path, server: str
) -> None:
    port, output = free_port(), tmp_path / "output"
    environment = {"REDIS_URL": redis_server.url, "DEMO": "1", "ACCOUNTS_PORT": str(port)}
    line = SERVERS[server].format(service="accounts", port=port)
    with start(pair, line, environment, output) as process:
        try:
            wait_until(lambda: answers(port), output.read_text)
        finally:
            process.terminate()
            process.wait(NEVER_S)
