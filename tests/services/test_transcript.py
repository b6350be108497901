"""The former services' own stream and exchanges, replayed: what they wrote is read, what they answered is answered."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import redis
from werkzeug.test import TestResponse

from accounts.revenue import revenue
from customers.directory import directory
from eventlog import EventLog, ProjectionReader
from eventlog.embedded_redis import EmbeddedRedis
from shared.events import make_codec
from tests.fake_redis import fake_pool
from tests.make_run import ROOT
from tests.pair import Client, Pair, running_pair
from tests.services.deliberate_differences import DIFFERENCES, as_markdown

TRANSCRIPT: dict[str, Any] = json.loads((ROOT / "tests" / "seed-004-transcript.json").read_text("utf-8"))
EXCHANGES: list[dict[str, Any]] = TRANSCRIPT["http"]
TOKEN = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)


def ours(pair: Pair, exchange: dict[str, Any]) -> TestResponse:
    """The exchange's request, sent to our service; `<token>` stands for user1's."""
    app = pair.accounts_app if exchange["service"] == "accounts" else pair.customers_app
    headers = {
        name: value.replace("<token>", pair.token()) for name, value in exchange["request_headers"].items()
    }
    body = exchange["request_body"]
    # curl's default for a body, as their clients sent it
    form = "application/x-www-form-urlencoded"
    content = body if isinstance(body, str) or body is None else json.dumps(body)
    return Client(app, None).request(
        exchange["method"],
        exchange["path"],
        headers=headers,
        data=content,
        content_type=form if content else None,
    )


def shape(value: Any) -> Any:
    """A JSON value's structure: keys and types, with lists by their first item."""
    if isinstance(value, dict):
        return {key: shape(found) for key, found in value.items()}
    if isinstance(value, list):
        return [shape(found) for found in value[:1]]
    return type(value).__name__


@pytest.fixture(scope="module", params=["fake", pytest.param("real", marks=pytest.mark.processes)])
def answers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, TestResponse]:
    """To all exchanges in order, each after what the one before wrote is applied; by case."""
    folder = tmp_path_factory.mktemp("pair")
    found = {}
    with ExitStack() as ending:
        if request.param == "fake":
            log = EventLog(fake_pool(), make_codec())
        else:
            server = ending.enter_context(EmbeddedRedis(folder / "redis"))
            log = ending.enter_context(closing(EventLog.connect(server.url, make_codec())))
        log.create()
        pair = ending.enter_context(running_pair(log, folder / "data"))
        pair.make_demo()
        for exchange in EXCHANGES:
            found[exchange["case"]] = ours(pair, exchange)
            pair.wait_until_applied()
    return found


def test_statuses_differ_exactly_where_the_list_says(answers: dict[str, TestResponse]) -> None:
    found = {
        (exchange["case"], exchange["status"], answers[exchange["case"]].status_code)
        for exchange in EXCHANGES
        if answers[exchange["case"]].status_code != exchange["status"]
    }
    assert found == {(difference.case, difference.theirs, difference.ours) for difference in DIFFERENCES}


def test_bodies_have_the_same_shape_where_the_status_is_the_same(answers: dict[str, TestResponse]) -> None:
    compared = []
    for exchange in EXCHANGES:
        answer = answers[exchange["case"]]
        if answer.status_code != exchange["status"]:
            continue
        if answer.status_code >= 400:
            assert answer.content_type == "application/problem+json"
            assert answer.get_json(force=True)["status"] == answer.status_code
            continue
        compared.append(exchange["case"])
        if exchange["response_body"] == "<jwt>":
            assert TOKEN.fullmatch(answer.get_data(as_text=True))
            assert answer.content_type == exchange["content_type"]
        elif exchange["response_body"] == "OK":
            assert answer.get_data(as_text=True) == "OK"
            assert answer.content_type == "text/plain; charset=utf-8"
        else:
            assert answer.content_type == exchange["content_type"]
            assert shape(answer.get_json()) == shape(json.loads(exchange["response_body"]))
    assert compared == [
        "status accounts",
        "status customers",
        "login token user1",
        "accounts empty",
        "customer create",
        "customer create 2",
        "accounts after",
    ]


def test_created_invoices_answer_with_their_shape(answers: dict[str, TestResponse]) -> None:
    """Their status is among the differences, their body is not."""
    for exchange in EXCHANGES:
        if exchange["case"] in ("invoice create", "invoice create again", "invoice for second"):
            assert shape(answers[exchange["case"]].get_json()) == shape(json.loads(exchange["response_body"]))


def test_the_readme_shows_the_list() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    between = readme.split("<!-- deliberate differences -->\n")[1].split("<!-- /deliberate differences -->")[
        0
    ]
    assert between == as_markdown()


@pytest.mark.processes
def test_their_stream_is_projected_and_parked_alike_by_both_services(
    real_log: EventLog, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    with running_pair(real_log, tmp_path) as pair:
        pair.make_demo()
        with redis.Redis.from_url(redis_server.url) as server:
            for _, fields in TRANSCRIPT["stream"]["entries"]:
                # the fields in the order they wrote them
                server.execute_command("XADD", "event-stream", "*", *fields)
        pair.wait_until_applied()

        shown = pair.accounts().get("/accounts").get_json()
        assert [
            (item["account"]["id"], item["customers"], item["total_revenue_cents"]) for item in shown
        ] == [
            (1, [{"customer_id": "1", "name": "John Adams", "total_revenue_cents": 17995}], 17995),
            (2, [{"customer_id": "2", "name": "Martin North", "total_revenue_cents": 1}], 1),
        ]
        entries = pair.accounts().get("/accounts/1/ledger").get_json()
        amounts = [entry["amount_cents"] for entry in entries]
        assert (amounts, entries[-1]["balance_cents"]) == ([10000, 8000, -5, 0], 17995)
        assert [found["id"] for found in pair.customers().get("/customers").get_json()] == ["1", "2"]
        invoices = pair.customers().get("/invoices").get_json()
        assert [(found["id"], found["purchase_price_cents"]) for found in invoices] == [
            ("1", 10000),
            ("2", 8000),
            ("3", 1),
            ("5", -5),
            ("6", 0),
        ]
        parked = [list_parked(pair, "accounts"), list_parked(pair, "customers")]
        assert parked[0] == parked[1] == [(5, "CustomerCreated", "account 99 does not exist")]


def list_parked(pair: Pair, service: str) -> list[tuple[int, str, str]]:
    """Sequence, type and reason; the first two entries are our two accounts."""
    folder, projection = (
        (pair.revenue_folder, revenue) if service == "accounts" else (pair.directory_folder, directory)
    )
    with ProjectionReader(folder, projection).look() as look:
        return [(entry.sequence, entry.event_type, entry.reason) for entry in look.list_parked()]
