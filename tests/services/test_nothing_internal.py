"""What goes wrong inside a service stays inside: no answer tells of exceptions, files, programs or their versions."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import pytest
from werkzeug.exceptions import UnsupportedMediaType, default_exceptions

from eventlog import EventLog
from eventlog.embedded_redis import EmbeddedRedis
from tests.make_run import NEVER_S
from tests.pair import Pair, running_pair
from tests.services.accounts_server import accounts_server

SECRET = "the reason, /srv/data/accounts.db, hunter2"
INTERNAL = re.compile(
    rb"traceback|exception|\.py\b|/srv/|/home/|/tmp/|hunter2|sqlite|redis|werkzeug|flask|python|hyper|granian|line \d+",
    re.IGNORECASE,
)


@pytest.fixture
def pair(fake_log: EventLog, tmp_path: Path) -> Iterator[Pair]:
    with running_pair(fake_log, tmp_path) as pair:
        pair.make_demo()
        yield pair


@pytest.mark.parametrize("kind", [ArithmeticError, UnsupportedMediaType])
def test_an_exception_in_a_view_is_logged_and_not_answered(
    pair: Pair, kind: type[Exception], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One of werkzeug's that nothing of ours raises, too."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise kind(SECRET)

    monkeypatch.setattr("accounts.revenue.list_account_revenue", fail)
    with caplog.at_level(logging.ERROR):
        answered = pair.accounts().get("/accounts")
    assert answered.status_code == 500
    assert answered.json["type"] == "/problems/internal-error"  # type: ignore[index]  # JSON
    told = answered.get_data() + str(answered.headers).encode()
    assert not INTERNAL.search(told), told
    assert kind.__name__ in caplog.text
    assert SECRET not in str([record.getMessage() for record in caplog.records])


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/no/such", {}),
        ("BREW", "/accounts", {}),
        ("GET", "/accounts", {"Host": "a..."}),
        ("GET", "/static/page.css", {"Range": "bytes=999999-"}),
    ],
)
def test_what_werkzeug_refuses_is_told_in_our_words(
    pair: Pair, method: str, path: str, headers: dict[str, str]
) -> None:
    detail = pair.accounts().request(method, path, headers=headers).get_json()["detail"]
    assert detail not in {refused.description for refused in default_exceptions.values()}


def test_what_is_wrong_with_a_service_is_told_to_operators_alone(pair: Pair, tmp_path: Path) -> None:
    outside = {"REMOTE_ADDR": "192.0.2.1"}
    pair.accounts_tail.stop()
    (tmp_path / "accounts" / "users.db").unlink()
    (tmp_path / "accounts" / "signing-keys.json").unlink()
    for service in (pair.accounts(None), pair.customers(None)):
        told = service.get("/health/ready", environ_base=outside)
        assert told.get_json()["status"] != "ok"
        assert not INTERNAL.search(told.get_data() + str(told.headers).encode()), told.get_data()


ODD_REQUESTS = {
    "a page that is not there": b"GET /no/such HTTP/1.1\r\nHost: here\r\n",
    "a method that is not there": b"BREW /accounts HTTP/1.1\r\nHost: here\r\n",
    "no token": b"GET /accounts HTTP/1.1\r\nHost: here\r\n",
    "a garbage token": b"GET /accounts HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer e30.e30.e30\r\n",
    "no HTTP": b"\x16\x03\x01",
    "a line that goes on": b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: here\r\n",
    "a path out of the folder": b"GET /static/../../../etc/passwd HTTP/1.1\r\nHost: here\r\n",
    "deep JSON": b"POST /auth/login HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: 5000\r\n\r\n"
    + b"[" * 5000,
    "a bad length": b"POST /auth/login HTTP/1.1\r\nHost: here\r\nContent-Length: -1\r\n",
}


@pytest.mark.processes
def test_over_sockets_too_nothing_tells_what_answers(
    redis_server: EmbeddedRedis, real_log: EventLog, tmp_path: Path
) -> None:
    versions = [version(name).encode() for name in ("granian", "flask", "werkzeug", "redis", "pyjwt")]
    with (
        running_pair(real_log, tmp_path) as pair,
        accounts_server(pair, redis_server, tmp_path / "out") as server,
    ):
        for name, request in ODD_REQUESTS.items():
            with socket.create_connection(("127.0.0.1", server.port), timeout=NEVER_S) as connection:
                ending = b"" if b"\r\n\r\n" in request else b"Connection: close\r\n\r\n"
                connection.sendall(request + ending)
                with connection.makefile("rb") as answer:
                    told = answer.read()
            assert told.startswith(b"HTTP/1.1 4"), (name, told)
            assert not INTERNAL.search(told), (name, told)
            assert not any(each in told for each in versions), (name, told)
