"""What holds on every path of both services: request ids, CORS, HEAD and OPTIONS, Accept, tags, Prefer.

What a single answer must have for its status (`Allow`, `Location`, `Retry-After` …) is held against every answer
that any test gets: tests/described_answers.py.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
from flask import Flask
from werkzeug.test import TestResponse

import accounts.app
import customers.app
from deploy.installation import Installation
from eventlog import EventLog
from eventlog.child_process import ending_with
from eventlog.embedded_redis import free_port
from eventlog.events import Metadata
from shared.events import make_codec
from shared.key_files import PUBLIC_KEYS_NAME
from shared.operations import Operation, operation_of
from shared.permissions import Role
from shared.settings import InvalidSettings, Settings
from tests.fake_redis import fake_pool
from tests.make_run import NEVER_S, ROOT, answers_http, wait_until
from tests.pair import Client, Pair, running_pair

SERVICES = ("accounts", "customers")
UNENDING = "/events"  # its answer goes on while somebody listens
ORIGIN = "http://127.0.0.1:8090"
CREATE_APP = {"accounts": accounts.app.create_app, "customers": customers.app.create_app}
OF_PATHS = {
    "account_id": "1",
    "customer_id": "1",
    "invoice_id": "1",
    "username": "user1",
    "kind": "not-found",
}


class Asked(NamedTuple):
    """A path with something there, and what is said of its methods."""

    path: str
    operations: dict[str, Operation]


def paths_of(app: Flask) -> list[Asked]:
    found: dict[str, dict[str, Operation]] = {}
    for rule in app.url_map.iter_rules():
        operation = operation_of(app.view_functions[rule.endpoint])
        if operation is not None:
            path = re.sub(r"<(?:\w+:)?(\w+)>", lambda variable: OF_PATHS[variable[1]], rule.rule)
            methods = (rule.methods or set()) - {"OPTIONS"}
            found.setdefault(path, {}).update(dict.fromkeys(methods, operation))
    return [Asked(path, operations) for path, operations in found.items()]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """With customer 1 and invoice 1 of account 1; no test takes them away."""
    log = EventLog(fake_pool(), make_codec())
    log.create()
    with running_pair(log, tmp_path_factory.mktemp("pair")) as pair:
        pair.make_demo()
        pair.customers().post("/customers", json={"name": "Ada", "account_id": "1"})
        pair.customers().post("/invoices", json=an_invoice())
        pair.wait_until_applied()
        yield pair


def an_invoice() -> dict[str, Any]:
    return {"customer_id": "1", "purchase_date": "2026-01-31", "purchase_price_cents": 100}


def client_of(pair: Pair, service: str) -> Client:
    return pair.accounts() if service == "accounts" else pair.customers()


def app_of(pair: Pair, service: str) -> Flask:
    return pair.accounts_app if service == "accounts" else pair.customers_app


def kind_of(answer: TestResponse) -> str:
    assert answer.mimetype == "application/problem+json"
    return str(answer.get_json(force=True)["type"]).removeprefix("/problems/")


def varies_by(answer: TestResponse) -> set[str]:
    return {name.strip() for line in answer.headers.getlist("Vary") for name in line.split(",")}


# Request ids


@pytest.mark.parametrize("service", SERVICES)
def test_every_answer_has_the_id_of_its_request(pair: Pair, service: str) -> None:
    asked = [(method, path) for path, operations in paths_of(app_of(pair, service)) for method in operations]
    asked += [("OPTIONS", "/status"), ("PUT", "/status"), ("GET", "/nowhere"), ("GET", "/status?no-such=1")]
    client = Client(app_of(pair, service), None)
    made = []
    for method, path in asked:
        mine = f"{method}:{path}"
        answer = client.request(method, path, headers={"X-Request-Id": mine})
        assert answer.headers.getlist("X-Request-Id") == [mine]
        made.append(client.request(method, path).headers["X-Request-Id"])
    assert len(set(made)) == len(asked), "those made here differ"


@pytest.mark.parametrize("named", ["", "a b", "x" * 129, "caf\xe9", "\x7f"])
def test_an_id_that_cannot_be_one_is_replaced(pair: Pair, named: str) -> None:
    answer = pair.customers().get("/status", headers={"X-Request-Id": named})
    assert re.fullmatch(r"[\x21-\x7e]{16}", answer.headers["X-Request-Id"])


def test_events_say_which_request_they_came_of(pair: Pair) -> None:
    named = pair.customers().post("/invoices", json=an_invoice(), headers={"X-Request-Id": "x" * 128})
    made = pair.customers().post("/invoices", json=an_invoice())
    for answer in (named, made):
        position = answer.headers["Log-Position"].partition("@")[0]
        entries = [entry for entry in pair.log.read_back(count=2) if str(entry.position) == position]
        metadata = msgspec.json.decode(entries[0].fields[-1], type=Metadata)
        assert metadata.correlation_id == answer.headers["X-Request-Id"]


def test_a_refusal_at_the_door_has_its_id_and_head_no_body(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    with full(monkeypatch):
        refused = pair.accounts().get("/accounts", headers={"X-Request-Id": "mine"})
        head = pair.accounts().request("HEAD", "/accounts")
    assert (refused.status_code, refused.headers["X-Request-Id"], kind_of(refused)) == (
        503,
        "mine",
        "overloaded",
    )
    assert (head.status_code, head.get_data()) == (503, b"")


@contextmanager
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing more is taken on."""
    with monkeypatch.context() as patched:
        patched.setattr("shared.admission.Line.begin", lambda _: False)
        yield


