"""What a Redis server says of itself, for whoever looks after it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from eventlog.redis_client import RedisClient

Version = tuple[int, ...]


class ServerState(NamedTuple):
    """`program` is `redis` or `valkey`; `maxmemory_bytes` is 0 where there is no limit.

    `directory` leads to where it keeps its files while it runs; None where it is elsewhere, or this user may not
    look.
    """

    program: str
    version: Version
    used_memory_bytes: int
    maxmemory_bytes: int
    clock_ms: int
    directory: Path | None


def read_server_state(redis: RedisClient) -> ServerState:
    """Raises LogUnavailable where it is away, or refuses INFO or TIME to this user."""
    lines = redis.execute("INFO").decode("utf-8", "replace").splitlines()
    about = dict(line.split(":", 1) for line in lines if ":" in line)
    seconds, microseconds = redis.execute("TIME")
    program = "valkey" if "valkey_version" in about else "redis"
    return ServerState(
        program,
        tuple(map(int, re.findall(r"\d+", about[f"{program}_version"])[:3])),
        int(about["used_memory"]),
        int(about.get("maxmemory", "0")),
        int(seconds) * 1000 + int(microseconds) // 1000,
        _directory_of(about.get("process_id", "")),
    )


def _directory_of(pid: str) -> Path | None:
    """Redis works in its directory. A process of that number may be another one, where Redis is elsewhere."""
    process = Path("/proc", pid if pid.isdecimal() else "none")
    try:
        name = (process / "comm").read_text("utf-8")
        directory = process / "cwd"  # not what it names: that may lie in a container
        return directory if name.startswith(("redis", "valkey")) and directory.is_dir() else None
    except OSError:
        return None
