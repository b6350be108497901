"""Bad input is answered with 4xx that names the field and the rule, and leaves no trace in the log."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from eventlog import EventLog
from shared.events import make_codec
from shared.strict_json import LARGEST_BODY_BYTES
from tests.examples import examples
from tests.fake_redis import fake_pool
from tests.pair import Client, Pair, running_pair

CUSTOMER = {"name": "Ada", "account_id": "1"}
INVOICE = {"customer_id": "1", "purchase_date": "2026-01-31", "purchase_price_cents": 100}
ACCOUNT = {"name": "three", "description": "", "owned_by": "user1"}
USER = {"username": "new", "password": "long enough for it", "role": "member"}
LOGIN = {"username": "user1", "password": "password1"}

POSTS: dict[str, tuple[str, dict[str, Any]]] = {
    "/customers": ("customers", CUSTOMER),
    "/invoices": ("customers", INVOICE),
    "/accounts": ("accounts", ACCOUNT),
    "/users": ("accounts", USER),
    "/auth/login": ("accounts", LOGIN),
}
IDS = ["007", "+7", "-1", "0", "7\n", " 7", "٧", "7.0", "1" * 19, "", "abc", 7, 7.0, None, True, [], {}]  # noqa: RUF001
TEXTS = [
    "", " ", "\u200b", "\ufeff\u2009", "x" * 201, "\t", "a\x00", "a\nb", "a\x7f", "a\x85", "a\u2028b",
    "a\u202eb", "\u2066a", 5, None, True, [], {},
]  # fmt: skip
BAD_FIELDS: dict[tuple[str, str], list[Any]] = {
    ("/customers", "name"): TEXTS,
    ("/customers", "account_id"): IDS,
    ("/invoices", "customer_id"): IDS,
    ("/invoices", "purchase_date"): [
        "2023-02-30",
        "0000-01-01",
        "2026-1-31",
        "31/01/2026",
        "2026-01-31T00:00:00Z",
        "２０２６-01-31",  # noqa: RUF001
        "2026-01-31\n",
        "",
        20260131,
        None,
    ],
    ("/invoices", "purchase_price_cents"): [
        0,
        -1,
        10**12 + 1,
        2**63,
        10**400,
        0.5,
        1.5,
        "100",
        None,
        True,
        [],
        {},
    ],
    ("/accounts", "name"): TEXTS,
    ("/accounts", "description"): ["a\x00", "x" * 1001, 5, None, []],
    ("/accounts", "owned_by"): ["", 5, None],
    ("/users", "username"): ["", "a b", "é", "-a", "x" * 65, 5, None],
    ("/users", "password"): ["short", "eleven char", "", "x" * 1025, "\u00e4" * 600, 5, None],
    ("/users", "role"): ["root", "", 5, None, ["admin"]],
    ("/auth/login", "username"): ["", 5, None, []],
    ("/auth/login", "password"): ["", 5, None, []],
}
NOT_JSON_OBJECTS: dict[str, bytes] = {
    "empty": b"",
    "null": b"null",
    "number": b"7",
    "list": b"[]",
    "cut": b'{"name":',
    "two": b"{}{}",
    "not UTF-8": b'{"name": "\xff"}',
    "UTF-16": json.dumps(CUSTOMER).encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "deep lists": b"[" * 5000,
    "deep objects": b'{"name":' * 5000,
    "deep but closed": b'{"name":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "NaN": b'{"purchase_price_cents": NaN}',
    "Infinity": b'{"purchase_price_cents": -Infinity}',
    "twice the same key": b'{"name": "a", "name": "b", "account_id": "1"}',
    "twice, nested": b'{"name": {"a": 1, "a": 2}}',
    "form": b"name=Ada&account_id=1",
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """One for the whole file: what is refused leaves nothing behind."""
    log = EventLog(fake_pool(), make_codec())
    log.create()
    with running_pair(log, tmp_path_factory.mktemp("pair")) as pair:
        pair.make_demo()
        pair.wait_until_applied()
        assert pair.customers().post("/customers", json=CUSTOMER).get_json() == {"id": "1"}
        pair.wait_until_applied()
        yield pair


def client(pair: Pair, path: str) -> Client:
    return pair.accounts() if POSTS[path][0] == "accounts" else pair.customers()


def require_problem(answer: TestResponse, status: int = 400) -> dict[str, Any]:
    """A problem of this status that tells nothing internal."""
    text = answer.get_data(as_text=True)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json"), text
    problem: dict[str, Any] = answer.get_json(force=True)
    assert problem["status"] == status
    assert problem["type"].startswith("/problems/")
    for internal in ("Traceback", ".py", "sqlite", "redis", "msgspec", "marshmallow", "werkzeug", "Error("):
        assert internal.lower() not in text.lower()
    return problem


@pytest.mark.parametrize(("path", "field"), BAD_FIELDS, ids=lambda found: found)
def test_a_bad_field_is_named(pair: Pair, path: str, field: str) -> None:
    before = pair.log.state().sequence
    for value in BAD_FIELDS[path, field]:
        answer = client(pair, path).post(path, data=json.dumps({**POSTS[path][1], field: value}))
        problem = require_problem(answer)
        assert [error["pointer"] for error in problem["errors"]] == [f"#/{field}"], (value, problem)
    assert pair.log.state().sequence == before


@pytest.mark.parametrize("path", POSTS)
def test_a_missing_or_unknown_field_is_named(pair: Pair, path: str) -> None:
    good = POSTS[path][1]
    required = set(good) - {"description", "owned_by", "role"}
    for field in required:
        body = {name: value for name, value in good.items() if name != field}
        problem = require_problem(client(pair, path).post(path, json=body))
        assert [error["pointer"] for error in problem["errors"]] == [f"#/{field}"]
    problem = require_problem(client(pair, path).post(path, json={**good, "x/y~z": 1}))
    assert [error["pointer"] for error in problem["errors"]] == ["#/x~1y~0z"]


@pytest.mark.parametrize("body", NOT_JSON_OBJECTS.values(), ids=NOT_JSON_OBJECTS)
@pytest.mark.parametrize("path", POSTS)
def test_what_is_not_a_json_object_is_400(pair: Pair, path: str, body: bytes) -> None:
    before = pair.log.state().sequence
    require_problem(client(pair, path).post(path, data=body))
    assert pair.log.state().sequence == before


@pytest.mark.parametrize("escape", ["\\ud800", "\\udfff", "a\\ud800b"])
def test_a_lone_surrogate_is_400(pair: Pair, escape: str) -> None:
    body = f'{{"name": "{escape}", "account_id": "1"}}'
    assert require_problem(pair.customers().post("/customers", data=body))["errors"][0]["pointer"] == "#/name"
    require_problem(pair.customers().post("/customers", data=f'{{"{escape}": 1}}'))


@pytest.mark.parametrize(
    "number",
    [
        "100.5",
        "1e-2",
        "1E+400",
        "1e99999999999999999999",
        "1e-99999999999999999999",
        "1" * 5000,
        "-0.0",
        "1." + "0" * 5000,
    ],
)
def test_cents_are_whole_however_they_are_written(pair: Pair, number: str) -> None:
    body = json.dumps(INVOICE).replace("100", number)
    problem = require_problem(pair.customers().post("/invoices", data=body))
    assert problem["errors"][0]["pointer"] == "#/purchase_price_cents"


@pytest.mark.parametrize("number", ["100.0", "1e2", "1E+2", "1000e-1"])
def test_whole_cents_are_taken_however_they_are_written(pair: Pair, number: str) -> None:
    body = json.dumps(INVOICE).replace("100", number)
    created = pair.customers().post("/invoices", data=body)
    assert created.status_code == 201, created.text
    headers = {"Min-Log-Position": created.headers["Log-Position"]}
    found = pair.customers().get(created.headers["Location"], headers=headers)
    assert '"purchase_price_cents":100,' in found.text


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"purchase_price_cents": NaN}', "#/purchase_price_cents"),
        (b'{"purchase_price_cents": -Infinity}', "#/purchase_price_cents"),
        (b'{"customer_id": "1", "purchase_date": "2026-01-31", "customer_id": "2"}', "#/customer_id"),
        (b'{"a/b": 1, "a/b": 1}', "#/a~1b"),
    ],
)
def test_what_json_does_not_know_is_named_by_its_field(pair: Pair, body: bytes, pointer: str) -> None:
    problem = require_problem(pair.customers().post("/invoices", data=body))
    assert pointer in [error["pointer"] for error in problem["errors"]]


@pytest.mark.parametrize("path", POSTS)
def test_a_body_over_64_kib_is_413(pair: Pair, path: str) -> None:
    exactly = b'{"name": "' + b"x" * (LARGEST_BODY_BYTES - 12) + b'"}'
    require_problem(client(pair, path).post(path, data=exactly))
    require_problem(client(pair, path).post(path, data=exactly + b" "), 413)


FILES = ["/static/swagger-ui/swagger-ui.css", "/static/page.css"]


@pytest.mark.parametrize("service", ["accounts", "customers"])
@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ("bytes=0-9", 206),
        ("bytes=999999999-", 416),
        ("bytes=0-0,2-2", 416),
        ("bytes=-0", 416),
        ("bytes=5-2", 416),
        ("bytes=x", 416),
        ("rows=1-2", 416),
    ],
)
def test_a_part_that_a_file_does_not_have_is_416(
    pair: Pair, service: str, path: str, parts: str, status: int
) -> None:
    asked = pair.accounts() if service == "accounts" else pair.customers()
    answer = asked.get(path, headers={"Range": parts})
    assert answer.status_code == status
    if status == 416:
        assert require_problem(answer, 416)["type"] == "/problems/range-not-satisfiable"
        whole = len(asked.get(path).get_data())
        assert answer.headers["Content-Range"] == f"bytes */{whole}"


@pytest.mark.parametrize("path", POSTS)
def test_a_body_that_is_cut_or_in_chunks_is_not_looked_at(pair: Pair, path: str) -> None:
    before = pair.log.state().sequence
    chunked = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    for body in (json.dumps(CUSTOMER).encode(), json.dumps(INVOICE).encode()):
        cut = {"CONTENT_LENGTH": str(len(body) + 1)}
        problem = require_problem(client(pair, path).post(path, data=body, environ_overrides=cut))
        assert problem["errors"][0]["header"] == "Content-Length"
        assert f"{len(body) + 1} bytes, and {len(body)} came" in problem["detail"]
        in_chunks = client(pair, path).post(path, input_stream=io.BytesIO(body), environ_overrides=chunked)
        require_problem(in_chunks, 411)
    assert pair.log.state().sequence == before


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "a;;b", ""],
)
def test_json_with_a_wrong_label_is_json(pair: Pair, content_type: str | None) -> None:
    answer = pair.customers().post("/customers", data=json.dumps(CUSTOMER), content_type=content_type)
    assert answer.status_code == 201


@pytest.mark.parametrize("service", ["accounts", "customers"])
@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=",
        "limit=1e2",
        "after=x",
        "after=-1",
        "limit=1&limit=2",
        "nope=1",
    ],
)
def test_a_bad_query_parameter_is_named(pair: Pair, service: str, query: str) -> None:
    caller = pair.accounts() if service == "accounts" else pair.customers()
    problem = require_problem(caller.get(f"/{service}?{query}"))
    assert problem["errors"][0]["parameter"] == query.split("=", maxsplit=1)[0]


@pytest.mark.parametrize(
    "identifier", ["abc", "007", "0", "-1", "1" * 19, "%00", "%ff", "%D9%A7", "7%0A", "1.0", "7 "]
)
def test_a_path_id_that_is_none_is_400(pair: Pair, identifier: str) -> None:
    for method in ("GET", "DELETE"):
        require_problem(pair.customers().request(method, f"/customers/{identifier}"))
        require_problem(pair.customers().request(method, f"/invoices/{identifier}"))
        require_problem(pair.accounts().request(method, f"/accounts/{identifier}"))
    require_problem(pair.accounts().get(f"/accounts/{identifier}/customers"))
    require_problem(pair.accounts().get(f"/accounts/{identifier}/is-owned-by/user1"))


@pytest.mark.parametrize("key", ["", "a b", "a,b", ",", "x" * 256, "\u00e9"])
def test_a_bad_idempotency_key_is_named(pair: Pair, key: str) -> None:
    answer = pair.customers().post("/customers", json=CUSTOMER, headers={"Idempotency-Key": key})
    assert require_problem(answer)["errors"][0]["header"] == "Idempotency-Key"


@pytest.mark.parametrize("minimum", ["", "x", "1-1", "1-1@zzzzzzzz", f"{2**64}-0@00000000", "1-1@00000000 x"])
def test_a_bad_min_log_position_is_named(pair: Pair, minimum: str) -> None:
    answer = pair.customers().get("/customers", headers={"Min-Log-Position": minimum})
    assert require_problem(answer)["errors"][0]["header"] == "Min-Log-Position"


def test_unknown_paths_and_methods_are_problems_too(pair: Pair) -> None:
    require_problem(pair.customers().get("/nope"), 404)
    require_problem(pair.customers().get("/" + "x" * 20_000), 404)
    require_problem(pair.customers().get("/customers/../../etc"), 404)
    refused = pair.customers().request("PATCH", "/customers")
    require_problem(refused, 405)
    assert {"GET", "POST"} <= set(refused.headers["Allow"].split(", "))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
BODIES = st.one_of(
    st.binary(max_size=200),
    *(
        st.fixed_dictionaries(
            {}, optional={field: st.just(value) | JSON_VALUES for field, value in good.items()}
        ).map(lambda body: json.dumps(body).encode())
        for _, good in POSTS.values()
    ),
)


@settings(max_examples=examples(150))
@given(body=BODIES, path=st.sampled_from([path for path in POSTS if path != "/users"]))
def test_no_body_gives_a_5xx_or_an_entry_that_is_parked(pair: Pair, body: bytes, path: str) -> None:
    status = client(pair, path).post(path, data=body).status_code
    assert status in {200, 201, 400, 401, 404, 409}
    if status == 201:
        pair.wait_until_applied()
        parked = pair.accounts().get("/health/ready").get_json()["checks"]["parked"]
        assert parked["status"] == "ok"


LATIN_1 = st.characters(max_codepoint=255, exclude_characters="\r\n")  # as WSGI hands bytes over
SEGMENTS = st.one_of(
    st.sampled_from(
        ["", "accounts", "customers", "invoices", "is-owned-by", "auth", "login", "users", "1", "..", "*"]
    ),
    st.text(LATIN_1, max_size=8),
)
HEADER_VALUES = st.text(LATIN_1, max_size=40)
HEADER_NAMES = [
    "Accept", "Authorization", "Content-Type", "Content-Encoding", "Content-Length", "Cookie", "Expect", "Host",
    "Idempotency-Key", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "Min-Log-Position", "Prefer",
    "Range", "Transfer-Encoding", "X-Forwarded-Host", "X-HTTP-Method-Override",
]  # fmt: skip


@settings(max_examples=examples(400))
@given(
    method=st.sampled_from(["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW", ""]),
    segments=st.lists(SEGMENTS, max_size=5),
    query=st.text(LATIN_1, max_size=30),
    headers=st.dictionaries(st.sampled_from(HEADER_NAMES), HEADER_VALUES, max_size=4),
    body=st.sampled_from([b"", b"{}", json.dumps(CUSTOMER).encode(), json.dumps(INVOICE).encode()]),
    service=st.sampled_from(["accounts", "customers"]),
)
def test_no_request_gives_a_5xx(
    pair: Pair,
    method: str,
    segments: list[str],
    query: str,
    headers: dict[str, str],
    body: bytes,
    service: str,
) -> None:
    caller = pair.accounts() if service == "accounts" else pair.customers()
    asked = {"PATH_INFO": "/" + "/".join(segments), "QUERY_STRING": query}
    answer = caller.request(method, "/", headers=headers, data=body, environ_overrides=asked)
    assert answer.status_code < 500, answer.get_data(as_text=True)
    if answer.status_code >= 400:
        assert answer.content_type == "application/problem+json"