# CORS


def with_cors(pair: Pair, service: str, origins: str = ORIGIN) -> Client:
    environment = {"DATA_DIR": str(pair.folder), "CORS_ORIGINS": origins}
    return Client(CREATE_APP[service](Settings.from_environment(environment), pair.log), pair.token())


PREFLIGHT = {"Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "authorization"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_page_of_a_named_origin_may_send_and_read_what_is_described(pair: Pair, service: str) -> None:
    document = json.loads((ROOT / "docs" / "api" / f"{service}.json").read_text())
    operations = [operation for path in document["paths"].values() for operation in path.items()]
    client = with_cors(pair, service)
    for path in document["paths"]:
        answer = client.request("OPTIONS", path, headers={"Origin": ORIGIN, **PREFLIGHT})
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (204, ORIGIN)
        assert int(answer.headers["Access-Control-Max-Age"]) > 0
        methods = re.split(", *", answer.headers["Access-Control-Allow-Methods"])
        assert {method.upper() for method, _ in operations} <= set(methods)
        sent = {"Authorization", "Content-Type"} | {
            parameter["name"]
            for _, operation in operations
            for parameter in operation["parameters"]
            if parameter.get("in") == "header"
        }
        sent -= {"Sec-Fetch-Site"}  # no page may set it
        assert sent <= set(re.split(", *", answer.headers["Access-Control-Allow-Headers"]))
    answered = {
        name
        for _, operation in operations
        for response in operation["responses"].values()
        for name in response["headers"]
    }
    got = client.get("/status", headers={"Origin": ORIGIN})
    readable = set(re.split(", *", got.headers["Access-Control-Expose-Headers"]))
    assert answered - {"WWW-Authenticate", "Set-Cookie"} <= readable, (
        "what a page knows, and what none may read"
    )


def test_a_page_can_read_every_answer_refusals_too(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    client = with_cors(pair, "accounts")
    origin = {"Origin": ORIGIN}
    answers = [
        client.get_current("/accounts/1", headers=origin),
        client.get("/accounts/9", headers=origin),
        client.get("/nowhere", headers=origin),
        client.request("PUT", "/accounts", headers=origin),
        client.post("/accounts", headers=origin, data="no JSON"),
        client.get("/accounts", headers={**origin, "Authorization": ""}),
    ]
    tag = answers[0].headers["ETag"]
    answers.append(client.get("/accounts/1", headers={**origin, "If-None-Match": tag}))
    with full(monkeypatch):
        answers.append(client.get("/accounts", headers=origin))
    assert [answer.status_code for answer in answers] == [200, 404, 404, 405, 400, 401, 304, 503]
    for answer in answers:
        assert answer.headers.getlist("Access-Control-Allow-Origin") == [ORIGIN]
        assert "Origin" in varies_by(answer)
        assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:8091", "https://127.0.0.1:8090", "http://127.0.0.1:80900", "null", ""]
)
def test_a_page_of_another_origin_is_told_nothing(pair: Pair, origin: str) -> None:
    client = with_cors(pair, "customers", f"https://elsewhere.example {ORIGIN}")
    for method in ("GET", "OPTIONS"):
        answer = client.request(method, "/customers", headers={"Origin": origin, **PREFLIGHT})
        assert answer.status_code == {"GET": 200, "OPTIONS": 204}[method]
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]
        assert "Origin" in varies_by(answer), "a cache keeps it for pages of this origin only"


