"""The customers service's paths."""

from __future__ import annotations

from typing import cast

from flask import Blueprint, Response
from werkzeug.routing import BaseConverter

from customers import directory, operations
from customers.command_handler import CommandHandler
from customers.commands import IdsInARow, InvoiceBody
from customers.schemas import LARGEST_BATCH, CreateCustomerBody, CreateInvoiceBody
from shared.http import answer, no_content, path_id, who_asks
from shared.log_position import Reads
from shared.operations import Created, described
from shared.problems import not_found
from shared.quick_json import QuickReader
from shared.request_body import load_batch, load_body, load_quickly
from shared.requested_page import one_page, requested_filter, requested_page

_CREATE_CUSTOMER = CreateCustomerBody()
_CREATE_INVOICE = QuickReader(CreateInvoiceBody())


class _NotBatch(BaseConverter):
    """A part of a path, but not `batch`: `GET /invoices/batch` is 405, not a look for an invoice of that name."""

    regex = "(?!batch$)[^/]+"


def make_routes(reads: Reads, handler: CommandHandler) -> Blueprint:
    """Every path but health; each needs a token."""
    routes = Blueprint("customers", __name__)
    routes.record_once(lambda state: state.app.url_map.converters.update(not_batch=_NotBatch))

    @routes.post("/customers")
    @described(operations.CREATE_CUSTOMER)
    def create_customer() -> Response:
        """Create a customer in an account."""
        identity = who_asks()
        published = handler.create_customer(identity, load_body(_CREATE_CUSTOMER))
        return answer(Created(published.result), 201, {"Location": f"/customers/{published.result}"})

    @routes.get("/customers")
    @described(operations.LIST_CUSTOMERS)
    def list_customers() -> Response:
        """List customers in the order of their ids."""
        identity = who_asks()
        page, account_id = requested_page(), requested_filter("account_id")
        with reads.look() as look:
            found = directory.list_customers(look, identity.only_owned_by(), page, account_id)
        shown, link = one_page(page, found, lambda item: item.id)
        return answer(shown, headers=link)

    @routes.get("/customers/<customer_id>")
    @described(operations.FIND_CUSTOMER)
    def find_customer(customer_id: str) -> Response:
        """Get a customer."""
        identity = who_asks()
        key = path_id(customer_id, "customer id")
        with reads.look() as look:
            found = directory.find_customer(look, identity.only_owned_by(), key)
        if found is None:
            raise not_found(f"There is no customer {key}.")
        return answer(found)

    @routes.delete("/customers/<customer_id>")
    @described(operations.DELETE_CUSTOMER)
    def delete_customer(customer_id: str) -> Response:
        """Delete a customer, and take its invoices and their revenue out."""
        identity = who_asks()
        handler.delete_customer(identity, path_id(customer_id, "customer id"))
        return no_content()

    @routes.post("/invoices")
    @described(operations.CREATE_INVOICE)
    def create_invoice() -> Response:
        """Create an invoice of a customer; its price in whole cents."""
        identity = who_asks()
        published = handler.create_invoice(identity, load_quickly(_CREATE_INVOICE))
        return answer(Created(published.result), 201, {"Location": f"/invoices/{published.result}"})

    @routes.post("/invoices/batch")
    @described(operations.CREATE_INVOICES)
    def create_invoices() -> Response:
        """Create up to 1,000 invoices, all or none, with a body of up to 262,144 bytes."""
        identity = who_asks()
        bodies = cast("list[InvoiceBody]", load_batch(_CREATE_INVOICE, LARGEST_BATCH))
        published = handler.create_invoices(identity, bodies)
        first, last = IdsInARow.parse(published.result)
        return answer([Created(str(id_)) for id_ in range(first, last + 1)], 201)

    @routes.get("/invoices")
    @described(operations.LIST_INVOICES)
    def list_invoices() -> Response:
        """List invoices in the order of their ids."""
        identity = who_asks()
        page, customer_id = requested_page(), requested_filter("customer_id")
        with reads.look() as look:
            found = directory.list_invoices(look, identity.only_owned_by(), page, customer_id)
        shown, link = one_page(page, found, lambda item: item.id)
        return answer(shown, headers=link)

    @routes.get("/invoices/<not_batch:invoice_id>")
    @described(operations.FIND_INVOICE)
    def find_invoice(invoice_id: str) -> Response:
        """Get an invoice."""
        identity = who_asks()
        key = path_id(invoice_id, "invoice id")
        with reads.look() as look:
            found = directory.find_invoice(look, identity.only_owned_by(), key)
        if found is None:
            raise not_found(f"There is no invoice {key}.")
        return answer(found)

    @routes.delete("/invoices/<not_batch:invoice_id>")
    @described(operations.DELETE_INVOICE)
    def delete_invoice(invoice_id: str) -> Response:
        """Delete an invoice, and take its amount out."""
        identity = who_asks()
        handler.delete_invoice(identity, path_id(invoice_id, "invoice id"))
        return no_content()

    return routes
