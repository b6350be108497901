"""What was just written can be built on at once, whichever worker answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.faults.pair import Pair
from tests.make_run import NEVER_S, Run

pytestmark = pytest.mark.processes

CUSTOMERS = 2000
THREADS = 8


def test_invoice_right_after_its_customer_is_never_404(start_run: Callable[..., Run]) -> None:
    pair = Pair(start_run)

    def post_share(_: int) -> Counter[int]:
        with httpx.Client(base_url=pair.customers_url, headers=pair.headers, timeout=NEVER_S) as client:
            return Counter(post_both(client) for _ in range(CUSTOMERS // THREADS))

    with ThreadPoolExecutor(THREADS) as threads:
        statuses = sum(threads.map(post_share, range(THREADS)), Counter[int]())
    assert statuses == {201: CUSTOMERS}


def post_both(client: httpx.Client) -> int:
    """The status of the invoice that follows its customer at once."""
    customer = client.post("/customers", json={"name": "Ada", "account_id": "1"})
    assert customer.status_code == 201, customer.text
    invoice = {
        "customer_id": customer.json()["id"],
        "purchase_date": "2026-01-31",
        "purchase_price_cents": 1,
    }
    return client.post("/invoices", json=invoice).status_code
