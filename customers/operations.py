"""What the API's description says of the customers service's paths."""

from __future__ import annotations

from typing import Final

from customers.directory import Customer, Invoice
from customers.schemas import LARGEST_BATCH, CreateCustomerBody, CreateInvoiceBody
from shared.operations import LINK, PAGE, Answer, Body, Created, creates, filter_parameter, reads, writes
from shared.problem_kinds import NOT_FOUND

_CUSTOMER: Final = {"id": "7", "account_id": "1", "name": "Ada", "created_date": "2026-01-31T12:00:00Z"}
_INVOICE: Final = {
    "id": "10",
    "customer_id": "7",
    "purchase_price_cents": 12000,
    "purchase_date": "2026-01-31",
    "created_date": "2026-01-31T12:00:00Z",
}
_NEW_INVOICE: Final = {"customer_id": "7", "purchase_date": "2026-01-31", "purchase_price_cents": 12000}
_DELETED: Final = Answer(204, "It is deleted.")

CREATE_CUSTOMER: Final = creates(
    "customer", Body(CreateCustomerBody(), {"name": "Ada", "account_id": "1"}), problems=[NOT_FOUND]
)
LIST_CUSTOMERS: Final = reads(
    list[Customer],
    [_CUSTOMER],
    parameters=[*PAGE, filter_parameter("account_id", "Only those of this account.")],
    headers=[LINK],
)
FIND_CUSTOMER: Final = reads(Customer, _CUSTOMER, problems=[NOT_FOUND])
DELETE_CUSTOMER: Final = writes(_DELETED, problems=[NOT_FOUND])
CREATE_INVOICE: Final = creates("invoice", Body(CreateInvoiceBody(), _NEW_INVOICE), problems=[NOT_FOUND])
CREATE_INVOICES: Final = writes(
    Answer(201, "All are in the log; their ids in the order sent.", list[Created], [{"id": "10"}]),
    body=Body(CreateInvoiceBody(), [_NEW_INVOICE], most=LARGEST_BATCH),
    problems=[NOT_FOUND],
)
LIST_INVOICES: Final = reads(
    list[Invoice],
    [_INVOICE],
    parameters=[*PAGE, filter_parameter("customer_id", "Only those of this customer.")],
    headers=[LINK],
)
FIND_INVOICE: Final = reads(Invoice, _INVOICE, problems=[NOT_FOUND])
DELETE_INVOICE: Final = writes(_DELETED, problems=[NOT_FOUND])
