"""A build broken on purpose: it reads in a MULTI, in which a Redis without memory refuses even to read."""

from eventlog.redis_client import RedisClient

RedisClient.begin_read_all = RedisClient._begin  # type: ignore[method-assign]  # noqa: SLF001  # that is what breaks it
