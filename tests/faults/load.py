"""Clients that post, delete and read invoices until told to stop, and remember what they were told."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from enum import StrEnum
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx

from eventlog import START, Position

_RETRY_PAUSE_S = 0.05
_BURST = 20
_SHARE_THAT_GIVES_UP = 0.1  # of requests without an answer: what became of them stays unknown
_REQUEST_TIMEOUT_S = 15.0


class Answer(StrEnum):
    """What a client knows of its request in the end."""

    ACCEPTED = "accepted"
    REFUSED = "refused"  # told that nothing was written
    UNKNOWN = "unknown"


class Told(NamedTuple):
    """One write as its client saw it; `cents` is what it adds to its customer's total if it happened."""

    key: str
    event_type: str
    customer_id: str
    cents: int
    answer: Answer
    sent_at: float  # the attempt that was answered, as time.monotonic() has it
    answered_at: float


class Load:
    """Each thread writes for a customer of its own, so that it knows what a read must show.

    Most requests are repeated with their key until answered; some give up at the first lost answer.
    `violations` are answers that no client should have had.
    """

    def __init__(
        self,
        customers_url: str,
        accounts_url: str,
        user: httpx.Auth,
        *,
        threads: int,
        seed: str,
        patience_s: float = 60.0,
    ) -> None:
        """`patience_s` is how long a client repeats a request before it calls the missing answer a violation."""
        self.told: list[Told] = []
        self.violations: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.patience_s = patience_s
        self._stop = threading.Event()
        self._clients = [
            _Client(self, customers_url, accounts_url, user, random.Random(f"{seed}-{number}"))
            for number in range(threads)
        ]
        self._threads = [threading.Thread(target=client.run, args=(self._stop,)) for client in self._clients]

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
        return sum(told.answer is Answer.ACCEPTED for told in self.told.copy())

    def accepted_since(self, moment: float) -> float | None:
        """Seconds from a moment of time.monotonic() to the first acceptance of what was sent after it."""
        answered = [
            told.answered_at
            for told in self.told.copy()
            if told.answer is Answer.ACCEPTED and told.sent_at >= moment
        ]
        return min(answered) - moment if answered else None

    def seconds_until_accepted(self, moment: float) -> float:
        """The same, waited for; as long as was waited if a client gave up first, or all lost patience."""
        while (took_s := self.accepted_since(moment)) is None:
            waited_s = time.monotonic() - moment
            if self.violations or waited_s > self.patience_s + _REQUEST_TIMEOUT_S:
                return waited_s
            time.sleep(_RETRY_PAUSE_S)
        return took_s


class _Violation(Exception):
    """An answer that no client should have had."""


