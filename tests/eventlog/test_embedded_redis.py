"""A private Redis: what it acknowledged is on disk, one directory has one server, and none outlives its owner."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis

from eventlog import embedded_redis
from eventlog.embedded_redis import (
    DirectoryInUse,
    EmbeddedRedis,
    EmbeddedRedisError,
    PortTaken,
    Server,
    find_server,
    free_port,
    list_servers,
)
from tests.make_run import NEVER_S

pytestmark = pytest.mark.processes

_START_AND_WAIT = """
import sys, time
from pathlib import Path
from eventlog.embedded_redis import EmbeddedRedis
server = EmbeddedRedis(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(params=list_servers(), ids=lambda server: ".".join(map(str, server.version)))
def server(request: pytest.FixtureRequest) -> Server:
    """Each server program at hand."""
    found: Server = request.param
    return found


class _Owner:
    """Another process that owns a Redis in the directory."""

    def __init__(self, directory: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START_AND_WAIT, directory], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        with self._process.stdout as printed:
            self.redis = psutil.Process(int(printed.readline()))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[_Owner]:
    owner = _Owner(tmp_path)
    yield owner
    owner.kill()
    if owner.redis.is_running():
        owner.redis.kill()


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + NEVER_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_was_acknowledged_is_there_after_kill_9(tmp_path: Path, server: Server) -> None:
    with EmbeddedRedis(tmp_path / "with a space", server=server) as running:
        client = redis.Redis.from_url(running.url)
        for number in range(100):
            client.xadd("stream", {"number": number})
        port = running.port
        running.kill()
        running.start()
        assert client.xlen("stream") == 100
        assert running.port == port


def test_settings_are_those_that_keep_a_log(tmp_path: Path, server: Server) -> None:
    with EmbeddedRedis(tmp_path, server=server) as running:
        client = redis.Redis.from_url(running.url, decode_responses=True)
        settings = client.config_get("*")
    durable = {
        "appendonly": "yes",
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",
        "aof-load-truncated": "no",
        "maxmemory-policy": "noeviction",
        "save": "",
        "bind": "127.0.0.1",
        "protected-mode": "yes",
    }
    assert {name: settings[name] for name in durable} == durable


def test_override_replaces_a_setting(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, overrides={"appendfsync": "everysec"}) as running:
        client = redis.Redis.from_url(running.url, decode_responses=True)
        assert client.config_get("appendfsync")["appendfsync"] == "everysec"


def test_second_server_in_one_directory_is_refused_and_told_who_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_redis, "_LOCK_WAIT_S", 0.2)
    with EmbeddedRedis(tmp_path) as first:
        config = (tmp_path / "redis.conf").read_text()
        with pytest.raises(DirectoryInUse, match=f"kill {first.pid}") as refusal:
            EmbeddedRedis(tmp_path).start()
        assert refusal.value.pid == first.pid
        assert (tmp_path / "redis.conf").read_text() == config


def test_second_server_is_refused_while_the_first_is_an_orphan(
    tmp_path: Path, owner: _Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner killed with its Redis stopped in its tracks leaves an orphan that cannot end yet."""
    monkeypatch.setattr(embedded_redis, "_LOCK_WAIT_S", 0.2)
    orphan = owner.redis
    orphan.suspend()
    owner.kill()
    with pytest.raises(DirectoryInUse) as refusal:
        EmbeddedRedis(tmp_path).start()
    assert refusal.value.pid == orphan.pid

    monkeypatch.setattr(embedded_redis, "_LOCK_WAIT_S", 10)
    orphan.resume()
    with EmbeddedRedis(tmp_path) as next_one:
        assert next_one.pid != orphan.pid


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent ended")
def test_it_ends_with_its_owner(owner: _Owner) -> None:
    owner.kill()
    _, alive = psutil.wait_procs([owner.redis], timeout=NEVER_S)
    assert alive == []


def test_command_becomes_the_server_itself(tmp_path: Path) -> None:
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "eventlog.embedded_redis", tmp_path, "--port", str(port)],
        stdout=subprocess.DEVNULL,
    ) as process:
        client = redis.Redis(port=port)

        def answers() -> bool:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

        _wait_until(answers)
        assert client.info("server")["process_id"] == process.pid
        with pytest.raises(EmbeddedRedisError, match=f"port {port} is taken"):
            EmbeddedRedis(tmp_path / "another", port).start()
        process.send_signal(signal.SIGTERM)
        assert process.wait(NEVER_S) == 0


def test_taken_port_names_the_variable(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {port} is taken.*REDIS_PORT"):
            EmbeddedRedis(tmp_path, port).start()


def test_server_that_does_not_start_shows_why(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedRedisError, match="appendfsync"):
        EmbeddedRedis(tmp_path, overrides={"appendfsync": "sometimes"}).start()


def test_older_server_is_refused_where_a_newer_one_has_written(tmp_path: Path) -> None:
    """Redis 6 does not look into `appendonlydir`: it would start with an empty log."""
    (tmp_path / "appendonlydir").mkdir()
    old = find_server()._replace(version=(6, 2, 14))
    with pytest.raises(EmbeddedRedisError, match="written by Redis 7 or later"):
        EmbeddedRedis(tmp_path, server=old).start()


@pytest.mark.parametrize(
    ("answers", "chosen"),
    [
        (["Redis server v=6.0.16 sha=0", "Redis server v=7.2.4 sha=0"], (7, 2, 4)),
        (["Valkey server v=8.0.1 sha=0", "Redis server v=7.2.4 sha=0"], (8, 0, 1)),
    ],
)
def test_first_recent_server_on_the_path_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[str], chosen: tuple[int, int, int]
) -> None:
    folders = []
    for number, answer in enumerate(answers):
        folder = tmp_path / str(number)
        folder.mkdir()
        program = folder / ("valkey-server" if answer.startswith("Valkey") else "redis-server")
        program.write_text(f"#!/bin/sh\necho '{answer}'\n")
        program.chmod(0o755)
        folders.append(str(folder))
    monkeypatch.setenv("PATH", os.pathsep.join([*folders, os.environ["PATH"]]))
    assert find_server().version == chosen
