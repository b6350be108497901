"""Event ids that are used once, by which a copy of a signed entry is told from its original."""

from __future__ import annotations

import os
import secrets
import threading


class PublishedIds:
    """`<publisher>-<number>`: 12 random characters for this process, and 1, 2, 3 … No number is given twice.

    Numbers of what was refused stay unused: who saw it on its way could still add it to the log.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = 0
        self._publisher = ""
        self._given = 0

    def take(self, count: int) -> list[str]:
        with self._lock:
            if self._process != os.getpid():  # a fork would go on with the same numbers
                self._process, self._publisher, self._given = os.getpid(), secrets.token_urlsafe(9), 0
            first = self._given + 1
            self._given += count
            return [f"{self._publisher}-{number}" for number in range(first, first + count)]
