"""Random walks over both services beside the model: after each step they answer alike.

What is stopped now and then: a projection's tail, and Redis. Requests are made in this process, without sockets.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from eventlog import EventLog
from eventlog.embedded_redis import EmbeddedRedis
from shared.events import make_codec
from tests.fake_redis import fake_pool
from tests.faults.campaign import Fault, Outcome, Piece
from tests.faults.compared_pair import ComparedPair, service_of, told
from tests.faults.http_model import PARENT_FIELDS, PARENTS, USERS, Write

STEPS_PER_WALK = 50

USER = st.sampled_from(["root", *USERS])
SERVICE = st.sampled_from(["accounts", "customers"])
KIND = st.sampled_from(["accounts", "customers", "invoices"])
WHICH = st.integers(0, 9)
_MOSTLY = 7
NAME = st.sampled_from(["Ada", "Ünïcode \U0001f600", "x" * 200, "a'; DROP TABLE accounts --"])
CENTS = st.sampled_from([1, 99, 10**6, 10**12])
DAY = st.dates().map(str)

NONSENSE: list[tuple[str, str, str, dict[str, Any], int]] = [
    ("customers", "POST", "/customers", {"data": b"["}, 400),
    ("customers", "POST", "/customers", {"data": b'{"name":"a","name":"b","account_id":"1"}'}, 400),
    ("customers", "POST", "/customers", {"data": b'{"name":"' + b"x" * 70_000 + b'"}'}, 413),
    ("customers", "POST", "/invoices", {"data": b"[" * 5000}, 400),
    ("customers", "DELETE", "/customers/007", {}, 400),
    ("customers", "GET", "/invoices?limit=0", {}, 400),
    ("accounts", "POST", "/accounts", {"json": {"name": "n", "owned_by": "nobody"}}, 404),
    ("accounts", "POST", "/accounts", {"json": {"name": "n"}, "headers": {"Idempotency-Key": "a b"}}, 400),
    ("accounts", "GET", "/accounts", {"headers": {"Min-Log-Position": "yesterday"}}, 400),
    ("accounts", "GET", "/accounts", {"headers": {"Authorization": "Bearer x"}}, 401),
]


def _step(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(st.just(name), *arguments)


# One rule that draws from these: hypothesis leaves half of a machine's rules out of most walks.
STEP = st.one_of(
    _step("create_account", USER, NAME, st.sampled_from([None, *USERS])),
    _step("create_customer", USER, WHICH, NAME),
    _step("create_invoice", USER, WHICH, CENTS, DAY),
    _step("create_invoice", USER, WHICH, CENTS, DAY),
    _step("delete", USER, KIND, WHICH),
    _step("delete_and_use_unseen", USER, WHICH),
    _step("send_again", WHICH),
    _step("use_a_key_for_something_else", WHICH, WHICH),
    _step("find_one", USER, KIND, WHICH),
    _step("find_part_of_account", USER, WHICH, st.sampled_from(["customers", "is-owned-by/mel"])),
    _step("list_some", USER, KIND, st.integers(1, 5), WHICH, WHICH, st.booleans()),
    _step("list_some", USER, KIND, st.integers(1, 5), WHICH, WHICH, st.booleans()),
    _step("send_nonsense", USER, st.sampled_from(NONSENSE)),
    _step("stop_or_start_tail", SERVICE),
    _step("kill_and_start_log", USER, WHICH),
)


class Site:
    """Where walks are made, each on a log and in a folder of its own; and what was done there."""

    def __init__(self, folder: Path, server: EmbeddedRedis | None) -> None:
        self.server = server
        self.counts: Counter[str] = Counter()
        self._folder = folder

    @property
    def steps(self) -> int:
        return self.counts["checks of the log"] - self.counts["walks"]  # one more before the first step

    def next_log(self) -> tuple[EventLog, Path]:
        self.counts["walks"] += 1
        name = f"walk-{self.counts['walks']}"
        if self.server is None:
            log = EventLog(fake_pool(), make_codec())
        else:
            self.server.start()  # a step that had killed it may have failed
            log = EventLog.connect(self.server.url, make_codec(), name)
        log.create()
        return log, self._folder / name


class HttpWalk(RuleBasedStateMachine):
    """One walk, on a log and in a folder of its own. Subclass it with a `site`."""

    site: Site

    def __init__(self) -> None:
        super().__init__()
        self._ending = ExitStack()
        log, folder = self.site.next_log()
        self._ending.callback(log.close)
        self._both = ComparedPair(log, folder, self.site.counts, self._ending)

    def teardown(self) -> None:
        with self._ending:
            if sys.exception() is None:  # else a step went wrong: that is what is to be told
                self._both.require_all_alike()

    @initialize()
    def begin_with_some(self) -> None:
        for user in USERS:
            self.create_account(user, "first", None)
            self.create_customer(user, 0, "first")
            self.create_invoice(user, 0, 99, "2026-01-31")

    @rule(step=STEP)
    def take(self, step: tuple[Any, ...]) -> None:
        name, *arguments = step
        getattr(self, name)(*arguments)

    def create_account(self, user: str, name: str, owner: str | None) -> None:
        body = {"name": name, "description": name[::-1], **({"owned_by": owner} if owner else {})}
        self._both.write(Write("accounts", user, "POST", "/accounts", body))

    def create_customer(self, user: str, which: int, name: str) -> None:
        self._both.write(self._new_customer(user, which, name))

    def create_invoice(self, user: str, which: int, cents: int, day: str) -> None:
        customer = self._one_of("customers", which)
        body = {"customer_id": customer, "purchase_price_cents": cents, "purchase_date": day}
        self._both.write(Write("customers", user, "POST", "/invoices", body))

    def delete(self, user: str, kind: str, which: int) -> None:
        self._both.write(Write(service_of(kind), user, "DELETE", f"/{kind}/{self._one_of(kind, which)}"))

    def delete_and_use_unseen(self, user: str, which: int) -> None:
        """The directory does not show yet that a customer is deleted: it has no invoices any more all the same."""
        self._both.stop_tail("customers")
        customer = self._one_of("customers", which)
        body = {"customer_id": customer, "purchase_price_cents": 1, "purchase_date": "2026-01-31"}
        self._both.write(Write("customers", user, "DELETE", f"/customers/{customer}"))
        self._both.write(Write("customers", user, "POST", "/invoices", body))

    def send_again(self, which: int) -> None:
        """The first answer again, whatever happened since."""
        done = self._both.done[-1 - which % len(self._both.done)]
        answer = self._both.answer(done.write, done.key)
        assert told(answer) == done.answer, f"{done} sent again is {told(answer)}"
        assert answer.headers["Idempotency-Replayed"] == "true"

    def use_a_key_for_something_else(self, which: int, account: int) -> None:
        done = self._both.done[-1 - which % len(self._both.done)]
        other = self._new_customer(done.write.user, account, "somebody else")
        answer = self._both.answer(other, done.key)
        assert answer.status_code == 422, f"{other} with the key of {done} is {answer.text}"

    def find_one(self, user: str, kind: str, which: int) -> None:
        self._both.read(service_of(kind), user, f"/{kind}/{self._one_of(kind, which)}")

    def find_part_of_account(self, user: str, which: int, part: str) -> None:
        self._both.read("accounts", user, f"/accounts/{self._one_of('accounts', which)}/{part}")

    def list_some(self, user: str, kind: str, limit: int, after: int, of: int, fresh: bool) -> None:
        query = {"limit": str(limit)}
        if after:
            query["after"] = self._one_of(kind, after)
        if of and kind in PARENTS:
            query[PARENT_FIELDS[kind]] = self._one_of(PARENTS[kind], of)
        self._both.read(service_of(kind), user, f"/{kind}", fresh=fresh, **query)

    def send_nonsense(self, user: str, request: tuple[str, str, str, dict[str, Any], int]) -> None:
        service, method, path, rest, status = request
        answer = self._both.client(service, user).request(method, path, **rest)
        assert answer.status_code == status, f"{method} {path} {rest} is {answer.text[:500]}"

    def stop_or_start_tail(self, service: str) -> None:
        self._both.stop_or_start_tail(service)

    def kill_and_start_log(self, user: str, which: int) -> None:
        """While it is away, a write is 503 and not done, a read is answered; then the write is sent again."""
        if self.site.server is None:
            return
        write, key = self._new_customer(user, which, "late"), self._both.new_key()
        self.site.server.kill()
        self.site.counts["kills of Redis"] += 1
        answer = self._both.send(write, key)
        problem = answer.get_json(force=True)["type"]
        assert (answer.status_code, problem) == (503, "/problems/not-written"), answer.text
        self._both.read("accounts", user, "/accounts", limit="500")
        self.site.server.start()
        self._both.write(write, key)

    @invariant()
    def the_log_holds_what_was_accepted(self) -> None:
        self.site.counts["checks of the log"] += 1
        assert self._both.log.state().sequence == len(self._both.done)

    def _new_customer(self, user: str, which: int, name: str) -> Write:
        body = {"account_id": self._one_of("accounts", which), "name": name}
        return Write("customers", user, "POST", "/customers", body)

    def _one_of(self, kind: str, which: int) -> str:
        """The id of one that is there, mostly; else of one that was, or never will be."""
        there = sorted(getattr(self._both.state, kind), reverse=True)
        if there and which < _MOSTLY:
            return str(there[which % len(there)])
        return self._both.absent_id(kind)


def walk(piece: Piece, server: EmbeddedRedis | None = None, *, shrink: bool = True) -> Outcome:
    """A trial is one step. The log is on the server, or in memory, where it cannot be killed.

    Everything drawn follows from the piece's seed; a failure is told with the steps that lead to it.
    """

    class Walk(HttpWalk):
        site = Site(piece.folder, server)

    wrong = []
    try:
        run_state_machine_as_test(
            seed(random.Random(piece.seed).getrandbits(64))(Walk),
            settings=settings(
                max_examples=max(1, piece.trials // STEPS_PER_WALK),
                stateful_step_count=STEPS_PER_WALK,
                phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
                deadline=None,
                derandomize=False,
                database=None,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
    except Exception as failure:  # noqa: BLE001  # whatever a step raised is what went wrong
        wrong = ["\n".join([repr(failure), *getattr(failure, "__notes__", [])])]
    return Outcome(Walk.site.steps, dict(Walk.site.counts), wrong)


def walk_on_redis(piece: Piece) -> Outcome:
    with EmbeddedRedis(piece.folder / "redis") as server:
        return walk(piece, server)


HTTP_MODEL = Fault(
    "http-model",
    "random requests to both services beside a small model; tails stopped, Redis killed",
    5_000,
    500,
    walk_on_redis,
)
