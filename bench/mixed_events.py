"""A log of mixed events: accounts, customers, then invoices of random customers, every tenth deleted again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

from eventlog import Event, EventLog
from eventlog.log import Moment
from tests.services.facts import (
    a_customer_created,
    an_account_created,
    an_invoice_created,
    an_invoice_deleted,
)

_SHARE_DELETED = 0.1
_PER_CALL = 1000  # events in one publish


def mixed_events(chance: random.Random, *, accounts: int = 100, customers: int = 1000) -> Iterator[Event]:
    """Without an end; the rules allow every one of them."""
    for account in range(1, accounts + 1):
        yield an_account_created(account)
    for customer in range(1, customers + 1):
        yield a_customer_created(customer, customer % accounts + 1)
    alive: list[tuple[int, int, int]] = []
    invoice = 0
    while True:
        if alive and chance.random() < _SHARE_DELETED:
            place = chance.randrange(len(alive))
            alive[place], alive[-1] = alive[-1], alive[place]
            yield an_invoice_deleted(*alive.pop())
        else:
            invoice += 1
            alive.append((invoice, chance.randint(1, customers), chance.randrange(1, 10**6)))
            yield an_invoice_created(*alive[-1])


def publish(log: EventLog, events: Iterator[Event], count: int) -> None:
    """The next so many of the events, in few calls."""
    left = count
    while left:
        batch = list(islice(events, min(_PER_CALL, left)))
        state = log.state()
        log.publish(batch, decided_at=Moment(state.log_id or "", state.end), actor="mel")
        left -= len(batch)
