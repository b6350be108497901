"""Requests made at random in this process, most of them hostile, to every path and method of both services.

An answer counts as wrong if it is a 5xx other than a 503, or not described; so does an entry that a reader parks, and
whatever else than a refusal is answered to a body that did not come whole.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

from flask import Flask
from werkzeug.test import TestResponse, create_environ, run_wsgi_app
from werkzeug.wrappers import Request

from accounts.revenue import revenue
from accounts.signing_keys import SigningKeys
from accounts.token_issuer import TokenIssuer
from customers.directory import directory
from eventlog import EventLog, ProjectionReader
from shared.admission import READS
from shared.events import make_codec
from shared.operations import Operation, operation_of
from shared.permissions import Identity, Role
from tests.described_answers import require_described
from tests.fake_redis import fake_pool
from tests.faults.campaign import Fault, Outcome, Piece
from tests.pair import Pair, running_pair

# Few rebuilds, which are processes, and few passwords to hash; the others without end.
_LIMITS: Final = "reads=0 writes=0 batches=0 events=0 sign-in=300 projection=30"
_METHODS: Final = ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH", "TRACE", "BREW", ""]
_TEXTS: Final = [
    "", " ", "0", "1", "-1", "007", "9" * 19, "9" * 5000, "1.0", "1e3", "NaN", "null", "true", "[]", "{}", "*",
    "/", "..", "\\", "%00", "%ff", "%2e%2e", "\x00", "\x7f", "\t", "\xff", "\xed\xa0\x80", "\u202e", "\ufeff",
    "\u0667", "Ada", "user1", "a" * 300, "a" * 9000, "'; DROP TABLE accounts --", "<script>alert(1)</script>",
    "${7*7}", "{{7*7}}", "../../etc/passwd", "a=1&a=2", "2026-01-31", "2026-13-01", "0000-01-01", "7d", "start",
    "1-1", "0-0", "1795219641181-0", "1795219641181-0@3f2a9c01", "wait=0", "wait=9999, wait=0", "text/html;q=0",
    "bytes=0-", "bytes=999999999-", "bytes=-1", "bytes=-0", "bytes=5-2", "bytes=0-0,2-2", "bytes=x", "bytes=",
    "application/json", "q=;;,,", 'W/"', '"x"', "Bearer", "=?utf-8?b?eA==?=",
]  # fmt: skip
_VALUES: Final[list[Any]] = [
    None, True, False, 0, -1, 1, 1.0, 1.5, 10**12, 10**12 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**400, 1e308,
    [], {}, [[]], [{}], {"a": {"a": 1}}, "\ud800", "\x00", "\u2028", *_TEXTS,
]  # fmt: skip
_BODIES: Final = [
    b"", b"null", b"0", b'""', b"[]", b"{}", b"[{}]", b"{}{}", b"[", b'{"', b"\xff\xfe", b"\xef\xbb\xbf{}",
    b"[" * 5000, b'{"a":' * 5000, b"[" * 200 + b"]" * 200, b'{"a":1,"a":2}', b'{"name":NaN}',
    b'{"name":"\\ud800"}', b'{"name":"\xed\xa0\x80"}', b"name=Ada&account_id=1",
    b'{"name":"' + b"x" * 70_000 + b'"}', b"1" * 300_000, b"-" + b"9" * 5000, b'{"purchase_price_cents":1e400}',
    b"\x00" * 100,
]  # fmt: skip
_HEADERS: Final = [
    "Idempotency-Key", "Min-Log-Position", "Accept", "If-Match", "If-None-Match", "Content-Type",
    "X-Request-Id", "traceparent", "Last-Event-ID", "Origin", "Sec-Fetch-Site", "Cookie", "Host", "Range",
    "Expect", "Content-Encoding", "Accept-Encoding", "X-Forwarded-For", "Access-Control-Request-Method",
    "Content-Length", "Transfer-Encoding", "X-HTTP-Method-Override",
]  # fmt: skip


class _Route(NamedTuple):
    app: Flask
    rule: str
    method: str
    operation: Operation | None
    files: Sequence[str]  # that it answers with, where it is one for files


def fuzz(piece: Piece) -> Outcome:
    """`trials` requests; a log in memory, and both tails following it."""
    log = EventLog(fake_pool(), make_codec())
    log.create()
    variables = {"REQUEST_LIMITS": _LIMITS, "CORS_ORIGINS": "http://127.0.0.1:8090"}
    with running_pair(log, piece.folder, variables=variables) as pair:
        pair.users.add("user2", "password2", Role.MEMBER)  # the role of its token below
        pair.make_demo()
        pair.wait_until_applied()
        made = _Requests(pair, random.Random(piece.seed))
        counts: Counter[str] = Counter()
        wrong: list[str] = []
        for _ in range(piece.trials):
            app, environ = made.next()
            try:
                counts[f"{_ask(app, environ) // 100}xx"] += 1
            except Exception as found:  # noqa: BLE001  # whatever comes out of it is the finding
                wrong.append(f"{_told(environ)}: {type(found).__name__}: {found}")
        pair.wait_until_applied()
        wrong += [f"parked: {each}" for each in _parked(pair)]
        counts["entries written"] = log.state().sequence
    return Outcome(piece.trials, dict(sorted(counts.items())), wrong)


def _ask(app: Flask, environ: dict[str, Any]) -> int:
    """The status that was answered; AssertionError for what may not be."""
    # As a server calls it: the client of tests refuses to send half of these.
    body, status_line, headers = run_wsgi_app(app, environ)
    with closing(TestResponse(body, status_line, headers, Request(environ))) as answered:
        status = answered.status_code
        assert status < 500 or status == 503, answered.get_data(as_text=True)[:300]
        assert status >= 400 or _came_whole(environ), f"{status} for part of a body"
        if not _is_unending(answered):
            require_described(app, answered)
        return status


def _came_whole(environ: dict[str, Any]) -> bool:
    """Reads have no body that anybody looks at; what is in chunks may be cut anywhere."""
    if environ["REQUEST_METHOD"] in READS:
        return True
    announced = environ["CONTENT_LENGTH"]
    return "HTTP_TRANSFER_ENCODING" not in environ and len(environ["wsgi.input"].getvalue()) >= int(
        announced or 0
    )


def _is_unending(answered: TestResponse) -> bool:
    return answered.mimetype == "text/event-stream"


def _told(environ: dict[str, Any]) -> str:
    sent = {name: value for name, value in environ.items() if name.startswith(("HTTP_", "CONTENT"))}
    target = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']!r}?{environ['QUERY_STRING']!r}"
    return f"{target[:300]} {str(sent)[:500]} {environ['wsgi.input'].getvalue()[:200]!r}"


def _parked(pair: Pair) -> list[str]:
    return [
        f"{projection.name}: {entry}"
        for folder, projection in ((pair.revenue_folder, revenue), (pair.directory_folder, directory))
        for entry in _parked_of(ProjectionReader(folder, projection))
    ]


def _parked_of(reader: ProjectionReader) -> list[str]:
    with reader.look() as look:
        return [str(entry) for entry in look.list_parked(limit=100)]


class _Requests:
    """One after the other, by chance: mostly to a path there is, with some of it good, so that it gets far."""

    def __init__(self, pair: Pair, chance: random.Random) -> None:
        self._chance = chance
        self._made = 0
        self._routes = [*_routes_of(pair.accounts_app), *_routes_of(pair.customers_app)]
        foreign = SigningKeys(pair.folder / "of another installation")
        foreign.make_first()
        self._tokens = [
            pair.token(),
            pair.token("user2", Role.MEMBER),
            pair.token("nobody", Role.MEMBER),
            TokenIssuer(foreign).issue(Identity("user1", Role.ADMIN)),
            "garbage",
            "e30.e30.e30",
            "\xff",
            "a" * 5000,
        ]

    def next(self) -> tuple[Flask, dict[str, Any]]:
        self._made += 1
        chance, route = self._chance, self._chance.choice(self._routes)
        body = self._body(route)
        environ = create_environ("/", method="GET", data=body)
        environ["REQUEST_METHOD"] = route.method if chance.random() < 0.9 else chance.choice(_METHODS)
        environ["PATH_INFO"] = _as_sent(self._path(route))
        environ["QUERY_STRING"] = _as_sent(self._query(route))
        environ["CONTENT_LENGTH"] = str(len(body) + chance.choice([0] * 14 + [1, 1000]))
        environ["CONTENT_TYPE"] = "application/json"
        if "<path:" in route.rule:  # a file's: of all answers these alone come in parts
            environ["HTTP_RANGE"] = _as_sent(self._text())
        environ["HTTP_PREFER"] = "wait=0"  # to wait is what other tests do
        if chance.random() < 0.95:
            environ["HTTP_AUTHORIZATION"] = f"Bearer {self._token()}"
        for name in chance.sample(_HEADERS, chance.choice([0, 0, 0, 1, 3])):
            key = name.upper().replace("-", "_")
            environ[key if key.startswith("CONTENT_") else f"HTTP_{key}"] = _as_sent(chance.choice(_TEXTS))
        return route.app, environ

    def _token(self) -> str:
        return self._tokens[0] if self._chance.random() < 0.6 else self._chance.choice(self._tokens)

    def _id(self) -> str:
        """Of something that may be there by now, if it was not deleted."""
        return str(self._chance.randrange(1, 3 + self._made // 100))

    def _path(self, route: _Route) -> str:
        parts = [self._part(route, part) if part.startswith("<") else part for part in route.rule.split("/")]
        return "/".join(parts) + (self._text() if self._chance.random() < 0.03 else "")

    def _part(self, route: _Route, variable: str) -> str:
        if self._chance.random() >= 0.7:
            return self._text()
        is_file = variable.startswith("<path:")
        return self._chance.choice(route.files if is_file else ["1", "2", "3", "user1", "not-found"])

    def _query(self, route: _Route) -> str:
        if self._chance.random() < (0.6 if route.method == "GET" else 0.95):
            return ""
        names = [*(route.operation.query_parameters if route.operation else []), "no-such"]
        return "&".join(
            f"{self._chance.choice(names)}={self._text()}" for _ in range(self._chance.choice([1, 1, 2, 3]))
        )

    def _body(self, route: _Route) -> bytes:
        described = route.operation.body if route.operation else None
        if described is None or self._chance.random() < 0.2:
            return self._chance.choice(_BODIES) if self._chance.random() < 0.5 else b""
        made = self._mutated(described.example)
        text = json.dumps(made, ensure_ascii=self._chance.random() < 0.5)
        raw = text.encode("utf-8", "surrogatepass")
        if self._chance.random() < 0.1:
            at = self._chance.randrange(len(raw) + 1)
            raw = raw[:at] + self._chance.randbytes(self._chance.randrange(4)) + raw[at + 1 :]
        return raw

    def _mutated(self, example: Any) -> Any:
        if isinstance(example, list):
            return [self._mutated(example[0]) for _ in range(self._chance.choice([0, 1, 2, 30]))]
        made = {name: (self._id() if name.endswith("_id") else value) for name, value in example.items()}
        for _ in range(self._chance.choice([0, 0, 0, 1, 3])):
            made[self._chance.choice([*made, "extra"])] = self._chance.choice(_VALUES)
        if self._chance.random() < 0.1:
            made.pop(self._chance.choice(list(made)))
        return made

    def _text(self) -> str:
        if self._chance.random() < 0.2:
            return self._chance.randbytes(self._chance.randrange(12)).decode("latin-1")
        return self._chance.choice(_TEXTS)


def _routes_of(app: Flask) -> list[_Route]:
    return [
        _Route(
            app,
            rule.rule,
            method,
            operation_of(app.view_functions[rule.endpoint]),
            _files_of(app, rule.endpoint),
        )
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"})
        for _ in range(1 if method == "GET" else 3)
    ]


def _files_of(app: Flask, endpoint: str) -> list[str]:
    folder = (
        app.blueprints[endpoint.rpartition(".")[0]].static_folder if endpoint.endswith(".static") else None
    )
    return sorted(str(file.relative_to(folder)) for file in Path(folder).rglob("*.*")) if folder else []


def _as_sent(text: str) -> str:
    """As a server puts bytes into an environ (PEP 3333)."""
    return text if all(ord(character) < 256 for character in text) else text.encode().decode("latin-1")


FUZZ = Fault(
    "fuzz",
    "hostile requests to every path and method of both services, in this process",
    200_000,
    10_000,
    fuzz,
)
