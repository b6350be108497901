"""The console as people see it: what they do, and what then stands on the page."""

from __future__ import annotations

import re
import shutil
from contextlib import ExitStack, suppress
from urllib.request import Request, urlopen

import pytest
import redis
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, Route, expect

from eventlog.embedded_redis import HOST, EmbeddedRedis
from shared.admission import WATCHERS
from shared.permissions import Role
from tests.browser.person import Console, fill_in, post_invoice, sign_in
from tests.make_run import wait_until
from tests.proxy import Fate, Link, Proxy, Way

pytestmark = [pytest.mark.processes, pytest.mark.needs("chromium")]


CLOCK = "[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{3}"


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


def test_revenue_changes_while_one_looks_at_it(
    page: Page, console: Console, redis_server: EmbeddedRedis
) -> None:
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
    position = newest.get_by_role("button").inner_text()
    expect(opened.get_by_role("code")).to_have_text(
        f"redis-cli -u {redis_server.url} XRANGE event-stream {position} {position}"
    )
    page.reload()
    expect(account(page, "one")).to_contain_text("150.50")
    expect(page.get_by_role("heading", name="Ledger of one")).to_be_visible()
    expect(page.get_by_text("Choose an account")).to_be_hidden()


def test_nothing_of_who_was_there_stays_after_signing_out(page: Page) -> None:
    sign_in(page)
    open_account(page, "one").get_by_role("row").nth(1).get_by_role("button").click()
    post_invoice(page, "1", "5")
    expect(page.get_by_text("GET /accounts says that one has 125.00")).to_be_visible()
    expect(page.get_by_role("region", name="Stream").get_by_role("rowheader")).to_have_count(5)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Username")).to_be_focused()
    left = page.evaluate("document.documentElement.outerHTML + JSON.stringify({ ...sessionStorage })")
    for shown in (
        "Ada",
        "user1",
        "125.00",
        "InvoiceCreated",
        "XRANGE event-stream 1",
        "GET /accounts",
    ):
        assert shown not in left
    assert page.evaluate("location.hash") == ""


def test_a_sign_in_by_the_form_ends_where_scripts_take_over(page: Page) -> None:
    def sign_in_by_the_form() -> None:
        page.request.post(f"{page.url}sign-in", form={"username": "user1", "password": "password1"})
        assert page.context.cookies()

    sign_in_by_the_form()
    with page.expect_response("**/sign-out"):
        page.reload()
    expect(page.get_by_role("table")).to_have_count(0)
    assert not page.context.cookies()
    sign_in_by_the_form()
    with page.expect_response("**/sign-out"):
        sign_in(page)
    assert not page.context.cookies()
    expect(page.get_by_role("region", name="Accounts", exact=True)).to_have_count(1)
    sign_in_by_the_form()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Username")).to_be_visible()
    assert not page.context.cookies()


@pytest.mark.parametrize("kept", ["{bad", "{}", '{"token": "a.b.c", "endsAt": 9e15, "renewAt": 9e15}'])
def test_what_no_page_of_ours_kept_is_nobodys(page: Page, kept: str) -> None:
    page.evaluate("kept => sessionStorage.setItem('session', kept)", kept)
    page.reload()
    sign_in(page)
    expect(account(page, "one")).to_contain_text("120.00")


@pytest.mark.parametrize("is_in_the_answer", [False, True])
def test_what_is_told_while_the_ledger_is_read_is_in_it_once(
    page: Page, console: Console, is_in_the_answer: bool
) -> None:
    held: list[Route] = []
    sign_in(page)
    expect(page.get_by_role("status", name="Connection")).to_have_text("Live")
    page.route("**/ledger?*", lambda route: held.append(route), times=1)  # noqa: PLW0108  # Playwright marks it
    ledger = open_account(page, "one")
    expect(ledger).to_contain_text("Loading the ledger")
    before = held[0].fetch()
    console.post_invoice(3050)
    expect(account(page, "one")).to_contain_text("150.50")
    held[0].fulfill(response=held[0].fetch() if is_in_the_answer else before)
    expect(ledger).to_contain_text("from 2 entries")
    expect(ledger).to_contain_text("150.50")
    console.post_invoice(100)
    expect(ledger).to_contain_text("from 3 entries")
    expect(ledger.get_by_text("Invoice 2 of customer 1")).to_have_count(1)


