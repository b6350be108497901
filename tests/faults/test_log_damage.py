"""The log is damaged under a running pair: the right verdict, reads go on, and the printed mend works."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from eventlog.embedded_redis import EmbeddedRedis
from tests.faults.campaign import Piece
from tests.faults.pair import Pair, running_pair
from tests.make_run import NEVER_S, wait_until

pytestmark = pytest.mark.processes

STREAM = "event-stream"


def flush(server: redis.Redis) -> None:
    server.flushall()


def delete_stream(server: redis.Redis) -> None:
    server.delete(STREAM)


def rename_stream(server: redis.Redis) -> None:
    server.rename(STREAM, "elsewhere")


def delete_then_write_anew(server: redis.Redis) -> None:
    server.delete(STREAM)
    server.xadd(STREAM, {"EventTypeName": "Foreign", "Payload": "{}"})


def delete_last_entry(server: redis.Redis) -> None:
    newest: Any = server.xrevrange(STREAM, count=1)  # redis-py types it for its asynchronous twin too
    server.xdel(STREAM, newest[0][0])


def trim(server: redis.Redis) -> None:
    server.xtrim(STREAM, maxlen=0, approximate=False)


DAMAGES = {
    flush: "replaced",
    delete_stream: "replaced",
    rename_stream: "replaced",
    delete_then_write_anew: "rewound",
    delete_last_entry: "rewound",
    trim: "rewound",
}


@pytest.fixture(scope="module")
def shared_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """One for all damages: each is mended in the end."""
    with running_pair(Piece("", 0, tmp_path_factory.mktemp("pair"))) as pair:
        yield pair


@pytest.mark.parametrize(
    ("damage", "verdict"), DAMAGES.items(), ids=lambda found: getattr(found, "__name__", found)
)
def test_damage_is_named_reads_go_on_and_the_mend_works(
    damage: Callable[[redis.Redis], None], verdict: str, shared_pair: Pair
) -> None:
    pair = shared_pair
    before = post_invoice_and_wait(pair)

    with redis.Redis.from_url(pair.redis_url) as server:
        damage(server)
    wait_for_verdict(pair, verdict)

    stale = get(pair, f"{pair.accounts_url}/accounts")
    assert stale.json() == before
    assert stale.headers["Projection-State"] == f"halted; verdict={verdict}"
    refused = post_invoice(pair)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    tail = get(pair, f"{pair.accounts_url}/health/ready").json()["checks"]["tail"]
    assert "eventlog init --adopt" in tail["mend"]

    adopt(pair)
    for folder in pair.folders.values():
        shutil.rmtree(folder, ignore_errors=True)  # its tail may write its status there at this moment
    wait_until_following(pair)


def test_another_data_directory_is_named_and_the_old_one_is_welcome_back(tmp_path: Path) -> None:
    """A backup from before the last invoice: rewound. The newest directory again: it follows by itself."""
    folder, backup, newest = tmp_path / "outer redis", tmp_path / "backup", tmp_path / "newest"
    with (
        EmbeddedRedis(folder) as server,
        running_pair(Piece("", 0, tmp_path), REDIS_URL=server.url) as pair,
    ):
        server.stop()
        shutil.copytree(folder, backup)
        server.start()
        shown = post_invoice_and_wait(pair)
        server.stop()
        folder.rename(newest)
        backup.rename(folder)
        server.start()
        wait_for_verdict(pair, "rewound")
        assert get(pair, f"{pair.accounts_url}/accounts").json() == shown

        server.stop()
        shutil.rmtree(folder)
        newest.rename(folder)
        server.start()
        wait_until_following(pair)
        assert get(pair, f"{pair.accounts_url}/accounts").json() == shown


def post_invoice(pair: Pair) -> httpx.Response:
    """For a new customer of a new account; the first answer that is not 201, or the last."""

    def post(url: str, body: dict[str, object]) -> httpx.Response:
        return httpx.post(url, json=body, headers=pair.headers, timeout=NEVER_S)

    account = post(f"{pair.accounts_url}/accounts", {"name": "new"})
    if account.status_code != 201:
        return account
    ada = {"name": "Ada", "account_id": account.json()["id"]}
    customer = post(f"{pair.customers_url}/customers", ada)
    if customer.status_code != 201:
        return customer
    return post(
        f"{pair.customers_url}/invoices",
        {
            "customer_id": customer.json()["id"],
            "purchase_date": "2026-01-31",
            "purchase_price_cents": 500,
        },
    )


def post_invoice_and_wait(pair: Pair) -> object:
    """What all accounts show once it is applied. A 503 is repeated, as it says itself."""
    answers: list[httpx.Response] = []

    def is_posted() -> bool:
        answers.append(post_invoice(pair))
        return answers[-1].status_code != 503

    wait_until(is_posted, lambda: answers[-1].text)
    posted = answers[-1]
    assert posted.status_code == 201, posted.text
    minimum = {"Min-Log-Position": posted.headers["Log-Position"]}

    def is_applied() -> bool:
        sent = {**pair.headers, **minimum}
        answers.append(httpx.get(f"{pair.accounts_url}/accounts", headers=sent, timeout=NEVER_S))
        return answers[-1].status_code != 503

    wait_until(is_applied, lambda: answers[-1].text)
    shown = answers[-1].json()
    assert shown[-1]["total_revenue_cents"] == 500
    return shown


def get(pair: Pair, url: str) -> httpx.Response:
    return httpx.get(url, headers=pair.headers, timeout=NEVER_S)


def wait_until_following(pair: Pair) -> None:
    for url in (f"{pair.accounts_url}/accounts", f"{pair.customers_url}/customers"):
        wait_until(
            lambda url=url: get(pair, url).headers["Projection-State"] == "following",  # type: ignore[misc]
            lambda: get(pair, f"{pair.accounts_url}/health/ready").text,
        )


def wait_for_verdict(pair: Pair, verdict: str) -> None:
    for url in (f"{pair.accounts_url}/health/ready", f"{pair.customers_url}/health/ready"):
        wait_until(
            lambda url=url: verdict in get(pair, url).json()["checks"]["tail"]["detail"],  # type: ignore[misc]
            lambda url=url: get(pair, url).text,  # type: ignore[misc]
        )


def adopt(pair: Pair) -> None:
    """What the runbook says, with this pair's variables."""
    variables = {**pair.run.environment, "REDIS_URL": pair.redis_url}
    program = [str(Path(sys.executable).parent / "eventlog"), "init", "--adopt"]
    done = subprocess.run(program, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
