"""Where Flask-Limiter counts requests: in the memory of the log's Redis, and of this process while that is away."""

from __future__ import annotations

import logging
import time
from typing import Final

from flask import g
from limits.storage import MemoryStorage, Storage

from eventlog.errors import LogUnavailable
from eventlog.redis_client import RedisClient, Script

_COUNT: Final = Script("count_request", package="shared")
_AWAY_S: Final = 2.0  # before Redis is asked again, by one request

_logger = logging.getLogger(__name__)


class RequestCounts(Storage):
    """One question to Redis for each request: its answer tells what is left of the limit, too.

    Flask-Limiter makes one for `SCHEME://` and its storage options. Its own fallback fails requests that find
    Redis away while another does, and goes back to a Redis that answers and refuses to count.
    """

    SCHEME: Final = "request-counts"
    STORAGE_SCHEME = [SCHEME]  # noqa: RUF012  # as the library declares it

    def __init__(self, uri: str, client: RedisClient, prefix: str) -> None:
        super().__init__(uri)
        self._client = client
        self._prefix = prefix
        self._memory = MemoryStorage()
        self._ask_at_s = 0.0  # 0 while Redis answers

    @property
    def base_exceptions(self) -> type[Exception]:
        return LogUnavailable

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        g.request_count = self._count_in_redis(key, expiry, amount)
        if g.request_count is None:
            count = self._memory.incr(key, expiry, amount)
            g.request_count = (count, self._memory.get_expiry(key))
        return int(g.request_count[0])

    def get(self, key: str) -> int:
        """As of this request."""
        return int(g.request_count[0])

    def get_expiry(self, key: str) -> float:
        """As of this request."""
        return float(g.request_count[1])

    def check(self) -> bool:
        return True

    def clear(self, key: str) -> None:
        raise NotImplementedError

    def reset(self) -> None:
        raise NotImplementedError

    def _count_in_redis(self, key: str, expiry_s: int, amount: int) -> tuple[int, float] | None:
        """The sum, and when it ends; None while Redis is away, or does not count."""
        was_away = self._ask_at_s > 0
        if was_away:
            if time.monotonic() < self._ask_at_s:
                return None
            self._ask_at_s = time.monotonic() + _AWAY_S  # others do not wait for it meanwhile
        try:
            count, left_ms = self._client.run(_COUNT, [f"{self._prefix}:{key}"], [expiry_s * 1000, amount])
        except LogUnavailable as problem:
            self._ask_at_s = time.monotonic() + _AWAY_S
            if not was_away:
                _logger.warning("requests are counted by each process for itself: %s", problem)
            return None
        self._ask_at_s = 0.0
        return count, time.time() + left_ms / 1000
