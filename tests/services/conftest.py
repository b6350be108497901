"""What the tests of operators' commands share: a pair on a real server, something in it, and an operator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from eventlog import START, EventLog
from eventlog.embedded_redis import EmbeddedRedis
from eventlog.log import Moment
from shared.permissions import Role
from tests.pair import Pair, running_pair
from tests.services.facts import a_customer_created, an_account_created, an_invoice_created
from tests.services.operator import Operator


@pytest.fixture
def served(real_log: EventLog, redis_server: EmbeddedRedis, tmp_path: Path) -> Iterator[Pair]:
    """Both services after seven entries: two accounts, Ada of the first with invoices 1 to 3 over 100, 200, 300 cents.

    The last entry is parked: an invoice of nobody. There are an admin, user1, and a member, mel.
    """
    events = [
        an_account_created(1),
        an_account_created(2, owned_by="joe"),
        a_customer_created(7, 1),
        *(an_invoice_created(number, 7, 100 * number) for number in (1, 2, 3)),
        an_invoice_created(4, customer=99),
    ]
    with running_pair(real_log, tmp_path / "data dir", redis_url=redis_server.url) as pair:
        pair.users.add("user1", "password of user1", Role.ADMIN)
        pair.users.add("mel", "password of mel", Role.MEMBER)
        log_id = real_log.state().log_id or ""
        real_log.publish(events, decided_at=Moment(log_id, START))
        pair.wait_until_applied()
        yield pair


@pytest.fixture
def operator(served: Pair, redis_server: EmbeddedRedis) -> Operator:
    return Operator(served, redis_server.url)


@pytest.fixture
def client(redis_server: EmbeddedRedis) -> Iterator[redis.Redis]:
    """To do to the log what no program of ours does."""
    with redis.Redis.from_url(redis_server.url) as client:
        yield client
