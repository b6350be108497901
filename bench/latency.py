"""Row 4: from the answer of POST /invoices to the moment the other service shows its amount."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import Final, NamedTuple

import msgspec

from bench.asking import Answer, Connection
from bench.figure import Aim, Bench, Figure, Measured
from bench.http_load import make_request
from bench.posting import make_customers
from bench.running_pair import RunningPair, running_pair
from bench.turns import Spread, percentile_ms

_POSTS_PER_S: Final = 300
_EVERY: Final = 10  # one post in so many is looked for, so that reading is not the load
_POSTERS, _LOOKERS = 16, 8
_SECONDS, _SECONDS_QUICK = 5.0, 1.5
_AIMS: Final = {50: Aim("within", 10, "ms"), 99: Aim("within", 50, "ms")}  # by percentile
_ACCOUNT: Final = 1


class _Turn(NamedTuple):
    """In seconds, each in order: from answer to amount, and how long after it was due a post began."""

    shown: list[float]
    late: list[float]


def measure(bench: Bench) -> Measured:
    """An open loop: a post begins when it is due, whether or not those before it are answered."""
    seconds = _SECONDS_QUICK if bench.quick else _SECONDS
    with running_pair(bench.folder / "pair") as pair:
        load = _Load(pair)
        turns = [asyncio.run(load.run(seconds)) for _ in range(bench.turns() + 1)][1:]
    late = Spread.of([percentile_ms(turn.late, 99) for turn in turns])
    looks = sum(len(turn.shown) for turn in turns)
    figures = []
    for percent, aim in _AIMS.items():
        spread = Spread.of([percentile_ms(turn.shown, percent) for turn in turns])
        figures.append(
            Figure(
                row=4,
                measure=f"from POST's answer to the amount in GET of accounts, {_POSTS_PER_S} posts/s: p{percent}",
                against="",
                value=spread,
                unit="ms",
                aim=aim,
                turns=len(turns),
                absolute=f"{looks:,} looks; 99 % of the posts began within {late.median:.1f} ms of when they were due",
            )
        )
    return Measured(figures)


class _Load:
    """Connections that post at a steady pace, and pairs of them: one posts, the other looks for it."""

    def __init__(self, pair: RunningPair) -> None:
        self._pair = pair
        # All in one account; who looks has a customer of its own, and so knows what its total must be.
        self._customers = make_customers(pair, 2 * (_POSTERS + _LOOKERS))[::2]
        self._posted_cents = Counter[str]()

    async def run(self, seconds: float) -> _Turn:
        turn = _Turn([], [])
        to_post, to_look_for = asyncio.Queue[float](), asyncio.Queue[float]()
        posting, looking = self._customers[:_POSTERS], self._customers[_POSTERS:]
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(self._post_each(name, to_post, turn)) for name in posting]
            running += [group.create_task(self._look_for_each(name, to_look_for, turn)) for name in looking]
            started = time.perf_counter()
            for number in range(int(seconds * _POSTS_PER_S)):
                due = started + number / _POSTS_PER_S
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                (to_post if number % _EVERY else to_look_for).put_nowait(due)
            await to_post.join()
            await to_look_for.join()
            for task in running:
                task.cancel()
        return _Turn(sorted(turn.shown), sorted(turn.late))

    async def _post_each(self, customer: str, due_times: asyncio.Queue[float], turn: _Turn) -> None:
        async with Connection.opened(self._pair.customers_port) as posting:
            while True:
                due = await due_times.get()
                await self._post(posting, customer, due, turn)
                due_times.task_done()

    async def _look_for_each(self, customer: str, due_times: asyncio.Queue[float], turn: _Turn) -> None:
        async with (
            Connection.opened(self._pair.customers_port) as posting,
            Connection.opened(self._pair.accounts_port) as looking,
        ):
            while True:
                due = await due_times.get()
                posted = await self._post(posting, customer, due, turn)
                answered = time.perf_counter()
                headers = f"Min-Log-Position: {posted.headers['log-position']}\r\nPrefer: wait=5\r\n"
                request = make_request(
                    "GET", f"/accounts/{_ACCOUNT}", token=self._pair.token, headers=headers
                )
                shown = await looking.ask(request)
                turn.shown.append(time.perf_counter() - answered)
                assert self._posted_cents[customer] == _total_of(customer, shown), shown
                due_times.task_done()

    async def _post(self, posting: Connection, customer: str, due: float, turn: _Turn) -> Answer:
        turn.late.append(time.perf_counter() - due)
        invoice = {"customer_id": customer, "purchase_price_cents": 100, "purchase_date": "2026-11-21"}
        request = make_request("POST", "/invoices", token=self._pair.token, body=json.dumps(invoice).encode())
        posted = await posting.ask(request)
        assert posted.status == 201, posted
        self._posted_cents[customer] += 100
        return posted


def _total_of(customer: str, answer: Answer) -> int:
    found = {each["customer_id"]: each for each in msgspec.json.decode(answer.body)["customers"]}
    return int(found[customer]["total_revenue_cents"])
