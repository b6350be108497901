"""What may follow what, and what deciders make of it: values in, values out, for both projections alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import pytest

from accounts import decider as accounts_decider
from accounts.commands import CreateAccount, DeleteAccount
from accounts.revenue import revenue
from customers import decider as customers_decider
from customers.commands import Command, CreateCustomer, CreateInvoice, DeleteCustomer, DeleteInvoice
from customers.decider import HIGHEST_TOTAL_CENTS
from customers.directory import directory
from eventlog import Event, Projection, Refused
from eventlog.deciding import Decision
from eventlog.row_changes import LARGEST_INTEGER, SMALLEST_INTEGER
from eventlog.testing import given
from shared.permissions import Absent, Identity, Role
from shared.rules import guards_and_touches
from tests.clock import FIXED_NOW
from tests.services.facts import (
    a_customer_created,
    a_customer_deleted,
    an_account_created,
    an_account_deleted,
    an_invoice_created,
    an_invoice_deleted,
)

ACCOUNT: list[Event] = [an_account_created()]
CUSTOMER = [*ACCOUNT, a_customer_created()]
INVOICE = [*CUSTOMER, an_invoice_created()]

MEL = Identity("mel", Role.MEMBER)
EVE = Identity("eve", Role.MEMBER)
ADMIN = Identity("root", Role.ADMIN)

both_projections = pytest.mark.parametrize("projection", [revenue, directory], ids=lambda found: found.name)


class Refusal(NamedTuple):
    """After these events that one may not come, for this reason."""

    before: Sequence[Event]
    event: Event
    reason: str


REFUSALS = {
    "account twice": Refusal(ACCOUNT, an_account_created(), "was created before"),
    "account again after its deletion": Refusal(
        [*ACCOUNT, an_account_deleted()], an_account_created(), "was created before"
    ),
    "unknown account deleted": Refusal([], an_account_deleted(), "does not exist"),
    "account deleted twice": Refusal(
        [*ACCOUNT, an_account_deleted()], an_account_deleted(), "does not exist"
    ),
    "account deleted with customers": Refusal(CUSTOMER, an_account_deleted(), "still has customers"),
    "customer of no account": Refusal(ACCOUNT, a_customer_created(account=2), "account 2 does not exist"),
    "customer of a deleted account": Refusal(
        [*ACCOUNT, an_account_deleted()], a_customer_created(), "account 1 does not exist"
    ),
    "customer twice": Refusal(CUSTOMER, a_customer_created(), "was created before"),
    "customer again after its deletion": Refusal(
        [*CUSTOMER, a_customer_deleted()], a_customer_created(), "was created before"
    ),
    "unknown customer deleted": Refusal(ACCOUNT, a_customer_deleted(), "does not exist"),
    "customer deleted twice": Refusal(
        [*CUSTOMER, a_customer_deleted()], a_customer_deleted(), "does not exist"
    ),
    "customer deleted from another account": Refusal(
        [*CUSTOMER, an_account_created(2)], a_customer_deleted(account=2), "is not of account 2"
    ),
    "invoice of no customer": Refusal(ACCOUNT, an_invoice_created(), "customer 7 does not exist"),
    "invoice of a deleted customer": Refusal(
        [*CUSTOMER, a_customer_deleted()], an_invoice_created(), "customer 7 does not exist"
    ),
    "invoice twice": Refusal(INVOICE, an_invoice_created(cents=5), "was created before"),
    "invoice again after its deletion": Refusal(
        [*INVOICE, an_invoice_deleted()], an_invoice_created(), "was created before"
    ),
    "unknown invoice deleted": Refusal(CUSTOMER, an_invoice_deleted(), "does not exist"),
    "invoice deleted twice": Refusal(
        [*INVOICE, an_invoice_deleted()], an_invoice_deleted(), "does not exist"
    ),
    "invoice deleted after its customer": Refusal(
        [*INVOICE, a_customer_deleted()], an_invoice_deleted(), "customer 7 does not exist"
    ),
    "invoice deleted from another customer": Refusal(
        [*INVOICE, a_customer_created(8)], an_invoice_deleted(customer=8), "is not of customer 8"
    ),
    "invoice deleted over another amount": Refusal(
        INVOICE, an_invoice_deleted(cents=99), "is not over 99 cents"
    ),
    "total of a customer above 64 bits": Refusal(
        [*CUSTOMER, an_invoice_created(1, cents=LARGEST_INTEGER)],
        an_invoice_created(2, cents=1),
        "the total of customer 7 would not fit",
    ),
    "total of a customer below 64 bits": Refusal(
        [*CUSTOMER, an_invoice_created(1, cents=-LARGEST_INTEGER)],
        an_invoice_created(2, cents=-1),
        "the total of customer 7 would not fit",
    ),
    "amount that could not be taken out again": Refusal(
        [*CUSTOMER, an_invoice_created(1, cents=LARGEST_INTEGER)],
        an_invoice_created(2, cents=SMALLEST_INTEGER),
        "the total of customer 7 would not fit",
    ),
    "total of an account above 64 bits": Refusal(
        [*CUSTOMER, a_customer_created(8), an_invoice_created(1, cents=LARGEST_INTEGER)],
        an_invoice_created(2, customer=8, cents=1),
        "the total of account 1 would not fit",
    ),
    "total of an account above 64 bits by a deletion": Refusal(
        [
            *CUSTOMER,
            a_customer_created(8),
            an_invoice_created(1, customer=8, cents=-1),
            an_invoice_created(2, cents=LARGEST_INTEGER),
            an_invoice_created(3, cents=0),
            a_customer_created(9),
            an_invoice_created(4, customer=9, cents=1),
        ],
        a_customer_deleted(8),
        "the total of account 1 would not fit",
    ),
}


@both_projections
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_what_may_not_follow_is_refused_and_changes_nothing(projection: Projection, refusal: Refusal) -> None:
    scene = given(projection, *refusal.before)
    rows = [scene.rows.find("accounts", 1), scene.rows.find("customers", 7), scene.rows.find("invoices", 10)]
    scene.when(refusal.event).then_refused(refusal.reason)
    assert rows == [
        scene.rows.find("accounts", 1),
        scene.rows.find("customers", 7),
        scene.rows.find("invoices", 10),
    ]


@both_projections
def test_totals_follow_what_is_created_and_deleted(projection: Projection) -> None:
    """Customer 8 is the decoy: nothing done to the others touches it."""
    scene = given(projection, *INVOICE, a_customer_created(8), an_invoice_created(11, customer=8, cents=-5))
    scene.when(an_invoice_created(12, cents=1)).then_row("customers", 7, total_revenue_cents=101)
    scene.when(an_invoice_deleted()).then_row("customers", 7, total_revenue_cents=1)
    scene.when(a_customer_deleted()).then_row("accounts", 1, total_revenue_cents=-5, live_customers=1)
    scene.when(a_customer_deleted(8)).then_row("accounts", 1, total_revenue_cents=0, live_customers=0)
    scene.when(an_account_deleted()).then_row("accounts", 1, deleted=1)


@both_projections
def test_the_largest_amounts_can_be_counted_and_taken_out_again(projection: Projection) -> None:
    for cents in (LARGEST_INTEGER, -LARGEST_INTEGER):
        scene = given(projection, *CUSTOMER, an_invoice_created(cents=cents))
        scene.when(an_invoice_deleted(cents=cents)).then_row("accounts", 1, total_revenue_cents=0)
        scene = given(projection, *CUSTOMER, an_invoice_created(cents=cents))
        scene.when(a_customer_deleted()).then_row("accounts", 1, total_revenue_cents=0)


# design.md, section 5: the guards table. Creating an account is ours: its two demo accounts have given ids.
GUARDS: list[tuple[Event, list[str], list[str]]] = [
    (an_account_created(), ["account-1"], ["account-1"]),
    (a_customer_created(), ["account-1"], ["account-1/customers"]),
    (a_customer_deleted(), ["customer-7"], ["customer-7"]),
    (an_invoice_created(), ["customer-7"], []),
    (an_invoice_deleted(), ["invoice-10", "customer-7"], ["invoice-10"]),
    (an_account_deleted(), ["account-1", "account-1/customers"], ["account-1"]),
]


@pytest.mark.parametrize(
    ("event", "guards", "touches"), GUARDS, ids=lambda found: getattr(found, "type_name", "")
)
def test_every_event_has_its_guards_and_touches(event: Event, guards: list[str], touches: list[str]) -> None:
    assert guards_and_touches(event) == (guards, touches)


def create_customer(identity: Identity, account: int = 1) -> CreateCustomer:
    return CreateCustomer(7, "Ada", account, identity, FIXED_NOW)


def create_invoice(identity: Identity, cents: int = 100) -> CreateInvoice:
    return CreateInvoice(10, 7, FIXED_NOW.date(), cents, identity, FIXED_NOW)


def delete_customer(identity: Identity) -> DeleteCustomer:
    return DeleteCustomer(7, identity, FIXED_NOW)


def delete_invoice(identity: Identity) -> DeleteInvoice:
    return DeleteInvoice(10, identity, FIXED_NOW)


@pytest.mark.parametrize("identity", [MEL, ADMIN], ids=lambda found: found.username)
@pytest.mark.parametrize(
    ("before", "command", "event", "result"),
    [
        (ACCOUNT, create_customer, a_customer_created(), "7"),
        (CUSTOMER, create_invoice, an_invoice_created(), "10"),
        (CUSTOMER, delete_customer, a_customer_deleted(), ""),
        (INVOICE, delete_invoice, an_invoice_deleted(), ""),
    ],
    ids=lambda found: getattr(found, "__name__", ""),
)
def test_whoever_may_gets_one_event_with_its_guards(
    before: list[Event], command: Callable[[Identity], Command], event: Event, result: str, identity: Identity
) -> None:
    decide = partial(customers_decider.decide, command(identity))
    given(directory, *before).decide(decide).then(Decision([event], *guards_and_touches(event), result))


@pytest.mark.parametrize(
    ("before", "command", "absent"),
    [
        (ACCOUNT, create_customer, "account 1"),
        (CUSTOMER, create_invoice, "customer 7"),
        (CUSTOMER, delete_customer, "customer 7"),
        (INVOICE, delete_invoice, "invoice 10"),
    ],
    ids=lambda found: getattr(found, "__name__", ""),
)
def test_what_is_foreign_and_what_is_absent_are_decided_alike(
    before: list[Event], command: Callable[[Identity], Command], absent: str
) -> None:
    decide = partial(customers_decider.decide, command(EVE))
    given(directory, *before).decide(decide).then(Absent(absent))
    given(directory).decide(decide).then(Absent(absent))


@pytest.mark.parametrize(
    "gone",
    [
        [*INVOICE, a_customer_deleted()],
        [*INVOICE, an_invoice_deleted(), a_customer_deleted(), an_account_deleted()],
    ],
    ids=["customer deleted", "all deleted"],
)
@pytest.mark.parametrize("command", [create_invoice, delete_customer, delete_invoice])
def test_what_is_deleted_is_absent(gone: list[Event], command: Callable[[Identity], Command]) -> None:
    decided = given(directory, *gone).decide(partial(customers_decider.decide, command(ADMIN)))
    assert isinstance(decided.decision, Absent)


def test_an_account_is_deleted_by_its_owner_once_it_is_empty() -> None:
    decide = partial(accounts_decider.decide, DeleteAccount(1, MEL, FIXED_NOW))
    given(revenue).decide(decide).then(Absent("account 1"))
    given(revenue, *ACCOUNT).decide(decide).then(
        Decision([an_account_deleted()], ["account-1", "account-1/customers"], ["account-1"])
    )
    given(revenue, *CUSTOMER).decide(decide).then(Refused("account 1 still has customers"))
    foreign = partial(accounts_decider.decide, DeleteAccount(1, EVE, FIXED_NOW))
    given(revenue, *CUSTOMER).decide(foreign).then(Absent("account 1"))


def test_an_account_is_created_once() -> None:
    decide = partial(accounts_decider.decide, CreateAccount(1, "account 1", "", "mel", MEL, FIXED_NOW))
    given(revenue).decide(decide).then(Decision([an_account_created()], ["account-1"], ["account-1"], "1"))
    given(revenue, *ACCOUNT).decide(decide).then(Refused("account 1 was created before"))


def test_no_invoice_is_taken_where_those_decided_beside_it_might_not_fit() -> None:
    """Also above a customer's own total, which exceeds its account's where another customer's is negative."""
    decide = partial(customers_decider.decide, create_invoice(MEL, cents=1))
    full = an_invoice_created(1, cents=HIGHEST_TOTAL_CENTS)
    assert isinstance(given(directory, *CUSTOMER, full).decide(decide).decision, Decision)
    over = [*CUSTOMER, full, an_invoice_created(2, cents=1)]
    refused = given(directory, *over).decide(decide).decision
    assert refused == Refused("the total of customer 7 would grow beyond what can be counted")

    balanced = [*over, a_customer_created(8), an_invoice_created(3, customer=8, cents=-(10**18))]
    assert given(directory, *balanced).decide(decide).decision == refused

    elsewhere = [*CUSTOMER, a_customer_created(8), an_invoice_created(1, customer=8, cents=LARGEST_INTEGER)]
    given(directory, *elsewhere).decide(decide).then(
        Refused("the total of account 1 would grow beyond what can be counted")
    )
