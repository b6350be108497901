"""Who may what: every route of both services, for every kind of asker, on what is its own, foreign, absent and deleted.

The routes are the apps' own, and what to send comes from their operations: a new route is asked, too.
"""

from __future__ import annotations

import itertools
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import fakeredis
import pytest
from werkzeug.test import TestResponse

from accounts.token_issuer import TokenIssuer
from accounts.users_file import FILE_NAME
from eventlog import START, Event, EventLog
from eventlog.log import Moment
from shared.events import make_codec
from shared.permissions import Allowed, Identity, Role
from tests.fake_redis import fake_pool
from tests.pair import Client, Pair, running_pair
from tests.routes import Route, list_routes
from tests.services.facts import (
    a_customer_created,
    a_customer_deleted,
    an_account_created,
    an_account_deleted,
    an_invoice_created,
)

ROUTES: Final = list_routes()
# The variables of paths, and the fields of bodies and queries, that name something somebody has.
_IDS: Final = {"account_id", "customer_id", "invoice_id"}
_NAMES: Final = {"username", "owned_by"}
_OTHERS: Final = {"kind": "not-found", "filename": "page.css"}
_VARIABLE = re.compile(r"<(?:\w+:)?(\w+)>")
_REQUEST_ID: Final = {"X-Request-Id": "asked"}
_BEHIND_PERMISSION: Final = {"unasked": "1"}  # 400 for whoever is let in, and nothing is done


class Thing(NamedTuple):
    """An account, its customer, that one's invoice and their owner; all three have the same id."""

    id: str
    owner: str

    def value_of(self, name: str) -> str | None:
        return self.id if name in _IDS else self.owner if name in _NAMES else None


class Things(NamedTuple):
    """For the member `mel`. All ids and all names are of one length, so that answers may be, too."""

    own: Thing
    foreign: Thing
    absent: Thing


class Way(NamedTuple):
    """What a request may have that tells things apart."""

    name: str
    headers: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    method: str | None = None
    drops: bool = False
    """Of the body, all but what names something."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Each test puts in what it needs, under ids of its own."""
    log = EventLog(fake_pool(), make_codec())
    log.create()
    with running_pair(log, tmp_path_factory.mktemp("pair")) as pair:
        for name in ("mel", "kim", "root"):
            pair.users.add(name, f"password of {name}", role_of(name))
        yield pair


# No other number of an answer; the ids behind each are left for what the services create.
_FIRST_IDS: Final = itertools.count(70_000, 10)


@pytest.fixture
def things(pair: Pair) -> Things:
    absent = next(_FIRST_IDS)
    own, foreign = absent + 1, absent + 2
    publish(
        pair,
        *[event for id_, owner in ((own, "mel"), (foreign, "kim")) for event in a_thing_created(id_, owner)],
    )
    return Things(Thing(str(own), "mel"), Thing(str(foreign), "kim"), Thing(str(absent), "zoe"))


def a_thing_created(id_: int, owner: str) -> list[Event]:
    return [an_account_created(id_, owner), a_customer_created(id_, id_), an_invoice_created(id_, id_)]


def publish(pair: Pair, *events: Event) -> None:
    pair.log.publish(events, decided_at=Moment(pair.log.state().log_id or "", START))
    pair.wait_until_applied()


def role_of(username: str) -> Role:
    return Role.ADMIN if username == "root" else Role.MEMBER


def token_of(pair: Pair, username: str) -> str:
    return pair.token(username, role_of(username))


def bad_tokens(pair: Pair) -> list[str | None]:
    """None at all, garbage, and an admin's that has expired."""
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    expired = TokenIssuer(pair.keys, lambda: an_hour_ago).issue(Identity("root", Role.ADMIN))
    return [None, "garbage", expired]


def ask(pair: Pair, route: Route, token: str | None, thing: Thing, way: Way | None = None) -> TestResponse:
    """What the route answers about a thing."""
    way = way or Way("plain")
    app = pair.accounts_app if route.service == "accounts" else pair.customers_app
    method = way.method or ("HEAD" if route.is_unending else route.method)
    body = route.operation.body.example if route.operation and route.operation.body else None
    named = [parameter.name for parameter in route.operation.parameters] if route.operation else []
    query = {name: thing.id for name in named if name in _IDS}
    return Client(app, token).request(
        method,
        _VARIABLE.sub(lambda found: thing.value_of(found[1]) or _OTHERS[found[1]], route.path),
        headers={**_REQUEST_ID, **way.headers},
        query_string={**query, **way.query},
        json=filled(body, thing, drops=way.drops),
    )


