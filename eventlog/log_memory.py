"""What one log takes in the memory of Redis."""

from __future__ import annotations

import re

from eventlog.readers import Measures
from eventlog.redis_client import RedisClient

_MEASURED_RECORDS = 100


class LogMemory:
    """`log.memory`; raises LogUnavailable as every question to Redis does."""

    def __init__(self, client: RedisClient, stream: str, subjects: str) -> None:
        self._redis = client
        self._stream = stream
        self._subjects = subjects

    def stream_bytes(self) -> int | None:
        """What the stream takes in memory; None where Redis does not say."""
        return self._bytes(self._stream)

    def measure(self) -> Measures:
        """Of command records 100 are measured, and the rest estimated."""
        records, record_bytes, measured = 0, 0, 0
        cursor = b"0"
        while True:
            pattern = f"{{{_glob_escaped(self._stream)}}}:command:*"
            cursor, keys = self._redis.execute("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            for key in keys[: _MEASURED_RECORDS - measured]:
                record_bytes += self._bytes(key) or 0
                measured += 1
            records += len(keys)
            if int(cursor) == 0:
                break
        return Measures(
            stream_bytes=self.stream_bytes(),
            subjects_bytes=self._bytes(self._subjects),
            command_records=records,
            command_bytes=record_bytes * records // max(1, measured),
        )

    def _bytes(self, key: str | bytes) -> int | None:
        answer = self._redis.execute_if_allowed("MEMORY", "USAGE", key, "SAMPLES", 0)
        return None if answer is None else int(answer)


def _glob_escaped(text: str) -> str:
    return re.sub(r"([\\*?\[\]^-])", r"\\\1", text)
