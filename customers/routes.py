"""The customers service's paths."""

from __future__ import annotations

from typing import cast

from flask import Blueprint, Response

from customers import directory
from customers.command_handler import CommandHandler
from customers.commands import IdsInARow, InvoiceBody
from customers.schemas import LARGEST_BATCH, CreateCustomerBody, CreateInvoiceBody
from shared.http import answer, no_content, path_id, require_token
from shared.log_position import Reads
from shared.problems import not_found
from shared.quick_json import QuickReader
from shared.request_body import load_batch, load_body, load_quickly
from shared.requested_page import one_page, refuse_unknown_parameters, requested_filter, requested_page
from shared.tokens import Tokens

_CREATE_CUSTOMER = CreateCustomerBody()
_CREATE_INVOICE = QuickReader(CreateInvoiceBody())


def make_routes(tokens: Tokens, reads: Reads, handler: CommandHandler) -> Blueprint:
    """Every path but health; each asks for a token first."""
    routes = Blueprint("customers", __name__)

    @routes.post("/customers")
    def create_customer() -> Response:
        identity = require_token(tokens)
        published = handler.create_customer(identity, load_body(_CREATE_CUSTOMER))
        return answer({"id": published.result}, 201, {"Location": f"/customers/{published.result}"})

    @routes.get("/customers")
    def list_customers() -> Response:
        identity = require_token(tokens)
        refuse_unknown_parameters("limit", "after", "account_id")
        page, account_id = requested_page(), requested_filter("account_id")
        with reads.look() as look:
            found = directory.list_customers(look, identity.only_owned_by(), page, account_id)
        shown, link = one_page(page, found, lambda item: item.id)
        return answer([item._asdict() for item in shown], headers=link)

    @routes.get("/customers/<customer_id>")
    def find_customer(customer_id: str) -> Response:
        identity = require_token(tokens)
        key = path_id(customer_id, "customer id")
        refuse_unknown_parameters()
        with reads.look() as look:
            found = directory.find_customer(look, identity.only_owned_by(), key)
        if found is None:
            raise not_found(f"There is no customer {key}.")
        return answer(found._asdict())

    @routes.delete("/customers/<customer_id>")
    def delete_customer(customer_id: str) -> Response:
        identity = require_token(tokens)
        handler.delete_customer(identity, path_id(customer_id, "customer id"))
        return no_content()

    @routes.post("/invoices")
    def create_invoice() -> Response:
        identity = require_token(tokens)
        published = handler.create_invoice(identity, load_quickly(_CREATE_INVOICE))
        return answer({"id": published.result}, 201, {"Location": f"/invoices/{published.result}"})

    @routes.post("/invoices/batch")
    def create_invoices() -> Response:
        identity = require_token(tokens)
        bodies = cast("list[InvoiceBody]", load_batch(_CREATE_INVOICE, LARGEST_BATCH))
        published = handler.create_invoices(identity, bodies)
        first, last = IdsInARow.parse(published.result)
        return answer([{"id": str(id_)} for id_ in range(first, last + 1)], 201)

    @routes.get("/invoices")
    def list_invoices() -> Response:
        identity = require_token(tokens)
        refuse_unknown_parameters("limit", "after", "customer_id")
        page, customer_id = requested_page(), requested_filter("customer_id")
        with reads.look() as look:
            found = directory.list_invoices(look, identity.only_owned_by(), page, customer_id)
        shown, link = one_page(page, found, lambda item: item.id)
        return answer([item._asdict() for item in shown], headers=link)

    @routes.get("/invoices/<invoice_id>")
    def find_invoice(invoice_id: str) -> Response:
        identity = require_token(tokens)
        key = path_id(invoice_id, "invoice id")
        refuse_unknown_parameters()
        with reads.look() as look:
            found = directory.find_invoice(look, identity.only_owned_by(), key)
        if found is None:
            raise not_found(f"There is no invoice {key}.")
        return answer(found._asdict())

    @routes.delete("/invoices/<invoice_id>")
    def delete_invoice(invoice_id: str) -> Response:
        identity = require_token(tokens)
        handler.delete_invoice(identity, path_id(invoice_id, "invoice id"))
        return no_content()

    return routes
