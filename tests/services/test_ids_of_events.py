"""An id in an event is a canonical decimal, whoever wrote the event."""

from __future__ import annotations

import pytest
from msgspec import ValidationError

from shared.events import CustomerDeleted
from tests.services.facts import a_customer_deleted


@pytest.mark.parametrize("text", ["7\n", "007", "0", "", "-7", "+7", " 7", "7.0", "1_000", "٧", "1" * 19])  # noqa: RUF001  # an Arabic digit
def test_event_with_another_id_cannot_be_built(text: str) -> None:
    with pytest.raises(ValidationError):
        CustomerDeleted(id=text, account_id="1", deleted_date=a_customer_deleted(1, 1).deleted_date)


@pytest.mark.parametrize("text", ["1", "10", "9" * 18])
def test_ids_have_up_to_18_digits(text: str) -> None:
    deleted = CustomerDeleted(id=text, account_id="1", deleted_date=a_customer_deleted(1, 1).deleted_date)
    assert deleted.id == text
