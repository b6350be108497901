"""What the console asks of its service: a small page that needs nothing from elsewhere, and the form's cookie."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

import accounts.console
from eventlog import START, EventLog
from eventlog.log import Moment
from shared.permissions import Role
from tests.pair import Client, Pair, running_pair
from tests.services.facts import an_account_created

FILES = Path(accounts.console.__file__).parent
USER1 = {"username": "user1", "password": "password1"}


@pytest.fixture
def pair(fake_log: EventLog, tmp_path: Path) -> Iterator[Pair]:
    with running_pair(fake_log, tmp_path) as pair:
        pair.make_demo()
        pair.users.add("joe", "correct horse", Role.MEMBER)
        pair.wait_until_applied()
        yield pair


def signed_in(pair: Pair, **who: str) -> Client:
    """A browser that runs no script: it remembers cookies."""
    client = pair.accounts(None)
    answer = client.post("/sign-in", data={**USER1, **who})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    return client


def rows(page: TestResponse) -> list[str]:
    return re.findall(r'<tr><th scope="row">(.*?) <span', page.get_data(as_text=True))


def test_the_page_and_all_that_it_loads_fit_into_100_kb() -> None:
    parts = [
        path for folder in ("static", "templates") for path in (FILES / folder).rglob("*") if path.is_file()
    ]
    loaded = [path for path in parts if path.name not in {"LICENSE", "vendored.json"}]
    assert sum(len(gzip.compress(path.read_bytes())) for path in loaded) < 100_000


def test_nothing_is_loaded_from_elsewhere_and_no_script_or_style_stands_in_the_page(pair: Pair) -> None:
    client = pair.accounts(None)
    page = client.get("/")
    policy = page.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "connect-src 'self' http://127.0.0.1:8080;" in policy
    text = page.get_data(as_text=True)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", text)
    for path in re.findall(r'<(?:script|link)[^>]*(?:src|href)="([^"]+)"', text):
        assert path.startswith("/console/")
        assert client.get(path).status_code == 200, path


def test_the_form_signs_in_to_the_page_and_to_nothing_else(pair: Pair) -> None:
    client = signed_in(pair)
    page = client.get("/")
    assert rows(page) == ["one", "two"]
    assert page.headers["Cache-Control"] == "no-store"
    for path in ("/accounts", "/accounts/1", "/accounts/1/ledger"):
        assert client.get(path).status_code == 401, path
    assert client.post("/accounts", json={"name": "three"}).status_code == 401
    client.post("/sign-out")
    assert rows(client.get("/")) == []


def test_no_script_and_no_other_site_gets_the_cookie(pair: Pair) -> None:
    cookie = pair.accounts(None).post("/sign-in", data=USER1).headers["Set-Cookie"]
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/", "max-age=900"} <= attributes
    assert "secure" not in attributes
    secure = pair.accounts(None).post("/sign-in", data=USER1, base_url="https://localhost")
    assert "secure" in secure.headers["Set-Cookie"].lower()


@pytest.mark.parametrize("path", ["/sign-in", "/sign-out"])
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_form_on_anothers_page_is_refused(pair: Pair, path: str, site: str) -> None:
    answer = pair.accounts(None).post(path, data=USER1, headers={"Sec-Fetch-Site": site})
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("origin", ["http://elsewhere.example", "http://localhost:8081", "null", "localhost"])
def test_where_the_browser_tells_no_more_than_its_origin_a_form_elsewhere_is_refused(
    pair: Pair, origin: str
) -> None:
    for path in ("/sign-in", "/sign-out"):
        answer = pair.accounts(None).post(path, data=USER1, headers={"Origin": origin})
        assert answer.status_code == 403, path
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "said",
    [
        {"Origin": "http://localhost"},
        {"Origin": "https://localhost"},  # something before us ended TLS
        {"Origin": "https://revenue.example", "Sec-Fetch-Site": "same-origin"},  # or named another host
        {},
    ],
)
def test_a_form_on_the_page_itself_is_taken(pair: Pair, said: dict[str, str]) -> None:
    assert pair.accounts(None).post("/sign-in", data=USER1, headers=said).status_code == 303


def test_a_wrong_password_is_said_on_the_page(pair: Pair) -> None:
    answer = pair.accounts(None).post("/sign-in", data={**USER1, "password": "wrong"})
    assert answer.status_code == 401
    assert "Username or password is wrong." in answer.get_data(as_text=True)
    assert "Set-Cookie" not in answer.headers


def test_a_cookie_that_was_made_up_is_nobodys(pair: Pair) -> None:
    assert rows(pair.accounts(None).get("/", headers={"Cookie": "console-token=a.b.c"})) == []


def test_a_member_sees_its_own_accounts_and_never_what_the_browser_kept_of_anothers(pair: Pair) -> None:
    mine = pair.accounts("joe", Role.MEMBER).post("/accounts", json={"name": "joe's <own>"})
    pair.wait_until_applied()
    admins = signed_in(pair).get("/")
    joes = signed_in(pair, username="joe", password="correct horse").get(
        "/", headers={"If-None-Match": admins.headers.get("ETag", "*")}
    )
    assert mine.status_code == 201
    assert joes.status_code == 200
    assert rows(joes) == ["joe&#39;s &lt;own&gt;"]


def test_the_list_goes_on_behind_100_accounts(fake_log: EventLog, tmp_path: Path) -> None:
    with running_pair(fake_log, tmp_path) as pair:
        log_id = fake_log.state().log_id or ""
        fake_log.publish(
            [an_account_created(number) for number in range(1, 131)], decided_at=Moment(log_id, START)
        )
        pair.users.add("user1", "password1", Role.ADMIN)
        pair.wait_until_applied()
        client = signed_in(pair)
        page = client.get("/")
        assert len(rows(page)) == 100
        more = re.search(r'rel="next" href="([^"]+)"', page.get_data(as_text=True))
        assert more is not None
        assert len(rows(client.get(more[1]))) == 30
        assert client.get("/?after=x").status_code == 400


def test_the_page_comes_where_the_accounts_cannot_be_read(fake_log: EventLog, tmp_path: Path) -> None:
    pair = Pair(fake_log, tmp_path)
    pair.users.add("user1", "password1", Role.ADMIN)
    page = signed_in(pair).get("/")
    assert page.status_code == 200
    assert "cannot be read just now" in page.get_data(as_text=True)


def test_the_page_does_not_wait_and_names_its_position(pair: Pair) -> None:
    client = signed_in(pair)
    for named in ("9999999999999-0@00000000", "garbage"):
        page = client.get("/", headers={"Min-Log-Position": named, "Prefer": "wait=0"})
        assert (page.status_code, rows(page)) == (200, ["one", "two"])
        assert page.headers["Log-Position"].startswith(str(pair.log.state().end))


def test_where_nobody_can_be_signed_in_that_is_a_problem(pair: Pair) -> None:
    (pair.folder / "accounts" / "users.db").write_bytes(b"damaged" * 1000)
    answer = pair.accounts(None).post("/sign-in", data=USER1)
    assert (answer.status_code, answer.get_json(force=True)["type"]) == (503, "/problems/not-written")
    assert "Set-Cookie" not in answer.headers