class _Client:
    def __init__(
        self,
        load: Load,
        customers_url: str,
        accounts_url: str,
        user: httpx.Auth,
        chance: random.Random,
    ) -> None:
        self._load = load
        self._chance = chance
        self._customers_url, self._accounts_url, self._user = customers_url, accounts_url, user
        self._customer_id = ""
        self._least_cents = self._most_cents = 0
        self._written: str | None = None
        self._read_up_to = START
        self._sent_at = 0.0

    def run(self, stop: threading.Event) -> None:
        """Bursts of creates and of deletes, so that batches of one kind occur too; reads between them."""
        try:
            with httpx.Client(auth=self._user, timeout=_REQUEST_TIMEOUT_S) as self._http:
                self._create_customer()
                while not stop.is_set():
                    mine = [invoice for _ in range(_BURST) if (invoice := self._create_invoice())]
                    for created, cents in self._chance.sample(mine, len(mine) // 2):
                        self._delete_invoice(created, cents)
                    self._read_own_writes()
        except _Violation as violation:
            self._load.violations.append(str(violation))

    def _create_customer(self) -> None:
        body = {"name": "Ada", "account_id": "1"}
        answer = self._write("CustomerCreated", "POST", "/customers", body, 201, 0, patient=True)
        assert answer is not None, "a patient request has an answer"
        self._customer_id = str(answer.json()["id"])

    def _create_invoice(self) -> tuple[str, int] | None:
        cents = self._chance.randrange(1, 1_000_000)
        body = {
            "customer_id": self._customer_id,
            "purchase_date": "2026-01-31",
            "purchase_price_cents": cents,
        }
        answer = self._write("InvoiceCreated", "POST", "/invoices", body, 201, cents)
        return None if answer is None else (str(answer.json()["id"]), cents)

    def _delete_invoice(self, invoice: str, cents: int) -> None:
        self._write("InvoiceDeleted", "DELETE", f"/invoices/{invoice}", None, 204, -cents)

    def _write(
        self,
        event_type: str,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        status: int,
        cents: int,
        *,
        patient: bool = False,
    ) -> httpx.Response | None:
        key = uuid.UUID(int=self._chance.getrandbits(128)).hex
        answer = self._until_answered(
            lambda: self._http.request(
                method, self._customers_url + path, json=body, headers={"Idempotency-Key": key}
            ),
            gives_up=not patient and self._chance.random() < _SHARE_THAT_GIVES_UP,
        )
        known = _known(answer, status)
        self._load.told.append(
            Told(key, event_type, self._customer_id, cents, known, self._sent_at, time.monotonic())
        )
        if known is not Answer.REFUSED:
            self._most_cents += max(cents, 0) if known is Answer.UNKNOWN else cents
            self._least_cents += min(cents, 0) if known is Answer.UNKNOWN else cents
        if answer is None or known is not Answer.ACCEPTED:
            return None
        self._written = answer.headers["Log-Position"]
        return answer

    def _read_own_writes(self) -> None:
        """What was confirmed shows in the other service, and what was read once is never unread."""
        headers = {"Min-Log-Position": self._written or "", "Prefer": "wait=10"}
        path = f"/accounts/1/customers?after={int(self._customer_id) - 1}&limit=1"
        answer = self._until_answered(
            lambda: self._http.get(self._accounts_url + path, headers=headers), gives_up=False
        )
        if answer is None or answer.status_code != 200:
            raise _Violation(f"GET {path} was answered {answer and answer.text}")
        shown = {each["customer_id"]: each["total_revenue_cents"] for each in answer.json()}.get(
            self._customer_id
        )
        if shown is None:
            raise _Violation(f"customer {self._customer_id} is not shown at {answer.headers['Log-Position']}")
        if not self._least_cents <= shown <= self._most_cents:
            raise _Violation(
                f"customer {self._customer_id} shows {shown} at {answer.headers['Log-Position']}: confirmed"
                f" up to {self._written} are {self._least_cents} to {self._most_cents}"
            )
        position = Position.parse(answer.headers["Log-Position"].partition("@")[0])
        if position < self._read_up_to:
            raise _Violation(f"read at {position} after {self._read_up_to}")
        self._read_up_to = position

    def _until_answered(self, send: Any, *, gives_up: bool) -> httpx.Response | None:
        """The first answer that is not "try again", to the same request; who gives up takes the very first, or None."""
        deadline = time.monotonic() + self._load.patience_s
        while True:
            self._sent_at = time.monotonic()
            try:
                answer: httpx.Response = send()
                self._load.statuses[answer.status_code] += 1
                if answer.status_code == 503 and "Retry-After" not in answer.headers:
                    raise _Violation(f"503 without Retry-After: {answer.text}")
                if answer.status_code != 503 or gives_up:
                    return answer
                last = answer.text
            except httpx.TransportError as problem:
                last = repr(problem)
                if gives_up:
                    return None
            if time.monotonic() > deadline:
                raise _Violation(f"no answer within {self._load.patience_s:.0f} s: {last}")
            time.sleep(_RETRY_PAUSE_S)


def _known(answer: httpx.Response | None, status: int) -> Answer:
    """What an answer, or none, to a write tells its client."""
    if answer is None:
        return Answer.UNKNOWN
    if answer.status_code == status:
        return Answer.ACCEPTED
    if answer.status_code != 503:
        raise _Violation(
            f"{answer.request.method} {answer.url.path} was answered {answer.status_code} {answer.text}"
        )
    problem = str(answer.json()["type"])
    if problem not in {"/problems/not-written", "/problems/outcome-unknown"}:
        raise _Violation(f"{answer.request.method} {answer.url.path} was answered 503 {answer.text}")
    return Answer.REFUSED if problem == "/problems/not-written" else Answer.UNKNOWN
