"""The published language: every event that the services write to the log, and read from it.

Types allow what can have happened, also to other writers (a negative amount did); what a client of
ours may ask for is narrower, and stands in each service's schemas.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from eventlog import Codec, Event

# Canonical decimals only: never 007. Not `$`, which lets a final newline pass.
Id = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,17}\Z")]
Cents = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Text = Annotated[str, Meta(max_length=1000)]
Name = Annotated[str, Meta(min_length=1, max_length=1000)]
Instant = Annotated[datetime, Meta(tz=True)]


class AccountCreated(Event, frozen=True):
    id: Id
    name: Name
    description: Text
    owned_by: Name
    created_date: Instant


class AccountDeleted(Event, frozen=True):
    id: Id
    deleted_date: Instant


class CustomerCreated(Event, frozen=True):
    id: Id
    account_id: Id
    name: Name
    created_date: Instant


class CustomerDeleted(Event, frozen=True):
    id: Id
    account_id: Id
    deleted_date: Instant


class InvoiceCreated(Event, frozen=True):
    id: Id
    customer_id: Id
    purchase_price_cents: Cents
    created_date: Instant
    purchase_date: date


class InvoiceDeleted(Event, frozen=True):
    id: Id
    customer_id: Id
    purchase_price_cents: Cents
    deleted_date: Instant


EVENT_TYPES: Final = (
    AccountCreated,
    AccountDeleted,
    CustomerCreated,
    CustomerDeleted,
    InvoiceCreated,
    InvoiceDeleted,
)


def make_codec() -> Codec:
    """The codec both services publish and read with."""
    return Codec(EVENT_TYPES)


def as_text(instant: datetime) -> str:
    """RFC 3339, as in a payload: `0001-01-01T00:00:00Z`."""
    text: str = msgspec.to_builtins(instant)
    return text
