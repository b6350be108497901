"""What the API's description says of the customers service's paths."""

from __future__ import annotations

from typing import Final

from customers.directory import Customer, Invoice
from customers.schemas import LARGEST_BATCH, CreateCustomerBody, CreateInvoiceBody
from shared.operations import LINK, PAGE, Answer, Body, Created, creates, filter_parameter, reads, writes
from shared.permissions import Allowed
from shared.request_classes import RequestClass

_CUSTOMER: Final = {"id": "1", "account_id": "1", "name": "Ada", "created_date": "2026-01-31T12:00:00Z"}
_INVOICE: Final = {
    "id": "1",
    "customer_id": "1",
    "purchase_price_cents": 12000,
    "purchase_date": "2026-01-31",
    "created_date": "2026-01-31T12:00:00Z",
}
_NEW_INVOICE: Final = {"customer_id": "1", "purchase_date": "2026-01-31", "purchase_price_cents": 12000}
_DELETED: Final = Answer(204, "It is deleted.")

CREATE_CUSTOMER: Final = creates(
    "customer", Body(CreateCustomerBody(), {"name": "Ada", "account_id": "1"}), allowed=Allowed.OWNER
)
LIST_CUSTOMERS: Final = reads(
    list[Customer],
    [_CUSTOMER],
    parameters=[*PAGE, filter_parameter("account_id", "Only those of this account.")],
    headers=[LINK],
    allowed=Allowed.IN_SIGHT,
)
FIND_CUSTOMER: Final = reads(Customer, _CUSTOMER, allowed=Allowed.OWNER)
DELETE_CUSTOMER: Final = writes(_DELETED, allowed=Allowed.OWNER)
CREATE_INVOICE: Final = creates("invoice", Body(CreateInvoiceBody(), _NEW_INVOICE), allowed=Allowed.OWNER)
CREATE_INVOICES: Final = writes(
    Answer(201, "All are in the log; their ids in the order sent.", list[Created], [{"id": "1"}]),
    body=Body(CreateInvoiceBody(), [_NEW_INVOICE], most=LARGEST_BATCH),
    allowed=Allowed.OWNER,
    request_class=RequestClass.BATCHES,
)
LIST_INVOICES: Final = reads(
    list[Invoice],
    [_INVOICE],
    parameters=[*PAGE, filter_parameter("customer_id", "Only those of this customer.")],
    headers=[LINK],
    allowed=Allowed.IN_SIGHT,
)
FIND_INVOICE: Final = reads(Invoice, _INVOICE, allowed=Allowed.OWNER)
DELETE_INVOICE: Final = writes(_DELETED, allowed=Allowed.OWNER)
