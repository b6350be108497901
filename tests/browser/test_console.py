"""The console as people see it: what they do, and what then stands on the page."""

from __future__ import annotations

import re
import shutil

import pytest
import redis
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, Route, expect

from eventlog.embedded_redis import EmbeddedRedis
from shared.permissions import Role
from tests.browser.person import Console, fill_in, post_invoice, sign_in

pytestmark = [pytest.mark.processes, pytest.mark.needs("chromium")]


def account(page: Page, name: str) -> Locator:
    """Its row in the table of accounts."""
    accounts = page.get_by_role("region", name="Accounts", exact=True)
    return accounts.get_by_role("row").filter(has=page.get_by_role("button", name=name, exact=True))


def open_account(page: Page, name: str) -> Locator:
    """Its ledger."""
    account(page, name).get_by_role("button").click()
    return page.get_by_role("region", name=f"Ledger of {name}")


def confirm(page: Page, action: str) -> None:
    page.get_by_role("dialog").get_by_role("button", name=action).click()


def test_revenue_changes_while_one_looks_at_it(page: Page, console: Console) -> None:
    fill_in(page, "user1", "wrong password")
    expect(page.get_by_role("alert").filter(has_text="Username or password is wrong.")).to_be_visible()
    sign_in(page)
    expect(page.get_by_role("status", name="Connection")).to_have_text("Live")
    expect(account(page, "one")).to_contain_text("120.00")
    ledger = open_account(page, "one")
    expect(ledger).to_contain_text("from 1 entry")
    console.post_invoice(3050)
    expect(account(page, "one")).to_contain_text("150.50")
    expect(ledger).to_contain_text("from 2 entries")
    newest = ledger.get_by_role("row").nth(1)
    expect(newest).to_contain_text("Invoice 2 of customer 1")
    newest.get_by_role("button").click()
    opened = ledger.get_by_role("row").nth(2)
    expect(opened).to_contain_text('"amount_cents": 3050')
    expect(opened).to_contain_text("redis-cli")
    page.reload()
    expect(account(page, "one")).to_contain_text("150.50")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Username")).to_be_visible()
    expect(page.get_by_text("150.50")).to_have_count(0)


def test_a_hidden_tab_leaves_its_place_and_comes_back_without_a_gap(page: Page, console: Console) -> None:
    sign_in(page)
    connection = page.get_by_role("status", name="Connection")
    ledger = open_account(page, "one")
    expect(connection).to_have_text("Live")
    hide(page, hidden=True)
    expect(connection).to_have_text("Paused while hidden")
    console.post_invoice(100)
    console.post_invoice(200)
    hide(page, hidden=False)
    expect(ledger).to_contain_text("from 3 entries")
    expect(account(page, "one")).to_contain_text("123.00")