def test_without_the_setting_no_page_of_elsewhere_may_do_anything(pair: Pair) -> None:
    for service in SERVICES:
        for method in ("GET", "OPTIONS"):
            answer = client_of(pair, service).request(
                method, "/status", headers={"Origin": ORIGIN, **PREFLIGHT}
            )
            assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]
            assert "Origin" not in varies_by(answer)


@pytest.mark.parametrize(
    "origins",
    [
        "*",
        f"{ORIGIN} *",
        "null",
        "127.0.0.1:8090",
        "http://127.0.0.1:8090/",
        "http://127.0.0.1:8090,http://localhost:8090",
        "HTTP://127.0.0.1",
        "http://Elsewhere.example",
        "ftp://elsewhere.example",
        "http://user@elsewhere.example",
        "http://elsewhere.example:80",
        "https://elsewhere.example:443",
        "http://elsewhere.example:0",
        "http://elsewhere.example:99999",
    ],
)
def test_what_no_browser_sends_as_origin_is_refused_at_start(origins: str) -> None:
    with pytest.raises(InvalidSettings, match="CORS_ORIGINS"):
        Settings.from_environment({"CORS_ORIGINS": origins})


def test_make_run_lets_pages_of_accounts_call_customers_in_demo_mode_alone() -> None:
    def origins(**variables: str) -> str:
        return Installation.from_environment(variables).environment()["CORS_ORIGINS"]

    assert origins() == "http://127.0.0.1:8090 http://localhost:8090"
    assert origins(ACCOUNTS_PORT="80") == "http://127.0.0.1 http://localhost"
    assert origins(HOST="10.0.0.7", ACCOUNTS_PORT="9000") == "http://10.0.0.7:9000"
    assert origins(CORS_ORIGINS="https://elsewhere.example") == "https://elsewhere.example"
    assert origins(DEMO="0") == ""


# Methods


@pytest.mark.parametrize("service", SERVICES)
def test_each_path_knows_head_and_options_and_names_its_methods(pair: Pair, service: str) -> None:
    client, nobody = client_of(pair, service), Client(app_of(pair, service), None)
    for path, operations in paths_of(app_of(pair, service)):
        options = nobody.request("OPTIONS", path)
        assert (options.status_code, options.allow) == (204, options.allow)
        assert set(options.allow) == {*operations, "OPTIONS"}, path
        for method in ("PUT", "PATCH", "BREW"):
            refused = client.request(method, path)
            assert (refused.status_code, kind_of(refused)) == (405, "method-not-allowed")
            assert set(refused.allow) == {*operations, "OPTIONS"}, path
        assert ("HEAD" in operations) == ("GET" in operations), path
        if path == UNENDING:
            assert client.request("HEAD", path).status_code == 200
        elif "GET" in operations:
            mine = {"X-Request-Id": "mine"}
            got, head = client.get(path, headers=mine), client.request("HEAD", path, headers=mine)
            assert (head.status_code, head.get_data()) == (got.status_code, b""), path
            if path not in {"/health/ready", "/metrics"}:  # they look anew, at what changes
                for answered in (head, got):
                    answered.headers.pop("RateLimit-Remaining", None)  # each is counted
                    answered.headers.pop("RateLimit-Reset", None)
                assert dict(head.headers) == dict(got.headers), path


# Queries


@pytest.mark.parametrize("service", SERVICES)
def test_a_parameter_that_would_be_ignored_is_400_on_each_path(pair: Pair, service: str) -> None:
    client = client_of(pair, service)
    for path, operations in paths_of(app_of(pair, service)):
        for method, operation in operations.items():
            refused = client.request(method, f"{path}?no-such=1")
            assert refused.status_code == 400, (method, path)
            for parameter in operation.query_parameters:
                twice = client.request(method, f"{path}?{parameter}=1&{parameter}=1")
                assert twice.status_code == 400, (method, path, parameter)


# Accept


