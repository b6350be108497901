"""The bodies that clients of the customers service send."""

from __future__ import annotations

from typing import Final

from marshmallow import Schema

from shared.strict_json import DateField, IdField, TextField, WholeNumberField

LONGEST_NAME: Final = 200
HIGHEST_PRICE_CENTS: Final = 10**12
LARGEST_BATCH: Final = 1000  # invoices; the script that appends them keeps Redis to itself for some 6 ms


class CreateCustomerBody(Schema):
    name = TextField(shortest=1, longest=LONGEST_NAME, required=True)
    account_id = IdField(required=True)


class CreateInvoiceBody(Schema):
    customer_id = IdField(required=True)
    purchase_date = DateField(required=True)
    purchase_price_cents = WholeNumberField(smallest=1, largest=HIGHEST_PRICE_CENTS, required=True)
