"""Row 11: all customers in one account, beside the same writes spread over many."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from bench.asking import Answer, Connection
from bench.figure import Aim, Bench, Figure, Measured
from bench.http_load import make_request
from bench.running_pair import RunningPair, running_pair
from bench.turns import take_turns

_CUSTOMERS: Final = 500
_ACCOUNTS: Final = 100
_WRITERS: Final = 16
_SECONDS, _SECONDS_QUICK = 2.0, 0.6
_AIM: Final = Aim("at least", 0.9)
_CREATED: Final = 201

_MadeT = TypeVar("_MadeT")

# How many of ten writes: customers come and go alike, so that there are as many as before.
_SHARES: Final = {"create invoice": 6, "delete invoice": 2, "create customer": 1, "delete customer": 1}


def measure(bench: Bench) -> Measured:
    """Each writer writes on what any of them made; what another is just deleting is answered 404."""
    seconds = _SECONDS_QUICK if bench.quick else _SECONDS
    with running_pair(bench.folder / "pair") as pair:
        accounts = [_make_account(pair, number) for number in range(_ACCOUNTS + 1)]
        hot = _Writers(pair, accounts[:1], bench.chance)
        spread = _Writers(pair, accounts[1:], bench.chance)
        for writers in (hot, spread):
            asyncio.run(writers.make_customers())

        def rate(writers: _Writers) -> Callable[[], float]:
            return lambda: asyncio.run(writers.write(seconds))

        turns = take_turns({"hot": rate(hot), "spread": rate(spread)}, bench.turns(), bench.chance)
    ratio = turns.ratio("hot", "spread")
    others = "; ".join(
        f"{name}: {writers.tell_others()}" for name, writers in (("hot", hot), ("spread", spread))
    )
    figure = Figure(
        row=11,
        measure=f"writes on {_CUSTOMERS} customers in one account, {_WRITERS} writers, deletes among them",
        against=f"the same over {_ACCOUNTS} accounts",
        value=ratio,
        unit="of its rate",
        aim=_AIM,
        turns=bench.turns(),
        absolute=f"{turns.spread('hot').median:,.0f}/s and {turns.spread('spread').median:,.0f}/s accepted; {others}",
    )
    return Measured([figure])


def _make_account(pair: RunningPair, number: int) -> str:
    account = {"name": f"a{number}", "description": "", "owned_by": "user1"}
    made: str = pair.post(pair.accounts_port, "/accounts", account)["id"]
    return made


class _Writers:
    """What they made and have not deleted, and what they were answered."""

    def __init__(self, pair: RunningPair, accounts: list[str], chance: random.Random) -> None:
        self._pair = pair
        self._accounts = accounts
        self._chance = chance
        self._customers: list[str] = []
        self._invoices: list[tuple[str, str]] = []  # of which customer, and its id
        self._answered = Counter[int]()

    async def make_customers(self) -> None:
        """So many that each account has its share."""

        async def make_some() -> None:
            async with Connection.opened(self._pair.customers_port) as connection:
                while len(self._customers) < _CUSTOMERS:
                    await self._create_customer(connection)

        await asyncio.gather(*(make_some() for _ in range(_WRITERS)))
        self._answered.clear()

    async def write(self, seconds: float) -> float:
        """For so long; how many writes a second were accepted."""
        accepted_before, started = self._accepted(), time.perf_counter()

        async def write_on() -> None:
            async with Connection.opened(self._pair.customers_port) as connection:
                while time.perf_counter() < started + seconds:
                    await self._write_one(connection)

        await asyncio.gather(*(write_on() for _ in range(_WRITERS)))
        return (self._accepted() - accepted_before) / (time.perf_counter() - started)

    def tell_others(self) -> str:
        """What was answered besides successes, such as `12 x 404, 0 x 409, 0 x 503`."""
        refused = {404: 0, 409: 0, 503: 0, **self._answered}
        return ", ".join(f"{refused[status]} x {status}" for status in sorted(refused) if status >= 400)

    def _accepted(self) -> int:
        return sum(count for status, count in self._answered.items() if status < 400)

    async def _write_one(self, connection: Connection) -> None:
        match self._chance.choices(list(_SHARES), list(_SHARES.values()))[0]:
            case "delete invoice" if self._invoices:
                _, invoice = self._take(self._invoices)
                await self._ask(connection, "DELETE", f"/invoices/{invoice}")
            case "create customer":
                await self._create_customer(connection)
            case "delete customer":
                customer = self._take(self._customers)
                self._invoices = [found for found in self._invoices if found[0] != customer]
                await self._ask(connection, "DELETE", f"/customers/{customer}")
            case _:
                customer = self._chance.choice(self._customers)
                asked = {"customer_id": customer, "purchase_price_cents": 100, "purchase_date": "2026-11-21"}
                answer = await self._ask(connection, "POST", "/invoices", asked)
                if answer.status == _CREATED:
                    self._invoices.append((customer, _id_in(answer)))

    async def _create_customer(self, connection: Connection) -> None:
        body = {"name": "Ada", "account_id": self._chance.choice(self._accounts)}
        answer = await self._ask(connection, "POST", "/customers", body)
        if answer.status == _CREATED:
            self._customers.append(_id_in(answer))

    async def _ask(
        self, connection: Connection, method: str, path: str, body: dict[str, Any] | None = None
    ) -> Answer:
        text = b"" if body is None else json.dumps(body).encode()
        answer = await connection.ask(make_request(method, path, token=self._pair.token, body=text))
        self._answered[answer.status] += 1
        return answer

    def _take(self, made: list[_MadeT]) -> _MadeT:
        return made.pop(self._chance.randrange(len(made)))


def _id_in(answer: Answer) -> str:
    made: str = msgspec.json.decode(answer.body)["id"]
    return made