def filled(body: Any, thing: Thing, *, drops: bool) -> Any:
    """The example of a body, about a thing."""
    if isinstance(body, list):
        return [filled(item, thing, drops=drops) for item in body]
    if not isinstance(body, dict):
        return body
    return {
        name: thing.value_of(name) or value
        for name, value in body.items()
        if not drops or thing.value_of(name)
    }


def told(answer: TestResponse, thing: Thing) -> tuple[int, str, dict[str, str]]:
    """The whole answer but for the thing's own id and owner, and for what is of this request alone."""
    of_thing = re.compile(rf"\b(?:{thing.id}|{thing.owner})\b")
    headers = {name: of_thing.sub("#", value) for name, value in answer.headers.items()}
    if "Idempotency-Key" not in answer.request.headers and "Idempotency-Key" in headers:
        headers["Idempotency-Key"] = "one made for this request"
    for counted in ("RateLimit-Remaining", "RateLimit-Reset"):
        headers.pop(counted, None)
    text = of_thing.sub("#", answer.get_data(as_text=True))
    if "ETag" in headers:  # the hash of this path and token, and of what is applied
        text = text.replace(headers["ETag"].strip('"'), "a tag")
        headers["ETag"] = "a tag"
    return answer.status_code, text, headers


def routes(*allowed: Allowed) -> pytest.MarkDecorator:
    found = [route for route in ROUTES if route.allowed in allowed]
    return pytest.mark.parametrize("route", found, ids=str)


CLOSED: Final = [allowed for allowed in Allowed if allowed.needs_token]


def test_a_route_that_does_not_say_who_may_ask_cannot_be_added(pair: Pair) -> None:
    for app in (pair.accounts_app, pair.customers_app):
        with pytest.raises(ValueError, match="who may ask for /new"):
            app.add_url_rule("/new", "new", lambda: "new")


@routes(*CLOSED)
def test_without_a_good_token_nobody_is_answered(pair: Pair, route: Route, things: Things) -> None:
    before = pair.log.state().sequence
    for token in bad_tokens(pair):
        answers = [ask(pair, route, token, thing) for thing in things]
        assert {answer.status_code for answer in answers} == {401}
        assert all(answer.headers["WWW-Authenticate"].startswith("Bearer") for answer in answers)
        assert (
            told(answers[0], things.own)
            == told(answers[1], things.foreign)
            == told(answers[2], things.absent)
        )
    assert pair.log.state().sequence == before


@routes(Allowed.ANYONE, Allowed.MACHINE)
def test_anyone_is_answered(pair: Pair, route: Route, things: Things) -> None:
    """Where it would do something: that it is let in."""
    way = Way("plain") if route.method == "GET" else Way("let in", query=_BEHIND_PERMISSION)
    tokens = [*bad_tokens(pair), token_of(pair, "mel"), token_of(pair, "root")]
    statuses = {ask(pair, route, token, things.own, way).status_code for token in tokens}
    assert statuses == {200 if route.method == "GET" else 400}


@routes(Allowed.ADMIN)
def test_what_is_for_admins_tells_members_nothing(pair: Pair, route: Route, things: Things) -> None:
    before = pair.log.state().sequence
    mel, root = token_of(pair, "mel"), token_of(pair, "root")
    for way in ways(pair, route):
        if way.method != "OPTIONS":
            assert ask(pair, route, mel, things.own, way).status_code == 403, way.name
    assert pair.log.state().sequence == before
    let_in = Way("let in", query=_BEHIND_PERMISSION)
    assert ask(pair, route, root, things.own, let_in).status_code == 400
    if route.method == "GET":
        assert ask(pair, route, root, things.own).status_code == 200


