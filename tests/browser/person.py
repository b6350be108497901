"""What a person does with the console, and a console for them to do it with."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from werkzeug.serving import WSGIRequestHandler, make_server

from eventlog import EventLog
from eventlog.embedded_redis import HOST
from tests.make_run import NEVER_S
from tests.pair import Pair, running_pair

INVOICE = {"customer_id": "1", "purchase_date": "2026-01-31", "purchase_price_cents": 12000}


class Console:
    """The console of a pair that is served; `open` gives a new browser window on it."""

    def __init__(self, pair: Pair, url: str, browser: Browser) -> None:
        self.pair = pair
        self._url = url
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._broken: list[str] = []

    def open(self, **settings: Any) -> Page:
        """A window on the page."""
        context = self._browser.new_context(**settings)
        context.set_default_timeout(NEVER_S * 1000)
        self._contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: self._broken.append(str(error)))
        page.goto(self._url)
        return page

    def post_invoice(self, cents: int = 12000) -> None:
        """As somebody else, elsewhere."""
        answer = self.pair.customers().post("/invoices", json={**INVOICE, "purchase_price_cents": cents})
        assert answer.status_code == 201, answer.get_data(as_text=True)

    def close(self) -> None:
        """Fails where a script of a page did."""
        for context in self._contexts:
            context.close()
        assert not self._broken


def sign_in(page: Page, username: str = "user1", password: str = "password1") -> None:
    fill_in(page, username, password)
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def fill_in(page: Page, username: str, password: str) -> None:
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def post_invoice(page: Page, customer: str, amount: str) -> None:
    page.get_by_label("Customer", exact=True).fill(customer)
    page.get_by_label("Amount").fill(amount)
    page.get_by_role("button", name="Post the invoice").click()


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Debian's: none is downloaded."""
    expect.set_options(timeout=NEVER_S * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        yield browser
        browser.close()


@contextmanager
def running_console(log: EventLog, redis_url: str, folder: Path, browser: Browser) -> Iterator[Console]:
    """With the demo accounts, of which `one` has the customer Ada with an invoice over 120.00."""
    with ExitStack() as ended:
        # Held from here on: a port that is merely free now may be another's by then.
        doors = [ended.enter_context(socket.create_server((HOST, 0))) for _ in range(2)]
        accounts_port, customers_port = (door.getsockname()[1] for door in doors)
        url = f"http://{HOST}:{accounts_port}"
        variables = {
            "ACCOUNTS_PORT": str(accounts_port),
            "CUSTOMERS_PORT": str(customers_port),
            "CORS_ORIGINS": url,
        }
        pair = ended.enter_context(running_pair(log, folder, redis_url=redis_url, variables=variables))
        ended.enter_context(_served(pair.accounts_app, doors[0]))
        ended.enter_context(_served(pair.customers_app, doors[1]))
        pair.make_demo()
        pair.customers().post("/customers", json={"name": "Ada", "account_id": "1"})
        console = Console(pair, url, browser)
        ended.callback(console.close)
        console.post_invoice()
        pair.wait_until_applied()
        yield console


class _Quiet(WSGIRequestHandler):
    def log_request(self, *_: object) -> None:
        """Not: what a test shows is its failure."""


@contextmanager
def _served(app: Flask, door: socket.socket) -> Iterator[None]:
    host, port = door.getsockname()
    server = make_server(host, port, app, threaded=True, request_handler=_Quiet, fd=door.fileno())
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(NEVER_S)
