"""The log's contract, on the fakes and on each real server at hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from eventlog.embedded_redis import EmbeddedRedis
from tests.eventlog.conftest import emptied_url
from tests.eventlog.log_contract import LogContract, RealServerContract
from tests.fake_redis import fake_pool
from tests.faults.simulated_connection import make_pool
from tests.faults.simulated_log import SimulatedRedis


def connected(server: EmbeddedRedis) -> Iterator[redis.ConnectionPool]:
    pool = redis.ConnectionPool.from_url(emptied_url(server), protocol=2)
    yield pool
    pool.disconnect()


class TestOnFakeredis(LogContract):
    @pytest.fixture
    def pool(self) -> Any:
        return fake_pool()


class TestOnTheSimulatedRedis(LogContract):
    """The server of the simulation does what the real ones do, as far as the log asks."""

    @pytest.fixture
    def pool(self) -> Any:
        return make_pool(SimulatedRedis(lambda: time.time_ns() // 1_000_000).answer)


@pytest.mark.processes
class TestOnTheServerOfTheEnvironment(RealServerContract):
    @pytest.fixture
    def pool(self, embedded_server: EmbeddedRedis) -> Iterator[redis.ConnectionPool]:
        yield from connected(embedded_server)


@pytest.mark.processes
@pytest.mark.needs("redis-server")
class TestOnTheServerOnThePath(RealServerContract):
    @pytest.fixture
    def pool(self, path_server: EmbeddedRedis) -> Iterator[redis.ConnectionPool]:
        yield from connected(path_server)