def test_what_could_not_be_read_of_a_ledger_can_be_asked_for_again(page: Page) -> None:
    sign_in(page)
    page.route("**/ledger?*", lambda route: route.abort(), times=1)
    ledger = open_account(page, "one")
    expect(ledger.get_by_role("alert")).to_contain_text("The ledger is not read to its end.")
    ledger.get_by_role("button", name="Read on in the ledger").click()
    expect(ledger).to_contain_text("from 1 entry")
    expect(page.get_by_role("heading", name="Ledger of one")).to_be_focused()
    page.route("**/ledger?*", lambda route: route.abort(), times=1)
    ledger.get_by_role("row").nth(1).get_by_role("button").click()
    expect(ledger).to_contain_text("does not answer")
    ledger.get_by_role("button", name="Try again").click()
    expect(ledger).to_contain_text('"amount_cents": 12000')


def test_a_ledger_that_is_open_says_that_its_account_was_deleted_elsewhere(
    page: Page, console: Console
) -> None:
    sign_in(page)
    ledger = open_account(page, "one")
    expect(ledger).to_contain_text("from 1 entry")
    state = ledger.get_by_role("status", name="State of this ledger")
    expect(state).to_be_empty()
    assert console.pair.customers().delete("/customers/1").status_code == 204
    expect(ledger).to_contain_text("Customer deleted 1")
    expect(state).to_be_empty()
    assert console.pair.accounts().delete("/accounts/1").status_code == 204
    expect(state).to_contain_text(
        re.compile(r"This account is deleted, as of [0-9]+-[0-9]+ \([^)]*:[0-9]{2}")
    )
    expect(ledger.get_by_text("Invoice 1 of customer 1")).to_be_visible()
    open_account(page, "two")
    expect(page.get_by_role("status", name="State of this ledger")).to_be_empty()


def test_the_keyboards_place_in_an_open_ledger_stays_when_it_grows(page: Page, console: Console) -> None:
    sign_in(page)
    ledger = open_account(page, "one")
    ledger.get_by_role("row").nth(1).get_by_role("button").click()
    copy = ledger.get_by_role("button", name="Copy the command")
    copy.focus()
    console.post_invoice(3050)
    expect(ledger).to_contain_text("from 2 entries")
    expect(copy).to_be_focused()
    expect(ledger.get_by_text('"amount_cents": 12000')).to_be_visible()


def test_json_has_the_numbers_that_the_service_answered(page: Page, redis_server: EmbeddedRedis) -> None:
    large = 9007199254740993  # the first whole number that JavaScript has none for
    invoice = {
        "EventTypeName": "InvoiceCreated",
        "Payload": f'{{"id": "77", "customer_id": "1", "purchase_price_cents": {large},'
        ' "created_date": "2026-01-31T12:00:00Z", "purchase_date": "2026-01-31"}',
    }
    with redis.Redis.from_url(redis_server.url) as client:
        client.xadd("event-stream", invoice)
    sign_in(page)
    expect(account(page, "one")).to_contain_text("90,071,992,547,529.93")
    ledger, stream = open_account(page, "one"), page.get_by_role("region", name="Stream")
    for place, member in ((ledger, "amount_cents"), (stream, "purchase_price_cents")):
        place.get_by_role("row").nth(1).get_by_role("button").click()
        expect(place.get_by_text(re.compile(rf'"{member}": {large}\b'))).to_be_visible()


class Breakable(Proxy):
    """Between a page and accounts; while it is broken, whatever comes is cut in the middle."""

    is_broken = False

    def fate(self, chunk: bytes, way: Way, link: Link) -> Fate:
        return Fate.CUT_AND_RESET if self.is_broken else Fate.PASSED


def test_a_page_that_is_cut_off_says_so_and_then_what_it_missed(page: Page, console: Console) -> None:
    with Breakable(int(page.url.rpartition(":")[2].strip("/"))) as between:
        page.goto(f"http://{HOST}:{between.port}")
        sign_in(page)
        ledger = open_account(page, "one")
        expect(ledger).to_contain_text("from 1 entry")
        expect(page.get_by_role("status", name="Connection")).to_have_text("Live")
        between.is_broken = True
        console.post_invoice(100)
        banner = page.get_by_role("status", name="Freshness")
        expect(banner).to_contain_text("Accounts does not answer.")
        expect(banner).to_contain_text(re.compile(r"As of [0-9]+-[0-9]+"))
        expect(banner).to_contain_text(re.compile(r"The page tries again at [0-9]{2}:[0-9]{2}:[0-9]{2}"))
        between.is_broken = False
        expect(banner).to_be_empty()
        expect(page.get_by_role("status", name="Connection")).to_have_text("Live")
        expect(account(page, "one")).to_contain_text("121.00")
        expect(ledger).to_contain_text("from 2 entries")
        page.goto("about:blank")


