"""`GET /events`: each change of revenue is told once, in order, to whoever may see it; for as long as it is true."""

from __future__ import annotations

import json
import queue
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from flask import Flask

import accounts.feed
from accounts.revenue import revenue
from accounts.token_issuer import TokenIssuer
from eventlog import EventLog, Position
from eventlog.embedded_redis import EmbeddedRedis
from eventlog.generations import Generations
from eventlog.rebuild import build_generation
from eventlog.tail import switch_generation
from shared.admission import WATCHERS
from shared.cli import WORKERS
from shared.permissions import Identity, Role
from shared.tokens import LIFETIME
from tests.make_run import NEVER_S, wait_until
from tests.pair import Client, Pair, running_pair
from tests.services.accounts_server import AccountsServer, accounts_server

WITHIN_S = NEVER_S


class Told(NamedTuple):
    """One event as it arrived; a comment has no name."""

    name: str
    id: str
    data: Any


class Watcher:
    """A client of `/events`, which listens in a thread."""

    def __init__(self, app: Flask, token: str, last_event_id: str = "") -> None:
        headers = {"Authorization": f"Bearer {token}"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        self.answer = app.test_client().get("/events", headers=headers)
        self._told: queue.Queue[Told | None] = queue.Queue()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def next(self, name: str = "revenue") -> Told:
        """The next event of this name; those of others are passed over."""
        while True:
            told = self._told.get(timeout=WITHIN_S)
            assert told is not None, f"it ended, and no {name} came"
            if told.name == name:
                return told

    def rest(self) -> list[Told]:
        """All until it ends."""
        return list(iter(lambda: self._told.get(timeout=WITHIN_S), None))

    def close(self) -> None:
        self.answer.close()
        self._thread.join(WITHIN_S)
        assert not self._thread.is_alive()

    def _listen(self) -> None:
        for text in self.answer.response:
            assert isinstance(text, bytes)
            for block in text.decode().removesuffix("\n\n").split("\n\n"):
                self._told.put(parse(block))
        self._told.put(None)


def parse(block: str) -> Told:
    fields = dict(line.split(": ", 1) for line in block.splitlines() if line != ":")
    data = fields.get("data")
    return Told(fields.get("event", ""), fields.get("id", ""), None if data is None else json.loads(data))


def brief_token(pair: Pair, username: str = "user1", role: Role = Role.ADMIN, seconds: float = 2) -> str:
    issued_at = datetime.now(UTC) - LIFETIME + timedelta(seconds=seconds)
    return TokenIssuer(pair.keys, lambda: issued_at).issue(Identity(username, role))


@pytest.fixture
def pair(fake_log: EventLog, tmp_path: Path) -> Iterator[Pair]:
    """With Ada, a customer of account 1, and Bob, of account 2."""
    with running_pair(fake_log, tmp_path) as pair:
        pair.make_demo()
        for name, account in (("Ada", "1"), ("Bob", "2")):
            created = pair.customers().post("/customers", json={"name": name, "account_id": account})
            assert created.status_code == 201
        pair.wait_until_applied()
        yield pair


def earn(pair: Pair, cents: int, customer: str = "1") -> str:
    """The position of the entry, as `Log-Position` has it."""
    invoice = {"customer_id": customer, "purchase_date": "2026-01-31", "purchase_price_cents": cents}
    posted = pair.customers().post("/invoices", json=invoice)
    assert posted.status_code == 201
    return posted.headers["Log-Position"]


@contextmanager
def watching(pair: Pair, last_event_id: str = "", **who: Any) -> Iterator[Watcher]:
    with closing(Watcher(pair.accounts_app, pair.token(**who), last_event_id)) as watcher:
        assert watcher.answer.status_code == 200
        yield watcher


def test_a_change_is_told_as_the_ledger_has_it(pair: Pair) -> None:
    with watching(pair) as watcher:
        assert watcher.answer.mimetype == "text/event-stream"
        assert watcher.answer.headers["Cache-Control"] == "no-store"
        first = watcher.next("projection")
        listed = pair.accounts().get("/accounts").headers["Log-Position"]
        assert first == Told("projection", listed, {"state": "following", "log_position": listed})
        positions = [earn(pair, 100), earn(pair, 250)]
        told = [watcher.next(), watcher.next()]
    ledger = pair.accounts().get("/accounts/1/ledger").get_json()
    assert [each.id for each in told] == positions
    assert [each.data for each in told] == [
        {"account_id": "1", "total_revenue_cents": entry["balance_cents"], "entry": entry} for entry in ledger
    ]
    assert told[-1].data["total_revenue_cents"] == 350


def test_a_member_hears_of_its_own_accounts_only(pair: Pair) -> None:
    with watching(pair, username="user2", role=Role.MEMBER) as member, watching(pair) as admin:
        earn(pair, 100)
        earn(pair, 200, customer="2")
        assert [admin.next().data["account_id"] for _ in range(2)] == ["1", "2"]
        assert member.next().data["account_id"] == "2"


def test_who_resumes_misses_nothing_and_hears_nothing_twice(pair: Pair) -> None:
    positions = [earn(pair, number) for number in range(1, 6)]
    pair.wait_until_applied()
    for seen, position in enumerate(positions):
        for given in (position, position.partition("@")[0]):
            with watching(pair, given) as watcher:
                expected = positions[seen + 1 :]
                assert [watcher.next().id for _ in expected] == expected
    with watching(pair, positions[-1]) as watcher:
        assert watcher.next("projection")
        last = earn(pair, 6)
        assert watcher.next().id == last
    with watching(pair, "0-0") as watcher:
        told = [watcher.next() for _ in range(6)]
        assert [each.id for each in told] == [*positions, last]
        assert [each.data["total_revenue_cents"] for each in told] == [1, 3, 6, 10, 15, 21]


def test_who_was_told_of_no_change_yet_resumes_where_it_began(pair: Pair) -> None:
    earn(pair, 1)
    pair.wait_until_applied()
    with watching(pair) as watcher:
        began = watcher.next("projection").id
    missed = [earn(pair, 2), earn(pair, 3)]
    pair.wait_until_applied()
    with watching(pair, began) as watcher:
        assert watcher.next("projection").id == began
        assert [watcher.next().id for _ in missed] == missed


def test_who_began_before_the_first_entry_was_read_resumes_there(fake_log: EventLog, tmp_path: Path) -> None:
    with running_pair(fake_log, tmp_path) as pair:
        with watching(pair) as watcher:
            began = watcher.next("projection").id
        pair.make_demo()
        customer = (
            pair.customers().post("/customers", json={"name": "Ada", "account_id": "1"}).get_json()["id"]
        )
        position = earn(pair, 1, customer)
        with watching(pair, began) as watcher:
            assert watcher.next().id == position


def test_a_long_way_back_is_told_page_by_page_with_every_balance(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages of three, and a feed that remembers two changes: all of the ways to a change meet."""
    monkeypatch.setattr("accounts.changes.PAGE", 3)
    monkeypatch.setattr(accounts.feed, "_REMEMBERED", 2)
    positions = [earn(pair, 1, customer=str(1 + number % 2)) for number in range(20)]
    pair.wait_until_applied()
    with watching(pair, "0-0") as early, watching(pair) as now:
        assert now.next("projection")
        positions += [earn(pair, 1, customer=str(1 + number % 2)) for number in range(20)]
        told = [early.next() for _ in positions]
        assert [now.next().id for _ in range(20)] == positions[20:]
    assert [each.id for each in told] == positions
    for account in ("1", "2"):
        ledger = pair.accounts().get(f"/accounts/{account}/ledger").get_json()
        assert [each.data["entry"] for each in told if each.data["account_id"] == account] == ledger


def test_who_asks_behind_what_is_not_applied_yet_hears_only_of_what_follows(pair: Pair) -> None:
    pair.accounts_tail.stop()
    first, second = earn(pair, 1), earn(pair, 2)
    with watching(pair, first) as watcher:
        pair.accounts_tail.start()
        assert watcher.next().id == second


@pytest.mark.parametrize(
    ("last_event_id", "status", "kind"),
    [
        ("nonsense", 400, "bad-request"),
        ("1-1@123", 400, "bad-request"),
        ("1-1@00000000", 412, "log-position-unknown"),
        ("99999999999999-0", 412, "log-position-unknown"),
        ("1-1@", 400, "bad-request"),
        ("01-1", 400, "bad-request"),
        ("-1", 400, "bad-request"),
        ("1" * 10_000, 400, "bad-request"),
        ("\xe9", 400, "bad-request"),
        ("18446744073709551616-0", 400, "bad-request"),
        ("18446744073709551615-18446744073709551615", 412, "log-position-unknown"),
    ],
)
def test_a_place_that_is_none_is_refused(pair: Pair, last_event_id: str, status: int, kind: str) -> None:
    refused = pair.accounts().get("/events", headers={"Last-Event-ID": last_event_id})
    assert (refused.status_code, refused.get_json(force=True)["type"]) == (status, f"/problems/{kind}")
    assert pair.accounts(None).get("/events").status_code == 401


def test_what_is_wrong_with_the_request_is_said_before_the_stream_begins(pair: Pair) -> None:
    client = pair.accounts()
    assert client.get("/events?after=1").status_code == 400
    assert client.get("/events", headers={"Accept": "application/xml"}).status_code == 406
    assert client.get("/events", headers={"Authorization": "Bearer nonsense"}).status_code == 401
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert client.request(method, "/events").status_code == 405
    assert client.request("OPTIONS", "/events").status_code == 204
    assert client.request("HEAD", "/events", headers={"Last-Event-ID": "nonsense"}).status_code == 400


def test_what_does_not_move_revenue_is_told_as_a_new_position(pair: Pair) -> None:
    with watching(pair) as watcher:
        before = watcher.next("projection").data["log_position"]
        created = pair.customers().post("/customers", json={"name": "Eve", "account_id": "1"})
        after = watcher.next("projection")
    assert after.data == {"state": "following", "log_position": created.headers["Log-Position"]}
    assert after.data["log_position"] != before
    assert after.id == ""


def test_a_new_position_is_told_while_revenue_goes_on_and_on(pair: Pair) -> None:
    with ExitStack() as opened:
        watcher = opened.enter_context(watching(pair))
        late = opened.enter_context(watching(pair))
        member = opened.enter_context(watching(pair, username="user2", role=Role.MEMBER))
        assert late.next("projection")
        assert member.next("projection")
        is_told = threading.Event()
        sent: list[str] = []

        def earn_on() -> None:
            while len(sent) < 5000 and not is_told.is_set():
                sent.append(earn(pair, 1))

        earning = threading.Thread(target=earn_on)
        earning.start()
        try:
            created = pair.customers().post("/customers", json={"name": "Eve", "account_id": "1"})
            wanted = _position(created.headers["Log-Position"])
            for each in (late, member):
                while _position(each.next("projection").data["log_position"]) < wanted:
                    pass
            assert earning.is_alive(), "told in the silence behind it only"
        finally:
            is_told.set()
            earning.join(WITHIN_S)
        assert [watcher.next().id for _ in sent] == sent


def _position(text: str) -> Position:
    return Position.parse(text.partition("@")[0])


def test_a_tail_that_stops_is_told(pair: Pair) -> None:
    with watching(pair) as watcher:
        assert watcher.next("projection").data["state"] == "following"
        pair.accounts_tail.stop()
        assert watcher.next("projection").data["state"] == "stopped"
        pair.accounts_tail.start()
        assert watcher.next("projection").data["state"] == "following"


def test_silence_is_broken_by_a_comment(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts.feed, "HEARTBEAT_S", 0.05)
    with watching(pair) as watcher:
        assert watcher.next("") == Told("", "", None)


def test_it_ends_with_the_token_and_the_answer_is_described(pair: Pair) -> None:
    with closing(Watcher(pair.accounts_app, brief_token(pair))) as watcher:
        told = watcher.rest()
    assert [each.name for each in told if each.name] == ["projection", "expired"]
    assert Client(pair.accounts_app, brief_token(pair)).get("/events").mimetype == "text/event-stream"


def test_a_switch_of_generations_leaves_no_gap(pair: Pair, fake_log: EventLog) -> None:
    with watching(pair) as watcher:
        positions = [earn(pair, 1)]
        built = build_generation(fake_log, pair.revenue_folder, revenue, lambda _done, _of: None)
        positions.append(earn(pair, 2))
        assert switch_generation(fake_log, pair.revenue_folder, revenue, built.generation, WITHIN_S)
        positions.append(earn(pair, 3))
        told = [watcher.next() for _ in positions]
    assert [each.id for each in told] == positions
    assert [each.data["total_revenue_cents"] for each in told] == [1, 3, 6]
    assert Generations(pair.revenue_folder, revenue).serving() == built.generation


def test_another_log_ends_it_and_the_same_one_built_anew_does_not(pair: Pair, fake_log: EventLog) -> None:
    earn(pair, 1)
    pair.wait_until_applied()
    with watching(pair) as watcher:
        assert watcher.next("projection")
        pair.accounts_tail.stop()
        shutil.rmtree(pair.revenue_folder)
        pair.accounts_tail.start()
        second = earn(pair, 2)
        assert watcher.next().id == second
        pair.accounts_tail.stop()
        fake_log.create(adopt=True)
        shutil.rmtree(pair.revenue_folder)
        pair.accounts_tail.start()
        assert watcher.rest()[-1].name == "replaced"
    refused = pair.accounts().get("/events", headers={"Last-Event-ID": second})
    assert refused.status_code == 412


def test_watchers_are_capped_and_whoever_leaves_makes_room(pair: Pair) -> None:
    def watch() -> Any:
        headers = {"Authorization": f"Bearer {pair.token()}"}
        return pair.accounts_app.test_client().get("/events", headers=headers)

    watchers = [watch() for _ in range(WATCHERS)]
    refused = pair.accounts().get("/events")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert refused.get_json(force=True)["type"] == "/problems/too-many-waiting"
    assert pair.accounts().get("/accounts").status_code == 200, "a watcher keeps no place of a read"
    watchers.pop().close()
    assert pair.accounts().request("HEAD", "/events").status_code == 200, "and leaves at once"
    watchers.append(watch())
    assert watchers[-1].status_code == 200
    for each in watchers:
        each.close()


def watch(
    server: AccountsServer, token: str, last_event_id: str = "", receive_buffer: int | None = None
) -> tuple[socket.socket, int]:
    """A connection on which the answer begins, and its status."""
    connection = socket.socket()
    connection.settimeout(WITHIN_S)
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.connect(("127.0.0.1", server.port))
    headers = f"Host: here\r\nAuthorization: Bearer {token}\r\nLast-Event-ID: {last_event_id}\r\n"
    connection.sendall(f"GET /events HTTP/1.1\r\n{headers}\r\n".encode())
    return connection, int(connection.recv(12).split()[1])


def fill(server: AccountsServer, token: str, open_ones: ExitStack) -> None:
    """With watchers, until every worker has all that it takes."""
    refused = 0
    while refused < 10 * WORKERS:  # in a row
        connection, status = watch(server, token)
        open_ones.enter_context(closing(connection))
        assert status in {200, 503}
        refused = refused + 1 if status == 503 else 0


def is_let_in(server: AccountsServer, token: str) -> bool:
    connection, status = watch(server, token)
    connection.close()
    return status == 200


@pytest.fixture
def server(
    real_log: EventLog, redis_server: EmbeddedRedis, tmp_path: Path
) -> Iterator[tuple[Pair, AccountsServer]]:
    with running_pair(real_log, tmp_path / "data") as pair:
        pair.make_demo()
        pair.wait_until_applied()
        with accounts_server(pair, redis_server, tmp_path / "accounts.log") as server:
            yield pair, server


@pytest.mark.processes
def test_a_server_that_is_told_to_end_ends_every_answer(server: tuple[Pair, AccountsServer]) -> None:
    pair, accounts = server
    with ExitStack() as open_ones:
        watchers = [
            open_ones.enter_context(closing(watch(accounts, pair.token())[0])) for _ in range(2 * WORKERS)
        ]
        accounts.process.terminate()
        for watcher in watchers:
            told = b"".join(iter(lambda watcher=watcher: watcher.recv(4096), b""))  # type: ignore[misc]  # bound
            assert b"event: projection" in told
            assert told.endswith(b"0\r\n\r\n"), "whole, not broken off"


@pytest.mark.processes
def test_clients_that_are_gone_make_room(server: tuple[Pair, AccountsServer]) -> None:
    pair, accounts = server
    with ExitStack() as open_ones:
        fill(accounts, pair.token(), open_ones)
    customer = pair.customers().post("/customers", json={"name": "Ada", "account_id": "1"}).get_json()["id"]

    def has_room() -> bool:
        earn(pair, 1, customer)
        return all(is_let_in(accounts, pair.token()) for _ in range(5))

    wait_until(has_room, accounts.output.read_text)


@pytest.mark.processes
def test_who_takes_nothing_makes_room(server: tuple[Pair, AccountsServer]) -> None:
    pair, accounts = server
    customer = pair.customers().post("/customers", json={"name": "Ada", "account_id": "1"}).get_json()["id"]
    invoice = {"customer_id": customer, "purchase_date": "2026-01-31", "purchase_price_cents": 1}
    for _ in range(6):  # some megabytes, more than a connection holds
        assert pair.customers().post("/invoices/batch", json=[invoice] * 1000).status_code == 201
    pair.wait_until_applied()
    with ExitStack() as open_ones:
        stuck, status = watch(accounts, pair.token(), "0-0", receive_buffer=4096)
        open_ones.enter_context(closing(stuck))
        assert status == 200
        fill(accounts, pair.token(), open_ones)
        wait_until(lambda: is_let_in(accounts, pair.token()), accounts.output.read_text)


@pytest.mark.processes
def test_http_2_is_not_spoken(server: tuple[Pair, AccountsServer]) -> None:
    """Its clients can hold an answer back where TCP sees nothing stuck."""
    with socket.create_connection(("127.0.0.1", server[1].port), timeout=WITHIN_S) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        assert connection.recv(100)[:5] in {b"", b"HTTP/"}


@pytest.mark.processes
def test_who_resumes_after_a_kill_of_the_server_misses_nothing(
    real_log: EventLog, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    positions: list[str] = []
    told: list[str] = []
    last = "0-0"
    with running_pair(real_log, tmp_path / "data") as pair:
        pair.make_demo()
        body = {"name": "Ada", "account_id": "1"}
        customer = pair.customers().post("/customers", json=body).get_json()["id"]
        for take in (6, 6, 18):
            positions += [earn(pair, 1, customer) for _ in range(10)]
            with accounts_server(pair, redis_server, tmp_path / "accounts.log") as server:
                connection, _ = watch(server, pair.token(), last)
                with closing(connection):
                    ids = ids_on(connection)
                    assert next(ids).startswith(last)
                    told += [next(ids) for _ in range(take)]
                    last = told[-1]
                    server.process.kill()
    assert told == positions


def ids_on(connection: socket.socket) -> Iterator[str]:
    for line in connection.makefile("rb"):
        field, _, value = line.decode().strip().partition(": ")
        if field == "id":
            yield value
