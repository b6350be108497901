"""Makes the pictures of docs/console.md: `python -m tests.browser.screenshots`."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import redis
from playwright.sync_api import FloatRect, Page, expect

from eventlog import EventLog
from eventlog.embedded_redis import EmbeddedRedis
from shared.events import make_codec
from shared.permissions import Role
from tests.browser.person import Console, post_invoice, running_browser, running_console, sign_in
from tests.make_run import ROOT

_FOLDER = ROOT / "docs" / "console"
_DESK = {"viewport": {"width": 1060, "height": 720}}
_PHONE = {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}


def main() -> None:
    """Each in the order of the page; the last is of a log that was replaced."""
    _FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / "redis") as server:
        log = EventLog.connect(server.url, make_codec())
        log.create()
        with (
            running_browser() as browser,
            running_console(log, server.url, Path(folder) / "data", browser) as console,
        ):
            _take_all(console, server)
        log.close()


def _take_all(console: Console, server: EmbeddedRedis) -> None:
    phone = console.open(**_PHONE)
    _take(phone, "signed-out")
    _take_empty(console)
    _take_loading(console)
    page = console.open(**_DESK)
    sign_in(page)
    page.get_by_role("button", name="one", exact=True).click()
    for cents in (4900, 19900, 2500, 4900, 12000, 7990, 4900, 30000):
        console.post_invoice(cents)
        page.wait_for_timeout(400)  # for a curve that is worth looking at
    post_invoice(page, "1", "49.00")
    expect(page.get_by_text("GET /accounts says")).to_be_visible()
    expect(page.get_by_text("from 10 entries")).to_be_visible()
    _take(page, "revenue")
    page.get_by_role("region", name="Projection").get_by_role("button", name="Rebuild beside it").click()
    page.get_by_role("dialog").get_by_role("button", name="Rebuild").click()
    expect(page.get_by_text(re.compile("Generation 2 is built"))).to_be_visible()
    newest = page.get_by_role("region", name="Stream").get_by_role("row").nth(1)
    newest.get_by_role("button").click()
    expect(page.get_by_role("region", name="Stream").get_by_role("code")).to_be_visible()
    _take(page, "admin", top="#stream")
    sign_in(phone)
    phone.get_by_role("button", name="one", exact=True).click()
    expect(phone.get_by_text("from 10 entries")).to_be_visible()
    _take(phone, "phone", top="#ledger")
    _take_cut_off(console)
    server.kill()
    expect(page.get_by_text("The log (Redis) does not answer.")).to_be_visible()
    post_invoice(page, "1", "49.00")
    expect(page.get_by_role("alert").filter(has_text="Nothing was written")).to_be_visible()
    _take(page, "redis-away", height=520)
    server.start()
    expect(page.get_by_text("The log (Redis) does not answer.")).to_have_count(0)
    page.get_by_role("button", name="Post the invoice").click()
    expect(page.get_by_text("from 11 entries")).to_be_visible()
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    console.pair.log.create()
    expect(page.get_by_text("This log is not the one I was reading.")).to_be_visible()
    _take(page, "another-log", height=520)


def _take_empty(console: Console) -> None:
    console.pair.users.add("joe", "correct horse", Role.MEMBER)
    page = console.open(**_DESK)
    sign_in(page, "joe", "correct horse")
    expect(page.get_by_text("You own no accounts yet.")).to_be_visible()
    _take(page, "empty", height=290)


def _take_loading(console: Console) -> None:
    page = console.open(**_DESK)
    for path in ("**/accounts", "**/log/entries?*", "**/projection"):
        page.route(path, lambda _: None)  # never answered
    sign_in(page)
    _take(page, "loading", height=520)


def _take_cut_off(console: Console) -> None:
    page = console.open(**_DESK)
    page.route("**/events", lambda route: route.abort())
    sign_in(page)
    expect(page.get_by_text("Accounts does not answer.")).to_be_visible()
    _take(page, "cut-off", height=430)


def _take(page: Page, name: str, *, top: str = "body", height: int | None = None) -> None:
    page.evaluate("top => document.querySelector(top).scrollIntoView()", top)
    page.wait_for_timeout(2100)  # until what changed has faded
    size = page.viewport_size
    assert size is not None
    clip: FloatRect = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"]}
    page.screenshot(path=_FOLDER / f"{name}.png", clip=clip)


if __name__ == "__main__":
    main()
