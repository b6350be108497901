"""The grammar for users' own tests: it passes what holds, and fails what does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from eventlog.testing import given, record_all
from tests.eventlog.parcels import AddressChanged, ParcelLost, a_parcel_sent, make_post

post = make_post()


def test_row_after_an_event_is_found() -> None:
    given(post, a_parcel_sent(1)).when(a_parcel_sent(2, weight_g=5)).then_row(
        "customers", 7, parcels=2, weight_g=105
    ).then_row("parcels", 2, lost=0).then_no_row("parcels", 3)


def test_refusal_is_found_with_its_reason() -> None:
    given(post, a_parcel_sent(1)).when(a_parcel_sent(1)).then_refused("sent before").then_row(
        "customers", 7, parcels=1
    )


def test_events_go_on_and_what_is_passed_over_changes_nothing() -> None:
    given(post).when(AddressChanged(customer_id=7, town="Bath", street="A")).then_applied().when(
        a_parcel_sent(1)
    ).when(ParcelLost(id=1)).then_row("customers", 7, parcels=0, weight_g=0)


def test_decision_is_made_on_the_rows() -> None:
    given(post, a_parcel_sent(1)).decide(lambda rows: rows.find("parcels", 2)).then(None)


@pytest.mark.parametrize(
    "claim",
    [
        lambda: given(post, a_parcel_sent(1), a_parcel_sent(1)),
        lambda: given(post).when(a_parcel_sent(1)).then_row("parcels", 1, weight_g=1),
        lambda: given(post).when(a_parcel_sent(1)).then_row("parcels", 2),
        lambda: given(post).when(a_parcel_sent(1)).then_no_row("parcels", 1),
        lambda: given(post).when(a_parcel_sent(1)).then_refused("sent"),
        lambda: given(post).when(ParcelLost(id=1)).then_applied(),
        lambda: given(post).when(ParcelLost(id=1)).then_refused("another reason"),
        lambda: given(post).decide(lambda rows: rows.find("parcels", 2)).then({"id": 2}),
    ],
)
def test_claim_that_does_not_hold_fails(claim: Callable[[], object]) -> None:
    with pytest.raises(AssertionError):
        claim()


def test_recorded_events_stand_one_after_the_other() -> None:
    first, second = record_all([a_parcel_sent(1), a_parcel_sent(2)])
    assert (first.sequence, second.sequence) == (1, 2)
    assert first.position < second.position
