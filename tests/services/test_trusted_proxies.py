"""Behind a proxy of ours clients are told apart by the address that it names, and by nothing that they name."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Thread

import httpx
import pytest
from werkzeug.serving import make_server

from eventlog import EventLog
from eventlog.embedded_redis import EmbeddedRedis
from shared.admission import ARRIVING
from tests.pair import Client, Pair, running_pair
from tests.services.accounts_server import accounts_server

Ask = Callable[[str], int]

WITHIN_S = 30


@contextmanager
def pair_behind(proxies: int, log: EventLog, folder: Path) -> Iterator[Pair]:
    variables = {"TRUSTED_PROXIES": str(proxies), "REQUEST_LIMITS": "writes=1"}
    with running_pair(log, folder, variables=variables) as pair:
        yield pair


def asking(pair: Pair, service: str) -> Ask:
    """The status of a write without a token, which came with this `X-Forwarded-For`."""
    app = {"accounts": pair.accounts_app, "customers": pair.customers_app}[service]

    def ask(forwarded_for: str) -> int:
        headers = {"X-Forwarded-For": forwarded_for}
        return Client(app, None).post(f"/{service}", json={}, headers=headers).status_code

    return ask


@pytest.mark.parametrize("service", ["accounts", "customers"])
def test_a_client_is_limited_by_the_address_that_the_proxy_names(
    service: str, fake_log: EventLog, tmp_path: Path
) -> None:
    with pair_behind(1, fake_log, tmp_path) as pair:
        ask = asking(pair, service)
        assert {ask("192.0.2.1") for _ in range(3)} == {401, 429}
        assert ask("192.0.2.2") == 401
        made_up = {ask(f"192.0.2.{number}, 192.0.2.3") for number in range(3)}
        assert made_up == {401, 429}, "what stands before it says the client"


@pytest.mark.parametrize("service", ["accounts", "customers"])
def test_without_a_proxy_nobody_chooses_an_address(service: str, fake_log: EventLog, tmp_path: Path) -> None:
    with pair_behind(0, fake_log, tmp_path) as pair:
        ask = asking(pair, service)
        assert 429 in {ask(f"192.0.2.{number}") for number in range(3)}


@pytest.mark.processes
def test_the_line_of_the_proxy_counts_where_it_stands_behind_lines_of_the_client(
    redis_server: EmbeddedRedis, real_log: EventLog, tmp_path: Path
) -> None:
    """Proxies that add a line leave the client's own before it."""
    variables = {"TRUSTED_PROXIES": "1", "REQUEST_LIMITS": "writes=1"}
    with (
        running_pair(real_log, tmp_path) as pair,
        accounts_server(pair, redis_server, tmp_path / "accounts.log", variables) as server,
    ):

        def ask(*forwarded_for: str) -> int:
            headers = [("X-Forwarded-For", address) for address in forwarded_for]
            return httpx.post(f"http://127.0.0.1:{server.port}/accounts", headers=headers).status_code

        assert [ask(f"192.0.2.{number}", "198.51.100.1") for number in range(3)] == [401, 429, 429]
        assert ask("192.0.2.1", "198.51.100.2") == 401


def test_slow_bodies_are_ended_on_the_connections_of_the_proxy(fake_log: EventLog, tmp_path: Path) -> None:
    with pair_behind(1, fake_log, tmp_path) as pair, ExitStack() as connections:
        server = make_server("127.0.0.1", 0, pair.customers_app, threaded=True)
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            slow = []
            for number in range(ARRIVING // 2):  # all that one address may have on their way
                begun = socket.create_connection(("127.0.0.1", server.server_port), timeout=WITHIN_S)
                slow.append(connections.enter_context(closing(begun)))
                head = f"POST /customers HTTP/1.1\r\nHost: here\r\nX-Forwarded-For: 192.0.2.{number}\r\n"
                begun.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
            assert slow[0].recv(12) == b"HTTP/1.1 408"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
