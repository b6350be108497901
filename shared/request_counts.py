"""Where Flask-Limiter counts requests: in the log's Redis, in its memory alone."""

from __future__ import annotations

import time
from typing import Final

from flask import g
from limits.storage import Storage

from eventlog.errors import LogUnavailable
from eventlog.redis_client import RedisClient, Script

_COUNT: Final = Script("count_request", package="shared")


class RequestCounts(Storage):
    """One question to Redis for each request: its answer tells what is left of the limit, too.

    Flask-Limiter makes one for `SCHEME://` and its storage options.
    """

    SCHEME: Final = "request-counts"
    STORAGE_SCHEME = [SCHEME]  # noqa: RUF012  # as the library declares it

    def __init__(self, uri: str, client: RedisClient, prefix: str) -> None:
        super().__init__(uri)
        self._client = client
        self._prefix = prefix

    @property
    def base_exceptions(self) -> type[Exception]:
        return LogUnavailable

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        g.request_count = self._add(key, expiry, amount)
        return int(g.request_count[0])

    def get(self, key: str) -> int:
        """Of this request: nothing, where it was counted elsewhere."""
        return int(vars(g).get("request_count", (0, 0))[0])

    def get_expiry(self, key: str) -> float:
        """As `get`."""
        return float(time.time() + vars(g).get("request_count", (0, 0))[1] / 1000)

    def check(self) -> bool:
        """Whether it can count again; a server that answers may still refuse that."""
        try:
            self._add("check", 1, 1)
        except LogUnavailable:
            return False
        return True

    def clear(self, key: str) -> None:
        raise NotImplementedError

    def reset(self) -> None:
        raise NotImplementedError

    def _add(self, key: str, expiry_s: int, amount: int) -> tuple[int, int]:
        """The sum, and in how many milliseconds it ends."""
        sum_, left_ms = self._client.run(_COUNT, [f"{self._prefix}:{key}"], [expiry_s * 1000, amount])
        return sum_, left_ms