@routes(Allowed.SIGNED_IN, Allowed.IN_SIGHT, Allowed.OWNER)
def test_owners_and_admins_are_let_in(pair: Pair, route: Route, things: Things) -> None:
    asked = [(token_of(pair, "mel"), things.own), (token_of(pair, "root"), things.foreign)]
    statuses = [ask(pair, route, token, thing).status_code for token, thing in asked]
    has_customers = (route.method, route.path) == ("DELETE", "/accounts/<account_id>")
    assert statuses[0] == statuses[1]
    assert statuses[0] in ({409} if has_customers else {200, 201, 204})


def ways(pair: Pair, route: Route, tag: str = '"no tag"') -> list[Way]:
    """In which foreign and absent things are asked for; `tag` is what the owner was given."""
    state = pair.log.state()
    short_log_id = (state.log_id or "")[:8]
    found = [
        Way("plain"),
        Way("OPTIONS", method="OPTIONS"),
        Way("If-None-Match: *", {"If-None-Match": "*"}),
        Way("If-None-Match", {"If-None-Match": tag}),
        Way("If-Match: *", {"If-Match": "*"}),
        Way("If-Match", {"If-Match": tag}),
        Way("Min-Log-Position", {"Min-Log-Position": f"{state.end}@{short_log_id}", "Prefer": "wait=1"}),
        Way("of another log", {"Min-Log-Position": f"{state.end}@00000000"}),
        Way("beyond the end", {"Min-Log-Position": f"9{state.end}@{short_log_id}"}),
        Way("no position", {"Min-Log-Position": "soon"}),
        Way("Last-Event-ID", {"Last-Event-ID": f"{state.end}@{short_log_id}"}),
        Way("Idempotency-Key", {"Idempotency-Key": "of mel"}),
        Way("no key", {"Idempotency-Key": "two words"}),
        Way("Accept", {"Accept": "text/csv"}),
        Way("Origin", {"Origin": "http://127.0.0.1:1"}),
        Way("unknown parameter", query=_BEHIND_PERMISSION),
    ]
    if route.method == "GET":
        found.append(Way("HEAD", method="HEAD"))
    if route.operation:
        named = route.operation.query_parameters
        values = {"limit": ["1", "0", "101"], "after": ["0", "99", "x"], "as_of": ["start", "0d", "then"]}
        found += [
            Way(f"{name}={value}", query={name: value}) for name in named for value in values.get(name, [])
        ]
    if route.operation and route.operation.body:
        found.append(Way("half a body", drops=True))
    return found


def names_in(route: Route) -> set[str]:
    """What of a request names something that somebody has: variables of its path, fields of its body, filters."""
    if route.operation is None:
        return set()
    body = route.operation.body.example if route.operation.body else {}
    fields = body[0] if isinstance(body, list) else body
    named = {*_VARIABLE.findall(route.path), *fields, *route.operation.query_parameters}
    return named & (_IDS | _NAMES)


def routes_on_things(*allowed: Allowed) -> pytest.MarkDecorator:
    """Those whose requests name something that somebody has."""
    found = [route for route in ROUTES if route.allowed in allowed and names_in(route)]
    return pytest.mark.parametrize("route", found, ids=str)


@routes_on_things(*CLOSED)
def test_what_is_foreign_or_deleted_answers_exactly_as_what_is_absent(
    pair: Pair, route: Route, things: Things
) -> None:
    """Status, body and headers, in every way to ask; nothing is written by it."""
    seen = ask(pair, route, token_of(pair, "kim"), things.foreign, Way("HEAD", method="HEAD"))
    gone = things.own
    publish(pair, a_customer_deleted(int(gone.id), int(gone.id)), an_account_deleted(int(gone.id)))
    token, before = token_of(pair, "mel"), pair.log.state().sequence
    for way in ways(pair, route, seen.headers.get("ETag", '"no tag"')):
        absent = told(ask(pair, route, token, things.absent, way), things.absent)
        assert told(ask(pair, route, token, things.foreign, way), things.foreign) == absent, way.name
        if _IDS & names_in(route):
            assert told(ask(pair, route, token, gone, way), gone) == absent, way.name
        if route.allowed is Allowed.OWNER:
            assert absent[0] >= 400 or way.method == "OPTIONS", way.name
    assert pair.log.state().sequence == before


