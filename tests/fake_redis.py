"""Redis in memory, for tests of what a real server would only do slower."""

from __future__ import annotations

import fakeredis
import redis


def fake_redis() -> fakeredis.FakeRedis:
    """A new, empty server that goes with whoever holds it: fakeredis itself keeps each that it names for good."""
    return fakeredis.FakeRedis(server=fakeredis.FakeServer(version=(7,)))


def fake_pool() -> redis.ConnectionPool:
    """Connections to one."""
    return fake_redis().connection_pool
