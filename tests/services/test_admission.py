"""More requests than can be answered in good time: some are answered, in order; the others are told so."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any

import pytest
from werkzeug.test import Client

import shared.admission
from shared.admission import AT_ONCE, WAITING, Admission
from tests.make_run import NEVER_S, wait_until


class Slow:
    """An app that answers a request only when it is let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._go: dict[str, threading.Event] = {}

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        go = self._go.setdefault(path, threading.Event())
        self.begun.append(path)
        assert go.wait(NEVER_S)
        if path == "/broken":
            raise ArithmeticError(path)
        start_response("200 OK", [])
        return [b"done"]

    def let_go(self, path: str) -> None:
        self._go.setdefault(path, threading.Event()).set()


class Visitors:
    """Each asks for a path of its own, from a thread of its own."""

    def __init__(self, app: Admission, threads: ThreadPoolExecutor) -> None:
        self._client = Client(app)
        self._threads = threads

    def come(self, path: str) -> Future[Any]:
        return self._threads.submit(self._client.get, path)

    def write(self, path: str) -> Future[Any]:
        return self._threads.submit(self._client.post, path)


@contextmanager
def full(slow: Slow, admission: Admission) -> Iterator[tuple[Visitors, list[Future[Any]]]]:
    """As many in work as there may be, /0 first; whoever comes is let go in the end."""
    with ThreadPoolExecutor(AT_ONCE + WAITING + 4) as threads:
        visitors = Visitors(admission, threads)
        try:
            yield visitors, [come(visitors, slow, f"/{number}") for number in range(AT_ONCE)]
        finally:
            for number in range(AT_ONCE + WAITING + 4):
                slow.let_go(f"/{number}")


def come(visitors: Visitors, slow: Slow, path: str) -> Future[Any]:
    answer = visitors.come(path)
    wait_until(lambda: path in slow.begun, lambda: f"{path} is not in work: {slow.begun}")
    return answer


def line_up(visitors: Visitors, admission: Admission, count: int) -> list[Future[Any]]:
    """Behind those in work, one after the other."""
    answers = []
    for number in range(count):
        answers.append(visitors.come(f"/{AT_ONCE + number}"))
        wait_until(lambda number=number: admission.reads.waiting > number, lambda: "not in line")  # type: ignore[misc]  # bound
    return answers


def test_what_comes_beyond_the_line_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared.admission, "LONGEST_WAIT_S", 30)
    slow = Slow()
    admission = Admission(slow)
    with full(slow, admission) as (visitors, in_work):
        in_line = line_up(visitors, admission, WAITING)
        refused = visitors.come("/more").result(30)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert refused.json["type"] == "/problems/overloaded"
        slow.let_go("/written")
        assert visitors.write("/written").result(30).status_code == 200, "writes have a line of their own"
        slow.let_go("/health/ready")
        assert visitors.come("/health/ready").result(30).status_code == 200
    assert {answer.result(30).status_code for answer in in_work + in_line} == {200}
    assert "/more" not in slow.begun


@pytest.mark.parametrize(
    ("flooded", "passes"),
    [
        ("/health/ready", ["/accounts", "/health/live", "/metrics"]),
        ("/health/live", ["/accounts", "/health/ready"]),
        ("/metrics", ["/accounts", "/health/ready"]),
    ],
)
def test_who_asks_how_it_is_keeps_nobody_else_from_being_answered(
    flooded: str, passes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared.admission, "LONGEST_WAIT_S", 30)
    slow = Slow()
    most = AT_ONCE + WAITING
    with ThreadPoolExecutor(most + 4) as threads:
        visitors = Visitors(Admission(slow), threads)
        try:
            answers = [visitors.come(flooded) for _ in range(most + 1)]
            refused = next(as_completed(answers, 30)).result()
            assert (refused.status_code, refused.json["type"]) == (503, "/problems/overloaded")
            for path in passes:
                slow.let_go(path)
                assert visitors.come(path).result(30).status_code == 200
        finally:
            slow.let_go(flooded)
        assert Counter(answer.result(30).status_code for answer in answers) == {200: most, 503: 1}


def test_the_line_is_served_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared.admission, "LONGEST_WAIT_S", 30)
    slow = Slow()
    admission = Admission(slow)
    with full(slow, admission) as (visitors, _):
        line_up(visitors, admission, 5)
        for number in range(5):
            slow.let_go(f"/{number}")
            wait_until(lambda number=number: len(slow.begun) > AT_ONCE + number, lambda: str(slow.begun))  # type: ignore[misc]  # bound
    assert slow.begun[AT_ONCE:] == [f"/{AT_ONCE + number}" for number in range(5)]


def test_nobody_waits_for_long_and_who_gave_up_takes_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared.admission, "LONGEST_WAIT_S", 0.05)
    slow = Slow()
    admission = Admission(slow)
    with full(slow, admission) as (visitors, in_work):
        assert [visitors.come(f"/{AT_ONCE + number}").result(30).status_code for number in range(3)] == [
            503
        ] * 3
        slow.let_go("/0")
        assert in_work[0].result(30).status_code == 200
        later = come(visitors, slow, "/later")
        slow.let_go("/later")
        assert later.result(30).status_code == 200
    assert len(slow.begun) == AT_ONCE + 1


def test_a_request_that_fails_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared.admission, "LONGEST_WAIT_S", 30)
    slow = Slow()
    slow.let_go("/broken")
    admission = Admission(slow)
    client = Client(admission)
    for _ in range(2 * (AT_ONCE + WAITING)):
        with pytest.raises(ArithmeticError):
            client.get("/broken")