def test_foreign_is_told_as_absent_while_the_log_is_away(tmp_path: Path) -> None:
    server = fakeredis.FakeServer()
    log = EventLog(fakeredis.FakeRedis(server=server).connection_pool, make_codec())
    log.create()
    with running_pair(log, tmp_path) as pair:
        pair.users.add("mel", "password of mel", Role.MEMBER)
        publish(pair, *a_thing_created(70_002, "kim"))
        foreign, absent = Thing("70002", "kim"), Thing("70000", "zoe")
        token = token_of(pair, "mel")
        server.connected = False
        for route in ROUTES:
            if route.allowed is Allowed.OWNER and _IDS & names_in(route):
                answer = told(ask(pair, route, token, foreign), foreign)
                assert answer == told(ask(pair, route, token, absent), absent), route
                assert answer[0] == (404 if route.method == "GET" else 503), route


def a_user_as_the_token_says(pair: Pair) -> str:
    """An admin's, of whom only what follows makes another."""
    name = f"user{next(_FIRST_IDS)}"
    pair.users.add(name, f"password of {name}", Role.ADMIN)
    return name


def disabled(pair: Pair) -> str:
    name = a_user_as_the_token_says(pair)
    pair.users.disable(name)
    return name


def a_member_by_now(pair: Pair) -> str:
    name = a_user_as_the_token_says(pair)
    with closing(sqlite3.connect(pair.folder / "accounts" / FILE_NAME)) as file, file:
        file.execute("UPDATE users SET role = 'member' WHERE username = ?", (name,))
    return name


def deleted(_: Pair) -> str:
    return "nobody"


@pytest.mark.parametrize("who", [disabled, a_member_by_now, deleted])
@pytest.mark.parametrize(
    "route",
    [route for route in ROUTES if route.service == "accounts" and route.allowed.needs_token],
    ids=str,
)
def test_a_token_of_who_is_another_by_now_changes_nothing_in_accounts(
    pair: Pair, route: Route, things: Things, who: Callable[[Pair], str]
) -> None:
    """What it reads lasts no longer than the token; what it changes would."""
    token = pair.token(who(pair), Role.ADMIN)
    users, entries = pair.users.list_users(), pair.log.state().sequence
    answer = ask(pair, route, token, things.foreign)
    if route.method == "GET":
        assert answer.status_code != 401
    else:
        assert (answer.status_code, answer.get_json(force=True)["type"]) == (401, "/problems/unauthorized")
    assert (pair.users.list_users(), pair.log.state().sequence) == (users, entries)


@routes_on_things(*CLOSED)
def test_a_key_that_another_has_used_tells_nothing_of_it(pair: Pair, route: Route, things: Things) -> None:
    """The very same request: what its owner was answered is repeated to the owner alone."""
    way = Way("Idempotency-Key", {"Idempotency-Key": f"of {route}".replace(" ", "-")})
    kim, mel = token_of(pair, "kim"), token_of(pair, "mel")
    answered = ask(pair, route, kim, things.foreign, way)
    pair.wait_until_applied()
    refused = ask(pair, route, mel, things.foreign, way)
    assert "Idempotency-Replayed" not in refused.headers
    assert told(refused, things.foreign) == told(ask(pair, route, mel, things.absent, way), things.absent)
    if "Log-Position" in answered.headers and route.method != "GET":
        again = ask(pair, route, kim, things.foreign, way)
        assert (again.status_code, again.data) == (answered.status_code, answered.data)
        assert again.headers["Idempotency-Replayed"] == "true"


@routes(Allowed.IN_SIGHT)
def test_a_list_has_nothing_foreign_in_it(pair: Pair, route: Route, things: Things) -> None:
    """Neither in its items nor in where its pages begin. What `/events` sends: tests/services/test_events.py."""
    if route.is_unending:
        return
    own, foreign, absent = things
    for limit in ("1", "2", "100"):
        way = Way("a page", query={"limit": limit, "after": absent.id})
        for thing in [own, foreign]:
            filtered = ask(pair, route, token_of(pair, "mel"), thing, way)
            text = f"{filtered.get_data(as_text=True)} {filtered.headers.get('Link', '')}"
            text = text.replace(f"_id={foreign.id}", "")  # the filter itself, in the link
            assert foreign.id not in re.findall(r"\d+", text)
            assert foreign.owner not in text
            if thing is own:
                assert own.id in re.findall(r"\d+", text)