def hide(page: Page, *, hidden: bool) -> None:
    """As the browser does with a tab behind another: it has no such command of its own."""
    page.evaluate(
        "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


def test_a_session_is_renewed_until_the_user_is_gone(page: Page, console: Console) -> None:
    page.clock.install()
    sign_in(page)
    expect(account(page, "one")).to_be_visible()
    with page.expect_response("**/auth/refresh") as renewed:
        page.clock.fast_forward("08:00")
    assert renewed.value.ok
    expect(account(page, "one")).to_be_visible()
    (console.pair.folder / "accounts" / "users.db").unlink()
    page.clock.fast_forward("08:00")
    expect(
        page.get_by_role("alert").filter(has_text="Your session has ended: sign in again.")
    ).to_be_visible()
    expect(page.get_by_role("region", name="Accounts", exact=True)).to_have_count(0)


def test_an_invoice_is_followed_through_its_eight_stops(page: Page) -> None:
    sign_in(page)
    post_invoice(page, "1", "12.5")
    stops = page.get_by_role("list", name="Its eight stops").get_by_role("listitem")
    expect(stops).to_have_count(8)
    expect(stops.nth(0)).to_contain_text("customers answered 201, invoice 2")
    expect(stops.nth(3)).to_contain_text("by the clock of Redis")
    expect(stops.nth(6)).to_contain_text(re.compile("total is 132.50|a read of accounts is that far"))
    expect(stops.nth(7)).to_contain_text("GET /accounts says that one has 132.50")
    expect(account(page, "one")).to_contain_text("132.50")
    page.get_by_label("Customer", exact=True).fill("99")
    page.get_by_role("button", name="Post the invoice").click()
    expect(stops.nth(2)).to_contain_text("There is no customer 99.")
    expect(stops.nth(3)).not_to_contain_text("after")


def test_an_invoice_whose_answer_is_lost_is_sent_again_and_counts_once(page: Page, console: Console) -> None:
    def lose(route: Route) -> None:
        assert route.fetch().status == 201
        route.abort()

    sign_in(page)
    page.route("**/invoices", lose, times=1)
    post_invoice(page, "1", "5")
    expect(page.get_by_role("alert").filter(has_text="does not answer")).to_be_visible()
    page.get_by_role("button", name="Post the invoice").click()
    expect(page.get_by_text("GET /accounts says that one has 125.00")).to_be_visible()
    assert len(console.pair.customers().get("/invoices").get_json()) == 2


def test_a_customer_can_be_added_where_there_is_none(page: Page) -> None:
    sign_in(page)
    page.get_by_text("Add a customer").click()
    page.get_by_label("Name", exact=True).fill("Grace")
    page.get_by_label("Account", exact=True).select_option("two (2)")
    page.get_by_role("button", name="Add the customer").click()
    expect(page.get_by_label("Customer", exact=True)).to_have_value("2")
    expect(account(page, "two").get_by_role("cell").nth(1)).to_have_text("1")


def test_numbers_of_another_log_are_called_that(
    page: Page, console: Console, redis_server: EmbeddedRedis
) -> None:
    sign_in(page)
    expect(page.get_by_role("status", name="Connection")).to_have_text("Live")
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    console.pair.log.create()
    expect(page.get_by_text("This log is not the one I was reading.")).to_be_visible()
    expect(account(page, "one")).to_contain_text("120.00")
    begin_anew = page.get_by_role("button", name="Read what is there now")
    expect(begin_anew).to_have_count(0)
    pair = console.pair
    pair.accounts_tail.stop()
    shutil.rmtree(pair.revenue_folder)
    pair.accounts_tail.start()
    begin_anew.click()
    expect(page.get_by_text("There are no accounts yet.")).to_be_visible()
    expect(page.get_by_text("This log is not the one I was reading.")).to_have_count(0)


def test_redis_is_away_and_comes_back(page: Page, console: Console, redis_server: EmbeddedRedis) -> None:
    sign_in(page)
    expect(page.get_by_role("status", name="Connection")).to_have_text("Live")
    redis_server.kill()
    expect(page.get_by_text("The log (Redis) is away.")).to_be_visible()
    expect(account(page, "one")).to_contain_text("120.00")
    post_invoice(page, "1", "5")
    expect(page.get_by_role("alert").filter(has_text="Nothing was written")).to_be_visible()
    redis_server.start()
    expect(page.get_by_text("The log (Redis) is away.")).to_have_count(0)
    page.get_by_role("button", name="Post the invoice").click()
    expect(account(page, "one")).to_contain_text("125.00")


def test_a_browser_without_javascript_gets_a_form_and_the_accounts(console: Console) -> None:
    page = console.open(java_script_enabled=False)
    sign_in(page)
    table = page.get_by_role("table")
    expect(table.get_by_role("row").nth(1)).to_contain_text("120.00")
    console.post_invoice(100)
    console.pair.wait_until_applied()
    page.get_by_role("link", name="Read again").click()
    expect(table.get_by_role("row").nth(1)).to_contain_text("121.00")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Username")).to_be_visible()


def test_a_member_sees_its_accounts_and_nothing_of_admins(page: Page, console: Console) -> None:
    console.pair.users.add("joe", "correct horse", Role.MEMBER)
    sign_in(page, "joe", "correct horse")
    expect(page.get_by_text("You own no accounts yet.")).to_be_visible()
    expect(page.get_by_role("region", name="Post an invoice")).to_have_count(0)
    expect(page.get_by_role("region", name="Stream")).to_have_count(0)
    expect(page.get_by_role("region", name="Projection")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_without_scrolling_sideways_and_axe_finds_nothing(
    console: Console, scheme: str
) -> None:
    """axe-core's rules: names, roles, landmarks, tables, focus, and contrast of 4.5."""
    page = console.open(viewport={"width": 360, "height": 740}, color_scheme=scheme, reduced_motion="reduce")
    require_fit(page)
    sign_in(page)
    ledger = open_account(page, "one")
    ledger.get_by_role("row").nth(1).get_by_role("button").click()
    post_invoice(page, "1", "5")
    expect(page.get_by_text("GET /accounts says")).to_be_visible()
    expect(page.get_by_role("region", name="Projection").get_by_text("Served generation")).to_be_visible()
    require_fit(page)
    page.get_by_role("button", name="Rebuild beside it").click()
    require_fit(page)


def require_fit(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_the_keyboard_is_enough(page: Page) -> None:
    press = page.keyboard.press
    page.get_by_label("Username").focus()
    page.keyboard.type("user1")
    press("Tab")
    page.keyboard.type("password1")
    press("Enter")
    expect(account(page, "one")).to_be_visible()
    tab_to(page, "one")
    press("Enter")
    expect(page.get_by_role("heading", name="Ledger of one")).to_be_focused()
    expect(page.get_by_text("Invoice 1 of customer 1")).to_be_visible()
    press("Tab")
    press("Enter")
    expect(page.get_by_text('"amount_cents": 12000')).to_be_visible()
    tab_to(page, "Rebuild beside it")
    press("Enter")
    expect(page.get_by_role("dialog").get_by_role("button", name="Cancel")).to_be_focused()
    press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Rebuild beside it")).to_be_focused()


def tab_to(page: Page, name: str) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == name:
            return
    raise AssertionError(f"sixty times Tab do not reach {name!r}")


def test_an_admin_rebuilds_compares_switches_and_rolls_back(page: Page, console: Console) -> None:
    sign_in(page)
    projection = page.get_by_role("region", name="Projection")
    served = projection.get_by_role("definition").nth(1)
    expect(served).to_have_text("1")
    projection.get_by_role("button", name="Rebuild beside it").click()
    confirm(page, "Cancel")
    expect(projection.get_by_role("button", name="Serve")).to_have_count(0)
    projection.get_by_role("button", name="Rebuild beside it").click()
    confirm(page, "Rebuild")
    expect(
        projection.get_by_text(re.compile("Generation 2 is built: no row of [0-9]+ differs"))
    ).to_be_visible(timeout=30_000)
    projection.get_by_role("button", name="Serve generation 2").click()
    confirm(page, "Serve 2")
    expect(served).to_have_text("2")
    console.post_invoice()
    expect(account(page, "one")).to_contain_text("240.00")
    projection.get_by_role("button", name="Roll back").click()
    confirm(page, "Roll back")
    expect(served).to_have_text("1")
    console.post_invoice()
    expect(account(page, "one")).to_contain_text("360.00")


def test_an_admin_sees_the_stream_grow_and_acknowledges_what_was_parked(
    page: Page, redis_server: EmbeddedRedis
) -> None:
    sign_in(page)
    stream = page.get_by_role("region", name="Stream")
    newest = stream.get_by_role("row").nth(1)
    expect(newest).to_contain_text("InvoiceCreated")
    expect(stream.get_by_role("rowheader")).to_have_count(4)
    of_nobody = {
        "EventTypeName": "InvoiceCreated",
        "Payload": '{"id": "77", "customer_id": "99", "purchase_price_cents": 100,'
        ' "created_date": "2026-01-31T12:00:00Z", "purchase_date": "2026-01-31"}',
    }
    with redis.Redis.from_url(redis_server.url) as client:
        client.xadd("event-stream", of_nobody)
    expect(stream.get_by_role("rowheader")).to_have_count(5)
    newest.get_by_role("button").click()
    expect(stream.get_by_text('"customer_id": "99"')).to_be_visible()
    expect(stream.get_by_text("redis-cli XRANGE event-stream")).to_be_visible()
    parked = page.get_by_role("table", name="Parked entries")
    expect(parked).to_contain_text("customer 99 does not exist")
    page.get_by_role("button", name="Acknowledge what is parked").click()
    confirm(page, "Acknowledge")
    expect(parked).to_contain_text("(acknowledged)")
    expect(page.get_by_role("button", name="Acknowledge what is parked")).to_have_count(0)
