"""A build broken on purpose: redis-py retries by itself, as it does by default, and no command is remembered."""

from collections.abc import Sequence
from typing import Any

import redis

from eventlog import log
from eventlog.errors import OutcomeUnknown
from eventlog.redis_client import RedisClient, Script

_FORGOTTEN_AFTER_MS = 1

_init = RedisClient.__init__


def _init_retrying(self: RedisClient, pool: redis.ConnectionPool) -> None:
    pool.connection_kwargs["retry"] = redis.Redis().get_retry()
    _init(self, pool)


def _run_once_for_all_we_know(
    self: RedisClient, script: Script, keys: Sequence[str], arguments: Sequence[Any], for_s: float
) -> Any:
    client: Any = redis.Redis(connection_pool=self._pool)
    try:
        return client.eval(script._source, len(keys), *keys, *arguments)  # noqa: SLF001  # by its source: it may be new there
    except redis.RedisError as lost:
        raise OutcomeUnknown(str(lost)) from lost


RedisClient.__init__ = _init_retrying  # type: ignore[method-assign]  # that is what breaks it
RedisClient.run_until_known = _run_once_for_all_we_know  # type: ignore[method-assign]  # likewise
log.NAMED_COMMAND_LIFETIME_MS = _FORGOTTEN_AFTER_MS  # type: ignore[misc]  # likewise
