"""Clients that post and delete invoices until told to stop, and remember what they were told."""

from __future__ import annotations

import random
import threading
import time
import uuid
from types import TracebackType
from typing import Self

import httpx

_RETRY_PAUSE_S = 0.05
_GIVE_UP_AFTER_S = 60.0
_BURST = 20


class Load:
    """Every request is repeated with its key until it has an answer, so each ends accepted or fails the test."""

    def __init__(self, customers_url: str, token: str, customer_id: str, *, threads: int, seed: int) -> None:
        self.created: dict[str, int] = {}
        self.deleted: set[str] = set()
        self.failures: list[str] = []
        self._url = customers_url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._customer_id = customer_id
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(f"{seed}-{number}"),))
            for number in range(threads)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def accepted(self) -> int:
        """How many requests were accepted so far."""
        return len(self.created) + len(self.deleted)

    @property
    def expected_cents(self) -> int:
        """What the customer must have brought, by what these clients were told alone."""
        return sum(cents for invoice, cents in self.created.items() if invoice not in self.deleted)

    def _run(self, chance: random.Random) -> None:
        """Bursts of creates and of deletes, so that batches of one kind occur too."""
        try:
            with httpx.Client(base_url=self._url, headers=self._headers, timeout=15) as client:
                while not self._stop.is_set():
                    mine = [self._create(client, chance) for _ in range(_BURST)]
                    for invoice in chance.sample(mine, _BURST // 2):
                        self._delete(client, invoice)
        except AssertionError as failure:
            self.failures.append(str(failure))

    def _create(self, client: httpx.Client, chance: random.Random) -> str:
        cents = chance.randrange(1, 1_000_000)
        body: dict[str, str | int] = {
            "customer_id": self._customer_id,
            "purchase_date": "2026-01-31",
            "purchase_price_cents": cents,
        }
        answer = self._until_answered(client, "POST", "/invoices", body)
        assert answer.status_code == 201, f"{answer.status_code} {answer.text}"
        invoice = str(answer.json()["id"])
        self.created[invoice] = cents
        return invoice

    def _delete(self, client: httpx.Client, invoice: str) -> None:
        answer = self._until_answered(client, "DELETE", f"/invoices/{invoice}", None)
        assert answer.status_code == 204, f"{answer.status_code} {answer.text}"
        self.deleted.add(invoice)

    def _until_answered(
        self, client: httpx.Client, method: str, path: str, body: dict[str, str | int] | None
    ) -> httpx.Response:
        """The first answer that is not "try again"; the same Idempotency-Key throughout."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        deadline = time.monotonic() + _GIVE_UP_AFTER_S
        while True:
            try:
                answer = client.request(method, path, json=body, headers=headers)
                if answer.status_code != 503:
                    return answer
                last = answer.text
            except httpx.TransportError as problem:
                last = repr(problem)
            assert time.monotonic() < deadline, f"no answer to {method} {path} in time: {last}"
            time.sleep(_RETRY_PAUSE_S)
