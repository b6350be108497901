"""The log is damaged under a running pair: the right verdict, reads go on, and the printed mend works."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from tests.faults.pair import Pair
from tests.make_run import Run, wait_until

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


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("damage", "verdict"), DAMAGES.items(), ids=lambda found: getattr(found, "__name__", found)
)
def test_damage_is_named_reads_go_on_and_the_mend_works(
    damage: Callable[[redis.Redis], None], verdict: str, start_run: Callable[..., Run]
) -> None:
    pair = Pair(start_run)
    assert post_invoice(pair).status_code == 201
    before = wait_for_revenue(pair, 500)

    with redis.Redis.from_url(pair.redis_url) as server:
        damage(server)
    wait_for_verdict(pair, verdict)

    stale = get(pair, "/accounts")
    assert stale.json() == before
    assert stale.headers["Projection-State"] == f"halted; verdict={verdict}"
    refused = post_invoice(pair)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    tail = get(pair, "/health/ready").json()["checks"]["tail"]
    assert "eventlog init --adopt" in tail["mend"]

    adopt(pair)
    for folder in pair.folders.values():
        shutil.rmtree(folder, ignore_errors=True)  # its tail may write its status there at this moment
    wait_until(lambda: state(pair) == "following", lambda: get(pair, "/health/ready").text)


@pytest.mark.timeout(240)
def test_another_data_directory_is_named_and_the_old_one_is_welcome_back(
    start_run: Callable[..., Run], tmp_path: Path
) -> None:
    """A backup from before the last invoice: rewound. The newest directory again: it follows by itself."""
    pair = Pair(start_run)
    redis_folder = Path(pair.run.environment["DATA_DIR"]) / "redis"
    stop(pair)
    shutil.copytree(redis_folder, tmp_path / "backup")

    pair.start_again()
    assert post_invoice(pair).status_code == 201
    wait_for_revenue(pair, 500)
    stop(pair)
    redis_folder.rename(tmp_path / "newest")
    (tmp_path / "backup").rename(redis_folder)

    pair.start_again()
    wait_for_verdict(pair, "rewound")
    assert total(pair) == 500
    stop(pair)
    shutil.rmtree(redis_folder)
    (tmp_path / "newest").rename(redis_folder)

    pair.start_again()
    wait_until(lambda: state(pair) == "following", lambda: get(pair, "/health/ready").text)
    assert total(pair) == 500


def stop(pair: Pair) -> None:
    assert pair.run.interrupt() == 0
    pair.run.wait_until_nothing_is_left()


def post_invoice(pair: Pair) -> httpx.Response:
    """For the first customer, who is made if there is none."""
    ada = {"name": "Ada", "account_id": "1"}
    if not httpx.get(f"{pair.customers_url}/customers", headers=pair.headers, timeout=30).json():
        httpx.post(f"{pair.customers_url}/customers", json=ada, headers=pair.headers, timeout=30)
    invoice = {"customer_id": "1", "purchase_date": "2026-01-31", "purchase_price_cents": 500}
    return httpx.post(f"{pair.customers_url}/invoices", json=invoice, headers=pair.headers, timeout=30)


def get(pair: Pair, path: str) -> httpx.Response:
    return httpx.get(f"{pair.accounts_url}{path}", headers=pair.headers, timeout=30)


def total(pair: Pair) -> int:
    return int(get(pair, "/accounts/1").json()["total_revenue_cents"])


def state(pair: Pair) -> str:
    return str(get(pair, "/accounts").headers.get("Projection-State"))


def wait_for_revenue(pair: Pair, cents: int) -> object:
    wait_until(lambda: total(pair) == cents, lambda: f"total is {total(pair)}")
    return get(pair, "/accounts").json()


def wait_for_verdict(pair: Pair, verdict: str) -> None:
    for url in (pair.accounts_url, pair.customers_url):
        wait_until(
            lambda url=url: verdict in httpx.get(f"{url}/health/ready").json()["checks"]["tail"]["detail"],  # type: ignore[misc]
            lambda url=url: httpx.get(f"{url}/health/ready").text,  # type: ignore[misc]
        )


def adopt(pair: Pair) -> None:
    """What the runbook says, with this pair's variables."""
    variables = {**pair.run.environment, "REDIS_URL": pair.redis_url}
    program = [str(Path(sys.executable).parent / "eventlog"), "init", "--adopt"]
    done = subprocess.run(program, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