def test_one_watcher_too_many_is_told_so_until_there_is_a_place(page: Page, console: Console) -> None:
    headers = {"Authorization": f"Bearer {console.pair.token()}"}
    banner = page.get_by_role("status", name="Freshness")
    with ExitStack() as watched:
        for _ in range(WATCHERS):
            watched.enter_context(urlopen(Request(f"{page.url}events", headers=headers)))  # noqa: S310  # ours
        sign_in(page)
        expect(banner).to_contain_text("Too many watch the revenue already.")
        console.post_invoice(100)
    for _ in range(20):  # a service learns that one has gone by what it cannot send
        console.post_invoice(100)
        with suppress(AssertionError):
            expect(banner).to_be_empty(timeout=1000)
            break
    expect(page.get_by_role("status", name="Connection")).to_have_text("Live")


def test_a_hidden_tab_leaves_its_place_and_comes_back_without_a_gap(page: Page, console: Console) -> None:
    sign_in(page)
    connection = page.get_by_role("status", name="Connection")
    ledger = open_account(page, "one")
    expect(connection).to_have_text("Live")
    hide(page, hidden=True)
    expect(connection).to_have_text("Paused while hidden")
    banner = page.get_by_role("status", name="Freshness")
    expect(banner).to_contain_text("Paused, because this page was hidden.")
    console.post_invoice(100)
    console.post_invoice(200)
    hide(page, hidden=False)
    expect(ledger).to_contain_text("from 3 entries")
    expect(account(page, "one")).to_contain_text("123.00")
    expect(banner).to_be_empty()