@pytest.mark.parametrize("service", SERVICES)
def test_what_accept_excludes_is_406_on_each_path_and_nothing_is_done(pair: Pair, service: str) -> None:
    client, before = client_of(pair, service), pair.log.state().sequence
    for path, operations in paths_of(app_of(pair, service)):
        for method, operation in operations.items():
            if not operation.media_types:
                continue
            refused = client.request(method, path, headers={"Accept": "image/png"})
            assert refused.status_code == 406, (method, path)
            assert "Accept" in varies_by(refused)
            if method != "HEAD":
                assert kind_of(refused) == "not-acceptable"
                assert all(each in refused.get_json(force=True)["detail"] for each in operation.media_types)
    assert pair.log.state().sequence == before


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("", 200),
        ("*/*", 200),
        ("application/*", 200),
        ("application/json", 200),
        ("APPLICATION/JSON", 200),
        ("application/json; charset=utf-8", 200),
        ("text/html, application/json;q=0.1", 200),
        ("image/png, */*;q=0.1", 200),
        ("application/json;q=0, application/*", 406),
        ("application/json;q=0, */*", 406),
        ("application/*;q=0, */*", 406),
        ("*/*;q=0", 406),
        ("*/*;q=0, application/json", 200),
        ("text/*", 406),
        ("application/problem+json", 406),
        ("*", 200),
        ("garbage", 200),
        ("\xff", 200),
        (";;,q=,/", 200),
    ],
)
def test_accept_excludes_no_more_than_it_says(pair: Pair, accept: str, status: int) -> None:
    assert pair.accounts().get("/accounts", headers={"Accept": accept}).status_code == status


def test_problems_are_answered_whatever_accept_says_and_deletes_have_nothing_to_exclude(pair: Pair) -> None:
    accept = {"Accept": "application/json"}
    assert kind_of(pair.customers().get("/customers/99", headers=accept)) == "not-found"
    assert kind_of(pair.customers().delete("/customers/99", headers={"Accept": "image/png"})) == "not-found"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "text/plain"),
        ("*/*", "text/plain"),
        ("application/json", "application/json"),
        ("application/json; charset=utf-8", "application/json"),
        ("application/json, text/plain, */*", "text/plain"),
        ("application/json, */*", "application/json"),
        ("text/plain;q=0.5, application/json;q=0.4", "text/plain"),
        ("text/*;q=0.4, application/*;q=0.5", "application/json"),
    ],
)
def test_a_token_comes_in_the_type_asked_for_first(pair: Pair, accept: str | None, media_type: str) -> None:
    credentials = {"username": "user1", "password": "password1"}
    headers = {"Accept": accept} if accept else {}
    answer = Client(pair.accounts_app, None).post("/auth/login", json=credentials, headers=headers)
    assert (answer.status_code, answer.mimetype) == (200, media_type)
    assert varies_by(answer) == {"Accept"}


def test_vary_names_the_token_where_one_is_asked_for_and_only_there(pair: Pair) -> None:
    for service in SERVICES:
        for path, operations in paths_of(app_of(pair, service)):
            if "GET" in operations:
                answer = client_of(pair, service).request("HEAD", path)
                assert ("Authorization" in varies_by(answer)) == operations["GET"].allowed.needs_token, path
    assert "Authorization" in varies_by(Client(pair.accounts_app, None).get("/accounts"))


# Tags


@pytest.mark.parametrize(
    "path", ["/accounts/1", "/openapi.json", "/asyncapi.json", "/catalogue", "/docs", "/problems/not-found"]
)
def test_tags_are_compared_as_the_standard_says(pair: Pair, path: str) -> None:
    client = pair.accounts()
    tag = client.get_current(path).headers["ETag"]

    def status(**headers: str) -> int:
        return client.get(
            path, headers={name.replace("_", "-"): text for name, text in headers.items()}
        ).status_code

    for matching in (tag, f"W/{tag}", f'"other", {tag}', f'W/"other",W/{tag}', "*"):
        assert status(If_None_Match=matching) == 304, matching
    for other in ('"other"', 'W/"other", "another"'):
        assert status(If_None_Match=other) == 200, other
    for matching in (tag, f'"other", {tag}', "*"):
        assert status(If_Match=matching) == 200, matching
        assert status(If_Match=matching, If_None_Match=tag) == 304, matching
    for failing in ('"other"', f"W/{tag}", '"other", W/"another"'):
        assert status(If_Match=failing) == 412, failing
        assert status(If_Match=failing, If_None_Match=tag) == 412, failing


