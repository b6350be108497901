"""A record that was cut off in the middle is no reason not to start; anything else is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from eventlog.embedded_redis import EmbeddedRedis, EmbeddedRedisError, Server, list_servers
from eventlog.torn_aof import is_torn_record

COMMAND = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nhello\r\n"
MULTI = b"*1\r\n$5\r\nMULTI\r\n"
EXEC = b"*1\r\n$4\r\nEXEC\r\n"


@pytest.mark.parametrize("whole", [COMMAND, MULTI + COMMAND + COMMAND + EXEC], ids=["command", "transaction"])
def test_every_beginning_of_a_record_is_torn(whole: bytes) -> None:
    assert all(is_torn_record(whole[:size]) for size in range(1, len(whole)) if whole[:size] != COMMAND)


@pytest.mark.parametrize(
    "end",
    [
        b"garbage",
        b"\x00" * 50,
        COMMAND,
        COMMAND.replace(b"$5", b"$6"),
        COMMAND.replace(b"$5", b"$95") + COMMAND,
        COMMAND.replace(b"*3", b"*9") + COMMAND,
        COMMAND.replace(b"*3", b"$3"),
        COMMAND.replace(b"\r\nhello", b"\rxhello"),
        COMMAND[:-1] + b"x",
    ],
)
def test_damage_is_not_taken_for_a_torn_record(end: bytes) -> None:
    assert not is_torn_record(end)


@pytest.fixture(params=list_servers(), ids=lambda server: ".".join(map(str, server.version)))
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedRedis]:
    program: Server = request.param
    with EmbeddedRedis(tmp_path / "redis", server=program) as server:
        yield server


def aof(server: EmbeddedRedis) -> Path:
    return max(server.directory.rglob("appendonly*.aof"), key=lambda path: path.stat().st_mtime_ns)


@pytest.mark.processes
@pytest.mark.parametrize("bytes_torn", [1, 3, 40, 200, 290])
def test_server_starts_without_what_was_torn_and_keeps_it_aside(
    server: EmbeddedRedis, bytes_torn: int
) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.set("first", "x" * 10)
        server.kill()
        server.start()  # as after any kill, nothing to cut
        client.set("second", "y" * 300)
        server.kill()
        whole = aof(server).read_bytes()
        aof(server).write_bytes(whole[:-bytes_torn])
        server.start()
        assert (client.get("first"), client.get("second")) == (b"x" * 10, None)
    kept = list(server.directory.glob("torn-*.aof"))
    assert len(kept) == 1
    assert whole[:-bytes_torn] == aof(server).read_bytes() + kept[0].read_bytes()
    assert f"kept as {kept[0]}" in server.log_path.read_text()


@pytest.mark.processes
def test_server_does_not_start_on_a_damaged_file_and_says_what_to_do(server: EmbeddedRedis) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.set("first", "x" * 10)
        client.set("second", "y" * 10)
    server.kill()
    whole = aof(server).read_bytes()
    damaged = whole.replace(b"$10\r\nxx", b"$90\r\nxx")
    assert damaged != whole
    aof(server).write_bytes(damaged)
    with pytest.raises(EmbeddedRedisError, match=r"Before you do so: restore a backup.*`eventlog reseed`"):
        server.start()
    assert aof(server).read_bytes() == damaged
