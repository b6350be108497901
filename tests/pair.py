"""Both services in this process: their real apps and tails on one log, without servers or ports.

For tests of what the services answer. As processes: tests/faults/pair.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import accounts.app
import customers.app
from accounts.demo import make_demo
from accounts.identity import Users
from accounts.revenue import revenue
from accounts.signing_keys import SigningKeys
from accounts.token_issuer import TokenIssuer
from customers.directory import directory
from eventlog import EventLog, Projection, ProjectionFile, ProjectionReader
from eventlog.deciding import DecisionMaker
from eventlog.generations import home_of
from eventlog.tail import follow_projection
from eventlog.tail_lock import TailLock
from shared.permissions import Identity, Role
from shared.settings import Settings
from tests.clock import FIXED_NOW
from tests.described_answers import require_described
from tests.make_run import NEVER_S

_NOWHERE = "redis://127.0.0.1:1"  # a privileged port, on which no Redis is


class Tail:
    """A projection's tail as a thread; can be stopped and started, to make a projection lag."""

    def __init__(self, log: EventLog, folder: Path, projection: Projection) -> None:
        self._log = log
        self._folder = folder
        self._projection = projection
        self._stop = threading.Event()
        self._built = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self.begin()
        self.wait_until_built()

    def begin(self) -> None:
        """What `start` waits for; another tail may begin meanwhile."""
        self._stop, self._built = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._stop, self._built), daemon=True)
        self._thread.start()

    def wait_until_built(self) -> None:
        assert self._built.wait(NEVER_S)

    def stop(self) -> None:
        self.begin_to_stop()
        if self._thread is not None:
            self._thread.join(NEVER_S)
            assert not self._thread.is_alive()

    def begin_to_stop(self) -> None:
        """What `stop` waits for."""
        self._stop.set()

    def _run(self, stop: threading.Event, built: threading.Event) -> None:
        lock = TailLock(home_of(self._folder, self._projection))
        lock.acquire()
        try:
            ProjectionFile(self._folder, self._projection).close()
            built.set()
            follow_projection(self._log, self._folder, self._projection, stop, wake_every_ms=50)
        finally:
            lock.release()


class Client:
    """One service as one user; remembers nothing between requests. Every answer is one that the service describes."""

    def __init__(self, app: Flask, token: str | None) -> None:
        self._app = app
        self._client: FlaskClient = app.test_client()
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def request(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **rest: Any
    ) -> TestResponse:
        sent = {**self._headers, **(headers or {})}
        answered = self._client.open(path, method=method, headers=sent, buffered=True, **rest)
        require_described(self._app, answered)
        return answered

    def get(self, path: str, **rest: Any) -> TestResponse:
        return self.request("GET", path, **rest)

    def get_current(self, path: str, *, within_s: float = NEVER_S, **rest: Any) -> TestResponse:
        """An answer whose tag holds until the next event: not of a tail that is about to say that it follows."""
        deadline = time.monotonic() + within_s
        while True:
            answer = self.get(path, **rest)
            state = answer.headers.get("Projection-State", "following")
            if state == "following":
                return answer
            assert time.monotonic() < deadline, f"{path} was {state} for {within_s:.0f} s"

    def post(self, path: str, **rest: Any) -> TestResponse:
        return self.request("POST", path, **rest)

    def delete(self, path: str, **rest: Any) -> TestResponse:
        return self.request("DELETE", path, **rest)


class Pair:
    """Both services on one log, with the two demo users and accounts if asked for."""

    def __init__(
        self,
        log: EventLog,
        folder: Path,
        redis_url: str = _NOWHERE,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """`redis_url` is for the commands that the services start as processes; `variables` set them up."""
        self.log = log
        self.folder = folder
        ours = {"DATA_DIR": str(folder), "REDIS_URL": redis_url}
        self.settings = settings = Settings.from_environment({**(variables or {}), **ours})
        self.revenue_folder = settings.projection_directory("accounts", revenue)
        self.directory_folder = settings.projection_directory("customers", directory)
        self.keys = SigningKeys(folder / "accounts")
        self.keys.make_first()
        self.accounts_app = accounts.app.create_app(settings, log)
        self.customers_app = customers.app.create_app(settings, log)
        self.accounts_tail = Tail(log, self.revenue_folder, revenue)
        self.customers_tail = Tail(log, self.directory_folder, directory)
        self.users = Users(folder / "accounts")

    def token(self, username: str = "user1", role: Role = Role.ADMIN) -> str:
        return TokenIssuer(self.keys).issue(Identity(username, role))

    def accounts(self, username: str | None = "user1", role: Role = Role.ADMIN) -> Client:
        return Client(self.accounts_app, self.token(username, role) if username else None)

    def customers(self, username: str | None = "user1", role: Role = Role.ADMIN) -> Client:
        return Client(self.customers_app, self.token(username, role) if username else None)

    def make_demo(self) -> None:
        reader = ProjectionReader(self.revenue_folder, revenue)
        make_demo(self.users, DecisionMaker(self.log, reader), FIXED_NOW)

    def wait_until_applied(self, *, timeout_s: float = NEVER_S) -> None:
        """Both projections have applied what is in the log now."""
        end = self.log.state().end
        for folder, projection in ((self.revenue_folder, revenue), (self.directory_folder, directory)):
            assert ProjectionReader(folder, projection).wait_until_applied(end, timeout_s)


@contextmanager
def running_pair(
    log: EventLog,
    folder: Path,
    *,
    before: Callable[[Pair], None] | None = None,
    redis_url: str = _NOWHERE,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Pair]:
    """A pair with both tails running; `before` runs before they start."""
    pair = Pair(log, folder, redis_url, variables)
    if before is not None:
        before(pair)
    pair.accounts_tail.begin()
    pair.customers_tail.start()
    pair.accounts_tail.wait_until_built()
    try:
        yield pair
    finally:
        pair.accounts_tail.begin_to_stop()
        pair.customers_tail.stop()
        pair.accounts_tail.stop()