# Prefer


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("wait=5", "wait=5"),
        ("respond-async, wait=5", "wait=5"),
        ('Wait = "5"; foo=bar, respond-async', "wait=5"),
        ("wait=5, wait=7", "wait=5"),
        ("wait=60", "wait=10"),
        ("return=minimal; wait=5", None),
        ('foo="a, wait=5"', None),
        ("wait", None),
        ("wait=x", None),
        ("nowait=5", None),
    ],
)
def test_a_preference_is_applied_as_far_as_it_is_one(pair: Pair, prefer: str, applied: str | None) -> None:
    """Whether it waits: test_reads.py."""
    position = pair.accounts().get("/accounts").headers["Log-Position"]
    answer = pair.accounts().get("/accounts", headers={"Min-Log-Position": position, "Prefer": prefer})
    assert (answer.status_code, answer.headers.get("Preference-Applied")) == (200, applied)


# Location


def test_what_was_made_is_at_its_location_at_once(pair: Pair) -> None:
    """Each 201 has one, where it made one thing: tests/described_answers.py."""
    made = [
        (pair.accounts(), "/accounts", {"name": "three"}),
        (pair.accounts(), "/users", {"username": "a.b@c-d_e", "password": "correct horse"}),
        (pair.customers(), "/customers", {"name": "Bob", "account_id": "1"}),
        (pair.customers(), "/invoices", an_invoice()),
    ]
    for client, path, body in made:
        answer = client.post(path, json=body)
        minimum = {"Min-Log-Position": answer.headers.get("Log-Position", "0"), "Prefer": "wait=10"}
        found = client.get(answer.headers["Location"], headers=minimum)
        assert found.status_code == 200, path
        assert str(next(iter(answer.get_json().values()))) in found.get_data(as_text=True)


def test_a_user_is_shown_to_itself_and_to_admins(pair: Pair) -> None:
    pair.users.add("mel", "correct horse", Role.MEMBER)
    mel = {"username": "mel", "role": "member"}
    assert pair.accounts().get("/users/mel").get_json() == mel
    assert pair.accounts("mel", Role.MEMBER).get("/users/mel").get_json() == mel
    for hidden in ("user1", "nobody"):
        assert pair.accounts("mel", Role.MEMBER).get(f"/users/{hidden}").status_code == 404
    assert pair.accounts().get("/users/nobody").status_code == 404


# The command flask


@pytest.mark.processes
def test_a_service_is_imported_without_flask() -> None:
    for service in SERVICES:
        code = f"import sys, {service}, {service}.cli; sys.exit('flask' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@contextmanager
def started(command: list[str], port: int, folder: Path, jwks: str = "") -> Iterator[Path]:
    """Answering; its output is in the file."""
    environment = {
        **os.environ,
        "DATA_DIR": str(folder),
        "REDIS_URL": f"redis://127.0.0.1:{free_port()}",
        "CUSTOMERS_PORT": str(port),
        "JWKS": jwks,
    }
    output = folder / "output"
    with (
        output.open("wb") as file,
        subprocess.Popen(
            ending_with(os.getpid(), command), env=environment, stdout=file, stderr=file
        ) as process,
    ):
        try:
            wait_until(lambda: answers_http(port), output.read_text)
            yield output
        finally:
            process.terminate()
            process.wait(NEVER_S)


@pytest.mark.processes
def test_flask_run_serves(pair: Pair, tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "flask", "--app", "customers", "run", "--port", str(port)]
    with started(command, port, tmp_path, str(pair.folder / "accounts" / PUBLIC_KEYS_NAME)):
        answer = httpx.get(f"http://127.0.0.1:{port}/customers", trust_env=False, timeout=NEVER_S)
    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/unauthorized")


@pytest.mark.processes
def test_a_line_of_the_log_says_which_request_it_is_about(pair: Pair, tmp_path: Path) -> None:
    """Nothing is built there, so that a read fails, and says so."""
    port = free_port()
    headers = {"Authorization": f"Bearer {pair.token()}", "X-Request-Id": "find-me"}
    command = [str(Path(sys.executable).with_name("customers")), "serve"]
    with started(command, port, tmp_path, str(pair.folder / "accounts" / PUBLIC_KEYS_NAME)) as output:
        answer = httpx.get(
            f"http://127.0.0.1:{port}/customers", headers=headers, trust_env=False, timeout=NEVER_S
        )
        assert (answer.status_code, answer.headers["X-Request-Id"]) == (503, "find-me")
        wait_until(lambda: "find-me" in output.read_text(), output.read_text)
    lines = [json.loads(line) for line in output.read_text().splitlines() if "find-me" in line]
    # That it was counted without Redis, why it failed, and that it was answered.
    assert [line["request_id"] for line in lines] == ["find-me"] * 3
