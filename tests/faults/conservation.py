"""Nothing lost, nothing counted twice: what clients were told, against the log and every projection."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import redis

from tests.faults.ledger_sums import totals_unlike_their_ledger
from tests.faults.load import Answer, Told

_CHUNK = 10_000
_OF_THE_DEMO = ("AccountCreated", None)  # made at the first start, before any client


class Written(NamedTuple):
    """An entry of the log as any reader of Redis sees it; `command` is None where no client named one."""

    position: str
    event_type: str
    payload: dict[str, Any]
    sequence: int
    command: str | None


class Books(NamedTuple):
    """What the comparison came to; balanced if nothing is `wrong`."""

    acknowledged: int
    refused: int
    unknown: int
    lost: int
    doubled: int
    wrong: tuple[str, ...]

    @property
    def balanced(self) -> bool:
        return not self.wrong

    def counts(self) -> dict[str, int]:
        return {
            name: int(getattr(self, name))
            for name in ("acknowledged", "refused", "unknown", "lost", "doubled")
        }


def read_log(redis_url: str, stream: str = "event-stream") -> list[Written]:
    """All entries; every one of them must be the pair's own."""
    return [
        Written(
            position,
            fields["EventTypeName"],
            json.loads(fields["Payload"]),
            int(fields["Sequence"]),
            json.loads(fields["Metadata"]).get("command"),
        )
        for position, fields in _entries(redis_url, stream)
    ]


def compare(
    told: Sequence[Told],
    violations: Sequence[str],
    log: Sequence[Written],
    revenue_file: Path,
    directory_file: Path,
) -> Books:
    """The projections must have caught up with the log."""
    by_command = Counter(entry.command for entry in log if entry.command is not None)
    expected = {each.key: each for each in told}
    lost = [each.key for each in told if each.answer is Answer.ACCEPTED and not by_command[each.key]]
    doubled = [key for key, times in by_command.items() if times > 1]
    refused = [each.key for each in told if each.answer is Answer.REFUSED and by_command[each.key]]
    wrong = [*violations]
    wrong += [f"accepted and not in the log: {key}" for key in lost]
    wrong += [f"in the log {by_command[key]} times: {key}" for key in doubled]
    wrong += [f"refused and in the log: {key}" for key in refused]
    wrong += _out_of_order(log)
    wrong += _unlike_what_was_asked(log, expected)
    wrong += _miscounted(_totals_of(log, told, by_command), revenue_file, directory_file)
    answers = Counter(each.answer for each in told)
    return Books(
        answers[Answer.ACCEPTED],
        answers[Answer.REFUSED],
        answers[Answer.UNKNOWN],
        len(lost),
        len(doubled),
        tuple(wrong),
    )


def _entries(redis_url: str, stream: str) -> Iterator[tuple[str, dict[str, str]]]:
    after = "-"
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        while True:
            chunk: Any = client.xrange(stream, after, "+", count=_CHUNK)
            yield from chunk
            if len(chunk) < _CHUNK:
                return
            after = f"({chunk[-1][0]}"


def _out_of_order(log: Sequence[Written]) -> list[str]:
    return [
        f"entry {entry.position} has Sequence {entry.sequence}, and is number {number}"
        for number, entry in enumerate(log, start=1)
        if entry.sequence != number
    ]


def _unlike_what_was_asked(log: Sequence[Written], expected: dict[str, Told]) -> list[str]:
    """Entries that nobody asked for, or that do not say what was asked."""
    found = []
    for entry in log:
        told = expected.get(entry.command or "")
        if told is None:
            if (entry.event_type, entry.command) != _OF_THE_DEMO:
                found.append(f"nobody asked for {entry}")
        elif (entry.event_type, _cents(entry), entry.payload.get("customer_id", "")) != (
            told.event_type,
            told.cents,
            told.customer_id,
        ):
            found.append(f"{told} stands in the log as {entry}")
    return found


def _cents(entry: Written) -> int:
    """What an entry adds to its customer's total."""
    cents = int(entry.payload.get("purchase_price_cents", 0))
    return -cents if entry.event_type == "InvoiceDeleted" else cents


def _totals_of(log: Sequence[Written], told: Sequence[Told], by_command: Counter[str]) -> dict[int, int]:
    """Cents by customer: what was asked for, as often as it is in the log; whoever was created has a total."""
    totals = {int(entry.payload["id"]): 0 for entry in log if entry.event_type == "CustomerCreated"}
    for each in told:
        if each.customer_id and by_command[each.key]:
            totals[int(each.customer_id)] += each.cents * by_command[each.key]
    return totals


def _miscounted(totals: dict[int, int], revenue_file: Path, directory_file: Path) -> list[str]:
    wrong: list[str] = []
    with closing(_connect(revenue_file)) as revenue, closing(_connect(directory_file)) as directory:
        totals_sql = "SELECT id, total_revenue_cents FROM customers WHERE deleted = 0"
        shown, decided_on = dict(revenue.execute(totals_sql)), dict(directory.execute(totals_sql))
        accounts = _one(revenue, "SELECT sum(total_revenue_cents) FROM accounts WHERE deleted = 0")
        listed: dict[int, int] = defaultdict(int)
        for customer, cents in directory.execute(
            "SELECT customer_id, purchase_price_cents FROM invoices WHERE deleted = 0"
        ):
            listed[customer] += cents
        for customer, cents in totals.items():
            seen = (shown.get(customer), decided_on.get(customer), listed[customer])
            if set(seen) != {cents}:
                wrong.append(f"customer {customer} has {cents} in the log; the projections have {seen}")
        wrong += totals_unlike_their_ledger(revenue)
        if accounts != sum(totals.values()):
            wrong.append(f"accounts have {accounts} in all, and the log {sum(totals.values())}")
        for name, file in (("accounts", revenue), ("customers", directory)):
            if parked := _one(file, "SELECT count(*) FROM parked"):
                wrong.append(f"{name} parked {parked} entries")
            if (integrity := file.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
                wrong.append(f"the file of {name} is damaged: {integrity}")
    return wrong


def _connect(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)


def _one(connection: sqlite3.Connection, sql: str) -> int:
    return int(connection.execute(sql).fetchone()[0] or 0)
