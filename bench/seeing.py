"""What seeing a request costs: counted and timed, and with its line written; `python -m bench.seeing`.

CPU of the thread that answers, in turns, on a private Redis: the same app without either, with counts, with both.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from flask import Flask
from werkzeug.test import EnvironBuilder

from accounts.revenue import revenue
from bench.results import format_spread
from bench.turns import Turns, take_turns
from eventlog import EventLog, ProjectionFile, Subscription
from eventlog.embedded_redis import EmbeddedRedis
from eventlog.process_log import configure_logging
from eventlog.subscription import OnApplied
from shared.admission import Admission
from shared.batches_seen import seeing_batches
from shared.events import make_codec
from shared.metrics import TailMetrics, WebMetrics
from shared.requests_seen import RequestsSeen, add_request
from tests.pair import Pair, running_pair

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

_BARE, _COUNTED, _LOGGED = "neither", "counted", "counted and logged"


@click.command()
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--turns", type=int, default=15, show_default=True)
@click.option("--requests", type=int, default=300, show_default=True)
def main(seed: int, turns: int, requests: int) -> None:
    """Measure a POST and a GET."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, EmbeddedRedis(Path(name) / "redis") as server:
        log = EventLog.connect(server.url, make_codec())
        log.create()
        with (Path(name) / "log").open("w") as lines, running_pair(log, Path(name)) as pair:
            pair.make_demo()
            made = pair.customers().post("/customers", json={"name": "Ada", "account_id": "1"})
            customer = made.get_json()["id"]
            pair.wait_until_applied()
            with redirect_stderr(lines):
                configure_logging("bench", add_request)
                for what, app, environ in _asked(pair, customer):
                    contestants = _contestants(app, Path(name) / "metrics", environ, requests)
                    _show(what, take_turns(contestants, turns, random.Random(seed)), turns, requests)
                catching_up = _catching_up(log, Path(name))
                _show(
                    "An entry applied while catching up",
                    take_turns(catching_up, turns, random.Random(seed)),
                    turns,
                    1,
                )
        log.close()


def _asked(pair: Pair, customer: str) -> list[tuple[str, Flask, Callable[[], WSGIEnvironment]]]:
    headers = [("Authorization", f"Bearer {pair.token()}")]
    invoice = {"customer_id": customer, "purchase_date": "2026-01-31", "purchase_price_cents": 12000}

    def get() -> WSGIEnvironment:
        return EnvironBuilder("/accounts/1", headers=headers).get_environ()

    def post() -> WSGIEnvironment:
        body = json.dumps(invoice)
        builder = EnvironBuilder(
            "/invoices", method="POST", data=body, content_type="application/json", headers=headers
        )
        return builder.get_environ()

    return [
        ("GET /accounts/1", pair.accounts_app, get),
        ("POST /invoices", pair.customers_app, post),
    ]


def _contestants(
    app: Flask, metrics: Path, environ: Callable[[], WSGIEnvironment], requests: int
) -> dict[str, Callable[[], float]]:
    def flask(asked: WSGIEnvironment, start: Any) -> Any:
        return Flask.wsgi_app(app, asked, start)

    bare = Admission(flask)
    counted = RequestsSeen(bare, WebMetrics(), logs=False)
    logged = RequestsSeen(bare, WebMetrics(metrics), logs=True)

    def ask(asked: WSGIApplication) -> Callable[[], float]:
        def cpu_seconds_each() -> float:
            environs = [environ() for _ in range(requests)]
            began = time.thread_time()
            for each in environs:
                b"".join(asked(each, _start))
            return (time.thread_time() - began) / requests

        return cpu_seconds_each

    return {_BARE: ask(bare), _COUNTED: ask(counted), _LOGGED: ask(logged)}


def _catching_up(log: EventLog, folder: Path) -> dict[str, Callable[[], float]]:
    """Each applies what the requests above have left in the log to a file of its own."""
    seen = seeing_batches(TailMetrics(folder / "metrics"), None)

    def apply(on_applied: OnApplied | None) -> Callable[[], float]:
        def cpu_seconds_each() -> float:
            with (
                tempfile.TemporaryDirectory(dir=folder) as built,
                closing(ProjectionFile(Path(built), revenue)) as file,
            ):
                subscription = Subscription(log, file, on_applied=on_applied)
                began = time.thread_time()
                applied = subscription.run_to_head()
                return (time.thread_time() - began) / applied

        return cpu_seconds_each

    return {_BARE: apply(None), _LOGGED: apply(seen)}


def _start(status: str, _headers: object, _failed: object = None, /) -> Any:
    assert status[0] == "2", status


def _show(what: str, turns: Turns, count: int, requests: int) -> None:
    click.echo(f"{what}, {count} turns of {requests}:")
    for name in turns.contestants:
        ratio = turns.ratio(name, to=_BARE)
        click.echo(
            f"  {name}: {turns.spread(name).median * 1e6:.0f} us, {format_spread(ratio)} times {_BARE}"
        )


if __name__ == "__main__":
    main()
