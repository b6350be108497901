"""A proxy before Redis that loses as many scripts, or their answers, as it is told to lose."""

from __future__ import annotations

import threading
from enum import Enum, auto

from tests.proxy import Fate, Link, Proxy, Way


class Loss(Enum):
    """What becomes of a script's request and its answer."""

    NONE = auto()
    ANSWER_THEN_CLOSE = auto()  # the server did it, the connection breaks
    ANSWER_THEN_SILENCE = auto()  # the server did it, nothing more is heard
    ALL = auto()  # a black hole: the server never sees it


class LossyProxy(Proxy):
    """`lose(loss, times)` is for the next so many scripts; everything else passes."""

    def __init__(self, server_port: int) -> None:
        super().__init__(server_port)
        self._guard = threading.Lock()
        self._loss, self._times = Loss.NONE, 0
        self._answers: dict[Link, Fate] = {}

    def lose(self, loss: Loss, times: int) -> None:
        with self._guard:
            self._loss, self._times = loss, times

    @property
    def left_to_lose(self) -> int:
        return self._times

    def fate(self, chunk: bytes, way: Way, link: Link) -> Fate:
        if way is Way.REPLY:
            return self._answers.pop(link, Fate.PASSED)
        with self._guard:
            if b"EVAL" not in chunk or self._times == 0:
                return Fate.PASSED
            self._times -= 1
            loss = self._loss
        if loss is Loss.ALL:
            return Fate.LOST
        self._answers[link] = Fate.LOST if loss is Loss.ANSWER_THEN_SILENCE else Fate.LOST_AND_CLOSED
        return Fate.PASSED
