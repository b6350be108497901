"""Clients that say nothing, or never come to an end, by the thousand, while others ask and are answered."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections import Counter
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

import httpx

from shared.connections import allow_connections
from tests.faults.campaign import Fault, Outcome, Piece
from tests.faults.pair import Pair, running_pair
from tests.make_run import NEVER_S

# Other addresses than that of those who are to be answered; Linux has all of 127.0.0.0/8.
_SLOW_ONES: Final = [f"127.0.0.{number}" for number in range(2, 6)]
_LONGEST_S: Final = 5.0  # that somebody else waits for an answer
_TRICKLE_EVERY_S: Final = 0.5
_ASKED_FOR_S: Final = 25.0  # until what is overdue was cut off, and its place taken again
_PAUSE_S: Final = 0.02
_HEAD: Final = b"POST /customers HTTP/1.1\r\nHost: here\r\n"


class SlowClient:
    """A connection that begins something and goes on byte by byte; opened anew when it is ended."""

    def __init__(self, kind: str, port: int, source: str, token: str) -> None:
        self.kind = kind
        self._address = ("127.0.0.1", port)
        self._source = (source, 0)
        authorization = f"Authorization: {token}\r\n".encode()
        self._begins = {
            "silent": b"",
            "slow headers": _HEAD + b"X-",
            "slow bodies": _HEAD + authorization + b"Content-Length: 60000\r\n\r\n{",
            "slow readers": b"GET /static/swagger-ui/swagger-ui-bundle.js HTTP/1.1\r\nHost: here\r\n\r\n",
        }[kind]

    async def stay(self, counts: Counter[str]) -> None:
        """Until cancelled."""
        while True:
            with suppress(OSError):
                await self._be_slow(counts)
            counts[f"{self.kind} ended"] += 1
            await asyncio.sleep(_TRICKLE_EVERY_S)

    async def _be_slow(self, counts: Counter[str]) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as connection:
            connection.setblocking(False)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.bind(self._source)
            await loop.sock_connect(connection, self._address)
            await loop.sock_sendall(connection, self._begins)
            counts[f"{self.kind} connected"] += 1
            while True:
                await asyncio.sleep(_TRICKLE_EVERY_S)
                if self.kind in {"slow headers", "slow bodies"}:
                    await loop.sock_sendall(connection, b"a")
                answered = None if self.kind == "slow readers" else _received(connection)
                if answered is not None:
                    counts[f"{self.kind} told it is 408"] += answered.startswith(b"HTTP/1.1 408")
                    return


def _received(connection: socket.socket) -> bytes | None:
    """Empty where it was ended without a word; None while it goes on."""
    try:
        return connection.recv(1000)
    except BlockingIOError:
        return None


def attack(piece: Piece, asked_for_s: float = _ASKED_FOR_S) -> Outcome:
    """`trials` is how many slow clients there are at once: two thirds silent, a fifth slow with a body."""
    allow_connections(piece.trials)
    with running_pair(piece) as pair:
        return asyncio.run(_attack(pair, piece, asked_for_s))


async def _attack(pair: Pair, piece: Piece, asked_for_s: float) -> Outcome:
    chance, counts = random.Random(piece.seed), Counter[str]()
    bodies, headers, readers = piece.trials // 5, piece.trials // 10, piece.trials // 30
    kinds = ["slow bodies"] * bodies + ["slow headers"] * headers + ["slow readers"] * readers
    kinds += ["silent"] * (piece.trials - len(kinds))
    chance.shuffle(kinds)
    port = urlsplit(pair.customers_url).port or 0
    clients = [
        SlowClient(kind, port, chance.choice(_SLOW_ONES), pair.headers["Authorization"]) for kind in kinds
    ]
    slow = [asyncio.create_task(client.stay(counts)) for client in clients]
    try:
        await _until_all_came(counts, piece.trials)
        outcome = await _ask(pair, asked_for_s)
    finally:
        for each in slow:
            each.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
    return Outcome(
        piece.trials, {**dict(sorted((+counts).items())), **outcome.counts}, outcome.wrong, outcome.seconds
    )


async def _until_all_came(counts: Counter[str], wanted: int) -> None:
    deadline = time.monotonic() + NEVER_S
    while sum(count for name, count in counts.items() if name.endswith("connected")) < wanted:
        if time.monotonic() > deadline:
            raise TimeoutError(f"of {wanted} slow clients only these came: {counts}")
        await asyncio.sleep(_PAUSE_S)


async def _ask(pair: Pair, asked_for_s: float) -> Outcome:
    """Somebody from another address writes and reads, one after the other, each on a new connection."""
    wrong: list[str] = []
    took: dict[str, list[float]] = {"writes": [], "reads": []}
    ends = time.monotonic() + asked_for_s
    while time.monotonic() < ends:
        for what, method, path, body in (
            ("writes", "POST", "/customers", {"name": "Ada", "account_id": "1"}),
            ("reads", "GET", "/customers?limit=1", None),
        ):
            began = time.monotonic()
            async with httpx.AsyncClient(base_url=pair.customers_url, timeout=_LONGEST_S) as client:
                try:
                    answer = await client.request(method, path, json=body, headers=pair.headers)
                except httpx.TransportError as error:
                    wrong.append(f"{method} {path} was not answered: {type(error).__name__}")
                    continue
            took[what].append(time.monotonic() - began)
            if not answer.is_success:
                wrong.append(f"{method} {path} was answered {answer.status_code} {answer.text}")
        await asyncio.sleep(_PAUSE_S)
    return Outcome(0, {f"{what} answered": len(times) for what, times in took.items()}, wrong, took)


SLOW_CLIENTS = Fault(
    "slow-clients",
    "silent connections, slow headers, slow bodies and slow readers at once, while another address writes and reads",
    3_000,
    3_000,
    attack,
)
