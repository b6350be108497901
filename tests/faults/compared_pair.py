"""Both services beside the model: each request goes to both, and what is answered must be the same."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillWaiting
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from werkzeug.test import TestResponse

from eventlog import START, EventLog, Position
from tests.faults.http_model import NOTHING, USERS, State, Write
from tests.make_run import NEVER_S
from tests.pair import Client, running_pair

_ANSWERED_WITHOUT_TAIL_S = 0.1  # a write that needs longer waits for its projection
_MOST = "500"  # as many as a page may show


class Done(NamedTuple):
    """A write that was accepted: sent again with its key, it is answered as it was."""

    write: Write
    key: str
    answer: tuple[int, str, str | None]


class ComparedPair:
    """The pair in this process, on a new log and in a folder of its own; `counts` what was compared."""

    def __init__(self, log: EventLog, folder: Path, counts: Counter[str], ending: ExitStack) -> None:
        self.log = log
        self.state = NOTHING
        self.done: list[Done] = []
        self._counts = counts
        self._pair = ending.enter_context(running_pair(log, folder))
        self._threads = ending.enter_context(ThreadPoolExecutor(1))
        for user, role in USERS.items():
            self._pair.users.add(user, f"password of {user}", role)
        self._tails = {"accounts": self._pair.accounts_tail, "customers": self._pair.customers_tail}
        self._stopped: set[str] = set()
        self._states: dict[str | None, State] = {None: NOTHING}  # by the position after which it was so
        self._latest: str | None = None
        self._highest: Counter[str] = Counter()
        self._keys = 0
        self._read_to = {"accounts": START, "customers": START}

    def client(self, service: str, user: str) -> Client:
        make = self._pair.accounts if service == "accounts" else self._pair.customers
        return make(user, USERS[user])

    def new_key(self) -> str:
        self._keys += 1
        return f"key-{self._keys}"

    def absent_id(self, kind: str) -> str:
        """The one deleted last, or one that never will be."""
        return next(
            (
                done.write.path.rpartition("/")[2]
                for done in reversed(self.done)
                if done.write.method == "DELETE" and f"/{kind}/" in done.write.path
            ),
            str(10**9),
        )

    def stop_or_start_tail(self, service: str) -> None:
        if service in self._stopped:
            self._start_tail(service)
        else:
            self.stop_tail(service)

    def stop_tail(self, service: str) -> None:
        """Does nothing where it is stopped already."""
        self._tails[service].stop()
        self._stopped.add(service)

    def _start_tail(self, service: str) -> None:
        self._tails[service].start()
        self._stopped.discard(service)

    def write(self, write: Write, key: str | None = None) -> None:
        key = key or self.new_key()
        answer = self.answer(write, key)
        new_id = int(answer.get_json()["id"]) if answer.status_code == 201 else 0
        status, after = self.state.write(write, new_id)
        assert answer.status_code == status, f"{write} on {self.state} is {answer.status} {answer.text}"
        assert "Idempotency-Replayed" not in answer.headers
        self._counts["writes accepted" if status < 300 else "writes refused"] += 1
        if status >= 300:
            return
        if new_id:
            kind = write.path.strip("/")
            assert new_id > self._highest[kind], f"{write} got the id {new_id} after {self._highest[kind]}"
            self._highest[kind] = new_id
        self.state = after
        self._latest = answer.headers["Log-Position"]
        self._states[self._latest] = after
        self.done.append(Done(write, key, told(answer)))

    def answer(self, write: Write, key: str) -> TestResponse:
        """The answer; if it needs the projection that was stopped, that follows until it is given."""
        if write.service not in self._stopped:
            return self.send(write, key)
        waiting: Future[TestResponse] = self._threads.submit(self.send, write, key)
        try:
            return waiting.result(_ANSWERED_WITHOUT_TAIL_S)
        except StillWaiting:
            self._tails[write.service].start()
            answer = waiting.result(NEVER_S)
            self._tails[write.service].stop()
            return answer

    def send(self, write: Write, key: str) -> TestResponse:
        return self.client(write.service, write.user).request(
            write.method, write.path, json=write.body, headers={"Idempotency-Key": key}
        )

    def read(self, service: str, user: str, path: str, *, fresh: bool = False, **query: str) -> None:
        """What is answered is the model's at the answer's own position, which never goes back."""
        headers = {"Prefer": "wait=0" if service in self._stopped else "wait=10"}
        if fresh:
            headers["Min-Log-Position"] = self._latest or ""
        answer = self.client(service, user).get(
            f"{path}?{urlencode(query)}" if query else path, headers=headers
        )
        at = answer.headers.get("Log-Position")
        assert at in self._states, f"{path} is at {at}, where nothing is"
        position = START if at is None else Position.parse(at.partition("@")[0])
        assert position >= self._read_to[service], f"{path} is at {at} after {self._read_to}"
        self._read_to[service] = position
        if fresh and at != self._latest:
            assert (answer.status_code, service in self._stopped) == (503, True), (
                f"{path} is at {at}: {answer.text}"
            )
            return
        self._counts["reads compared"] += 1
        expected = self._states[at].read(user, path, **query)
        shown = None if answer.status_code == 404 else _without_times(answer.get_json())
        assert answer.status_code == (404 if expected is None else 200), f"{path} is {answer.text}"
        assert shown == expected, f"{path} of {user} at {at} shows {shown} instead of {expected}"

    def require_all_alike(self) -> None:
        """Once everything is applied: all that everyone sees, and nothing was parked."""
        for service in sorted(self._stopped):
            self._start_tail(service)
        self._pair.wait_until_applied()
        for user in USERS:
            for kind in ("accounts", "customers", "invoices"):
                self.read(service_of(kind), user, f"/{kind}", fresh=True, limit=_MOST)
        for client in (self._pair.accounts(), self._pair.customers()):
            parked = client.get("/health/ready").get_json()["checks"]["parked"]
            assert parked["status"] == "ok", parked


def service_of(kind: str) -> str:
    return "accounts" if kind == "accounts" else "customers"


def told(answer: TestResponse) -> tuple[int, str, str | None]:
    return answer.status_code, answer.text, answer.headers.get("Log-Position")


def _without_times(shown: Any) -> Any:
    """What the clock gave has no place in the model."""
    if isinstance(shown, list):
        return [_without_times(each) for each in shown]
    if isinstance(shown, dict):
        return {name: _without_times(value) for name, value in shown.items() if name != "created_date"}
    return shown