def hide(page: Page, *, hidden: bool) -> None:
    """As the browser does with a tab behind another: it has no such command of its own."""
    page.evaluate(
        "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


def test_a_removed_key_signs_nobody_out(page: Page, console: Console) -> None:
    """As little as a token that ended while the machine slept."""
    sign_in(page)
    expect(account(page, "one")).to_be_visible()
    (first,) = console.pair.keys.list_keys()
    console.pair.keys.rotate()
    console.pair.keys.remove(first.kid)
    with page.expect_response("**/auth/refresh") as renewed:
        open_account(page, "one")
    assert renewed.value.ok
    expect(page.get_by_role("region", name="one").get_by_role("row").nth(1)).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_session_ends_when_its_user_signs_out(page: Page) -> None:
    sign_in(page)
    kept = page.evaluate("JSON.parse(sessionStorage.getItem('session'))")
    with page.expect_request("**/auth/logout") as told:
        page.get_by_role("button", name="Sign out").click()
    assert told.value.post_data_json == {"refresh_token": kept["refreshToken"]}
    expect(page.get_by_label("Username")).to_be_focused()
    refused = page.request.post(f"{page.url}auth/refresh", data={"refresh_token": kept["refreshToken"]})
    assert refused.status == 401


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
    expect(page.get_by_label("Username")).to_be_focused()


def test_an_invoice_is_followed_through_its_eight_stops(page: Page) -> None:
    sign_in(page)
    post_invoice(page, "1", "12.5")
    stops = page.get_by_role("list", name="Its eight stops").get_by_role("listitem")
    expect(stops).to_have_count(8)
    expect(stops.nth(0)).to_contain_text("customers answered 201, invoice 2")
    expect(stops.nth(7)).to_contain_text("GET /accounts says that one has 132.50")
    answered, command, decided, appended, read, changed, committed, counted = stops.all()
    for stop in (answered, committed, counted):
        expect(stop).to_contain_text(re.compile(f"{CLOCK}.*by this browser's clock, [0-9]+ ms"))
    for stop in (decided, read, changed):
        expect(stop).to_contain_text("when is not known to this page")
        expect(stop).not_to_contain_text(re.compile(CLOCK))
    expect(command).to_contain_text(re.compile(f"{CLOCK}, by the clock of customers"))
    expect(appended).to_contain_text(re.compile(f"{CLOCK}, by the clock of Redis: appended as [0-9]+-[0-9]+"))
    expect(committed).to_contain_text("GET /events told that the total is 132.50")
    expect(account(page, "one")).to_contain_text("132.50")
    page.get_by_label("Customer", exact=True).fill("99")
    page.get_by_role("button", name="Post the invoice").click()
    expect(stops.nth(2)).to_contain_text("There is no customer 99.")
    expect(stops.nth(3)).not_to_contain_text(re.compile(CLOCK))


def test_a_total_that_nobody_told_is_not_called_told(page: Page) -> None:
    page.route("**/events", lambda route: route.abort())
    sign_in(page)
    post_invoice(page, "1", "12.5")
    expect(page.get_by_text("GET /accounts says that one has 132.50")).to_be_visible()
    stops = page.get_by_role("list", name="Its eight stops").get_by_role("listitem")
    expect(stops.nth(6)).to_contain_text("when is not known to this page")


def lose(route: Route) -> None:
    """The answer, not what it says."""
    assert route.fetch().status == 201
    route.abort()


def test_an_invoice_whose_answer_is_lost_is_sent_again_and_counts_once(page: Page, console: Console) -> None:
    sign_in(page)
    page.route("**/invoices", lose, times=1)
    post_invoice(page, "1", "5")
    expect(page.get_by_role("alert").filter(has_text="does not answer")).to_be_visible()
    page.get_by_role("button", name="Post the invoice").click()
    expect(page.get_by_text("GET /accounts says that one has 125.00")).to_be_visible()
    assert len(console.pair.customers().get("/invoices").get_json()) == 2


def test_a_customer_whose_answer_is_lost_is_sent_again_and_added_once(page: Page, console: Console) -> None:
    sign_in(page)
    page.route("**/customers", lose, times=1)
    page.get_by_text("Add a customer").click()
    page.get_by_label("Name", exact=True).fill("Grace")
    page.get_by_label("Account", exact=True).select_option("two (2)")
    page.get_by_role("button", name="Add the customer").click()
    expect(page.get_by_role("alert").filter(has_text="does not answer")).to_be_visible()
    page.get_by_role("button", name="Add the customer").click()
    expect(page.get_by_label("Customer", exact=True)).to_have_value("2")
    expect(account(page, "two").get_by_role("cell").nth(1)).to_have_text("1")
    assert len(console.pair.customers().get("/customers").get_json()) == 2


def test_what_was_not_answered_is_sent_once_though_the_page_is_read_anew(
    page: Page, console: Console
) -> None:
    def add_grace() -> None:
        page.get_by_text("Add a customer").click()
        page.get_by_label("Name", exact=True).fill("Grace")
        page.get_by_label("Account", exact=True).select_option("two (2)")
        page.get_by_role("button", name="Add the customer").click()

    sign_in(page)
    page.route("**/invoices", lose, times=1)
    post_invoice(page, "1", "5")
    expect(page.get_by_role("alert").filter(has_text="does not answer")).to_be_visible()
    page.route("**/customers", lose, times=1)
    add_grace()
    expect(page.get_by_role("alert").filter(has_text="does not answer")).to_have_count(2)
    page.reload()
    add_grace()
    expect(page.get_by_label("Customer", exact=True)).to_have_value("2")
    post_invoice(page, "1", "5")
    expect(page.get_by_text("GET /accounts says that one has 125.00")).to_be_visible()
    assert len(console.pair.customers().get("/customers").get_json()) == 2
    assert len(console.pair.customers().get("/invoices").get_json()) == 2
    post_invoice(page, "1", "5")
    expect(page.get_by_text("GET /accounts says that one has 130.00")).to_be_visible()


def test_what_was_not_answered_is_forgotten_when_one_signs_out(page: Page) -> None:
    sign_in(page)
    page.route("**/invoices", lose, times=1)
    post_invoice(page, "1", "5")
    expect(page.get_by_role("alert").filter(has_text="does not answer")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Username")).to_be_focused()
    assert page.evaluate("sessionStorage.length") == 0


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


def test_a_log_that_is_silent_for_a_moment_is_not_called_away(
    page: Page, redis_server: EmbeddedRedis
) -> None:
    page.clock.install()
    page.reload()
    sign_in(page)
    chip = page.get_by_role("status", name="Connection")
    expect(chip).to_have_text("Live")
    page.clock.pause_at(page.evaluate("Date.now() + 1000"))
    redis_server.kill()

    def is_told_a_moment_later() -> bool:
        page.clock.run_for(50)
        return chip.inner_text() == "Connected, not up to date"

    wait_until(is_told_a_moment_later, chip.inner_text)
    banner = page.get_by_role("status", name="Freshness")
    page.clock.run_for(2900)
    expect(banner).to_be_empty()
    page.clock.run_for(100)
    expect(banner).to_contain_text(re.compile("The log .Redis. does not answer.*Since [0-9:]{8}"))


def test_redis_is_away_and_comes_back(page: Page, console: Console, redis_server: EmbeddedRedis) -> None:
    sign_in(page)
    expect(page.get_by_role("status", name="Connection")).to_have_text("Live")
    redis_server.kill()
    expect(page.get_by_text("The log (Redis) does not answer.")).to_be_visible()
    expect(account(page, "one")).to_contain_text("120.00")
    post_invoice(page, "1", "5")
    expect(page.get_by_role("alert").filter(has_text="Nothing was written")).to_be_visible()
    redis_server.start()
    expect(page.get_by_text("The log (Redis) does not answer.")).to_have_count(0)
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
    assert page.evaluate(BROKEN_NUMBERS) == []
    page.get_by_role("button", name="Rebuild beside it").click()
    require_fit(page)
    confirm(page, "Rebuild")
    page.get_by_role("button", name="Serve generation 2").click()
    confirm(page, "Serve 2")
    generations = page.get_by_role("table", name="Generations")
    expect(generations).to_contain_text("previous")
    require_fit(page)
    for width in (360, 1000):
        page.set_viewport_size({"width": width, "height": 740})
        for word in generations.get_by_text(re.compile("^(served|previous|Generation|State)")).all():
            assert word.evaluate(LINES) == 1, (width, word.inner_text())


# Of a place: in how many lines its text stands.
LINES = """place => {
    const range = document.createRange();
    range.selectNodeContents(place);
    return new Set([...range.getClientRects()].map(({ top }) => Math.round(top))).size;
}"""
# Of positions that are shown; each of their two numbers lies in one line.
BROKEN_NUMBERS = """() => {
    const shown = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), broken = [];
    for (let text; (text = shown.nextNode()); )
        for (const { 0: number, index } of text.data.matchAll(/[0-9]{13,}/g)) {
            const range = document.createRange();
            range.setStart(text, index);
            range.setEnd(text, index + number.length);
            if (new Set([...range.getClientRects()].map(({ top }) => Math.round(top))).size > 1) broken.push(number);
        }
    return broken;
}"""


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


def test_the_keyboard_goes_on_from_where_an_admin_has_acted(page: Page, console: Console) -> None:
    sign_in(page)
    projection = page.get_by_role("region", name="Projection")
    status = projection.get_by_role("status", name="Rebuild")
    projection.get_by_role("button", name="Rebuild beside it").click()
    confirm(page, "Rebuild")
    expect(status).to_contain_text("Generation 2 is built")
    expect(status).to_be_focused()
    serve = projection.get_by_role("button", name="Serve 2", exact=True)
    serve.focus()
    page.keyboard.press("Enter")
    confirm(page, "Serve 2")
    expect(projection.get_by_role("definition").nth(1)).to_have_text("2")
    expect(serve).to_have_count(0)
    expect(projection.get_by_role("heading", name="Generations")).to_be_focused()


def test_the_place_in_a_table_stays_while_one_is_asked(page: Page, console: Console) -> None:
    sign_in(page)
    projection = page.get_by_role("region", name="Projection")
    projection.get_by_role("button", name="Rebuild beside it").click()
    confirm(page, "Rebuild")
    serve = projection.get_by_role("button", name="Serve 2", exact=True)
    serve.click()
    before = projection.get_by_role("definition").nth(3).inner_text()
    console.post_invoice()
    expect(projection.get_by_role("definition").nth(3)).not_to_have_text(before)
    confirm(page, "Cancel")
    expect(serve).to_be_focused()
    serve.click()
    elsewhere = console.pair.accounts().post("/projection/switch", json={"generation": 2})
    assert elsewhere.status_code == 200
    console.post_invoice()
    expect(projection.get_by_role("definition").nth(1)).to_have_text("2")
    confirm(page, "Cancel")
    expect(projection.get_by_role("heading", name="Generations")).to_be_focused()


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
    ).to_be_visible()
    projection.get_by_role("button", name="Serve generation 2").click()
    confirm(page, "Serve 2")
    expect(served).to_have_text("2")
    console.post_invoice()
    expect(account(page, "one")).to_contain_text("240.00")
    projection.get_by_role("button", name="Roll back to generation 1").click()
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
    expect(stream.get_by_role("code")).to_contain_text(
        f"redis-cli -u {redis_server.url} XRANGE event-stream "
    )
    expect(stream.get_by_text("redis_cli")).to_have_count(0)
    parked = page.get_by_role("table", name="Parked entries")
    expect(parked).to_contain_text("customer 99 does not exist")
    page.get_by_role("button", name="Acknowledge what is parked").click()
    confirm(page, "Acknowledge")
    expect(parked).to_contain_text("(acknowledged)")
    expect(page.get_by_role("heading", name="Parked entries")).to_be_focused()
    expect(page.get_by_role("button", name="Acknowledge what is parked")).to_have_count(0)
