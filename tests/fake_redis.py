"""Redis in memory, for tests of what a real server would only do slower."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fakeredis
import redis


class _CompilesOnce:
    """The interpreter of a server's scripts: fakeredis compiles a script, and collects garbage, at each run."""

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter
        self._compiled: dict[object, Callable[[], object]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._interpreter, name)

    def execute(self, code: object) -> object:
        if code == "collectgarbage()":
            return None
        if code not in self._compiled:
            self._compiled[code] = self._interpreter.compile(code)
        return self._compiled[code]()


def fake_redis() -> fakeredis.FakeRedis:
    """A new, empty server that goes with whoever holds it: fakeredis itself keeps each that it names for good."""
    server = fakeredis.FakeServer(version=(7,))
    client = fakeredis.FakeRedis(server=server)
    client.eval("return 0", 0)  # makes the interpreter
    server._lua_runtime = _CompilesOnce(server._lua_runtime)  # type: ignore[attr-defined]  # noqa: SLF001  # it has no public name
    return client


def fake_pool() -> redis.ConnectionPool:
    """Connections to one."""
    return fake_redis().connection_pool
