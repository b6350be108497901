"""New ids for decisions: threads that want one at the same time share one question to the log."""

from __future__ import annotations

import threading
from collections import defaultdict

from eventlog.log import EventLog


class NewIds:
    """As `EventLog.next_id`, and whoever asks later gets a higher id. Safe to share between threads."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._questions: dict[tuple[str, str], _Questions] = defaultdict(_Questions)

    def next_id(self, counter: str, *, log_id: str, above: int) -> int:
        """Raises what the log raises, to all who shared the question."""
        wish = _Wish(above)
        with self._lock:
            questions = self._questions[counter, log_id]
            questions.wishes.append(wish)
        with questions.asking:  # while one asks, the others gather for the next question
            if wish.is_open:
                with self._lock:
                    wishes, questions.wishes = questions.wishes, []
                self._ask(counter, log_id, wishes)
        if wish.problem is not None:
            raise wish.problem
        return wish.id

    def _ask(self, counter: str, log_id: str, wishes: list[_Wish]) -> None:
        above = max(wish.above for wish in wishes)
        try:
            first = self._log.next_id(counter, log_id=log_id, above=above, count=len(wishes))
        except Exception as problem:  # noqa: BLE001  # raised again by each of them
            for wish in wishes:
                wish.problem = problem
        else:
            for number, wish in enumerate(wishes, first):
                wish.id = number


class _Wish:
    """What one thread wants, and what came of it."""

    def __init__(self, above: int) -> None:
        self.above = above
        self.id = 0
        self.problem: Exception | None = None

    @property
    def is_open(self) -> bool:
        return not self.id and self.problem is None


class _Questions:
    """Of one counter: who asks holds the lock, who waits for it has a wish here."""

    def __init__(self) -> None:
        self.asking = threading.Lock()
        self.wishes: list[_Wish] = []
