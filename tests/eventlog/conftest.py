"""Servers and logs of the library's tests: one server for each test process, emptied for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from eventlog import EventLog, ProjectionFile, Subscription
from eventlog.embedded_redis import EmbeddedRedis, Server, find_server, list_servers
from eventlog.redis_client import make_pool
from tests.eventlog.parcels import make_codec, make_post


def start_once(factory: pytest.TempPathFactory, server: Server) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(factory.mktemp("redis"), server=server) as running:
        yield running


@pytest.fixture(scope="session")
def embedded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """The server that came with the environment, where one did."""
    yield from start_once(tmp_path_factory, list_servers()[-1])


@pytest.fixture(scope="session")
def path_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """The server that `make run` would take."""
    yield from start_once(tmp_path_factory, find_server())


def emptied_url(server: EmbeddedRedis) -> str:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        client.config_set("maxmemory", 0)
        client.config_set("appendfsync", "always")
    return server.url


@pytest.fixture
def url(embedded_server: EmbeddedRedis) -> str:
    """Of a real server, empty."""
    return emptied_url(embedded_server)


@pytest.fixture
def pool(url: str) -> Iterator[redis.ConnectionPool]:
    """To a real server; who wants another kind overrides it, and `log` and `client` follow."""
    pool = make_pool(url)
    yield pool
    pool.disconnect()


@pytest.fixture
def client(pool: redis.ConnectionPool) -> redis.Redis:
    """What any other program could do to the same server."""
    return redis.Redis(connection_pool=pool)


@pytest.fixture
def log(pool: redis.ConnectionPool) -> EventLog:
    """A new, empty log."""
    log = EventLog(pool, make_codec())
    log.create()
    return log


@pytest.fixture
def file(tmp_path: Path) -> Iterator[ProjectionFile]:
    file = ProjectionFile(tmp_path / "post", make_post())
    yield file
    file.close()


@pytest.fixture
def subscription(log: EventLog, file: ProjectionFile) -> Subscription:
    return Subscription(log, file)
