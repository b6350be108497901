"""A build broken on purpose: it reads in a MULTI, in which a Redis without memory refuses even to read."""

from eventlog.redis_client import RedisClient

RedisClient.read_all = RedisClient.execute_all  # type: ignore[method-assign]  # that is what breaks it
