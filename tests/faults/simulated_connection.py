"""A redis-py pool to a server in the same thread, so that nothing takes time and everything repeats."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import redis
from redis.connection import AbstractConnection

# A command and its arguments, to what Redis would answer; raises redis.RedisError as redis-py would.
Answer = Callable[..., Any]


def make_pool(answer: Answer) -> redis.ConnectionPool:
    """`answer` may lose what it is given, or what it would give back, by raising redis.ConnectionError."""
    return redis.ConnectionPool(connection_class=_Connection, answer=answer, protocol=2, driver_info=None)


class _Connection(AbstractConnection):
    """Commands are answered when they are sent; a refusal is raised where its answer is read."""

    def __init__(self, answer: Answer, **settings: Any) -> None:
        super().__init__(**settings)
        self._ask = answer
        self._answers: deque[Any] = deque()

    def repr_pieces(self) -> list[tuple[str, Any]]:
        return [("db", self.db)]

    def connect(self) -> None:
        """There is nothing to connect to."""

    def _connect(self) -> None:
        """The same."""

    def disconnect(self, *_: Any, **__: Any) -> None:
        self._answers.clear()

    def can_read(self, timeout: float = 0) -> bool:
        return bool(self._answers)

    def send_command(self, *command: Any, **_: Any) -> None:
        self._answers.append(self._answer(command))

    def pack_commands(self, commands: Iterable[Any]) -> list[Any]:
        return list(commands)

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """One MULTI, from there to EXEC."""
        inner = command[1:-1]
        self._answers.extend([b"OK", *[b"QUEUED"] * len(inner), [self._answer(each) for each in inner]])

    def read_response(self, *_: Any, **__: Any) -> Any:
        answer = self._answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _answer(self, command: Any) -> Any:
        encode: Callable[[Any], bytes] = self.encoder.encode
        name, *arguments = [each if type(each) is bytes else encode(each) for each in command]
        try:
            return self._ask(*name.split(), *arguments)
        except redis.ResponseError as refusal:
            return refusal
