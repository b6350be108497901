"""What the API's description says of paths: what they take, and every status that they answer.

What they do is said in the docstring of the view: a summary, and below it more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from marshmallow import Schema

from shared.paging import DEFAULT_LIMIT, LARGEST_LIMIT
from shared.permissions import Allowed
from shared.problem_kinds import (
    BAD_REQUEST,
    BODY_TOO_LARGE,
    BODY_TOO_SLOW,
    CONFLICT,
    FORBIDDEN,
    IDEMPOTENCY_KEY_REUSED,
    INTERNAL_ERROR,
    KEYS_UNKNOWN,
    LENGTH_REQUIRED,
    LOG_POSITION_UNKNOWN,
    NOT_ACCEPTABLE,
    NOT_FOUND,
    NOT_READABLE,
    NOT_WRITTEN,
    NOT_YET_APPLIED,
    OUTCOME_UNKNOWN,
    OVERLOADED,
    PRECONDITION_FAILED,
    TOO_MANY_REQUESTS,
    TOO_MANY_WAITING,
    UNAUTHORIZED,
    Kind,
)
from shared.request_classes import RequestClass
from shared.shown import ID_PATTERN, ShownId

ViewT = TypeVar("ViewT", bound=Callable[..., Any])

JSON: Final = "application/json"


class Header(NamedTuple):
    """A header of an answer."""

    name: str
    meaning: str
    schema: Mapping[str, Any]
    always: bool = True


class Parameter(NamedTuple):
    """What a request may carry beside its body: `place` is `query`, `path`, `header` or `cookie`."""

    name: str
    place: str
    meaning: str
    schema: Mapping[str, Any]


class Answer(NamedTuple):
    """A status that is not a problem, and what comes with it: `shape` is a type that msgspec describes."""

    status: int
    meaning: str
    shape: Any = None
    example: Any = None
    headers: Sequence[Header] = ()
    media_type: str = JSON
    links: Mapping[str, Mapping[str, Any]] = {}


class Body(NamedTuple):
    """What a request brings: a schema of marshmallow's, or with `most` an array of up to so many of them.

    A form has the same fields.
    """

    schema: Schema
    example: Any
    most: int | None = None
    media_type: str = JSON


class Operation(NamedTuple):
    """All that is said of one path and method; `problem_headers` may come with any of its problems.

    Without a `request_class` its requests are not counted.
    """

    answers: Sequence[Answer]
    problems: Sequence[Kind]
    allowed: Allowed
    parameters: Sequence[Parameter] = ()
    body: Body | None = None
    problem_headers: Sequence[Header] = ()
    request_class: RequestClass | None = None

    def headers_of(self, problem: Kind) -> list[Header]:
        """What comes with a problem of this kind."""
        return [*_PROBLEM_HEADERS.get(problem.status, ()), *self.problem_headers]

    def headers_by_status(self) -> dict[int, list[Header]]:
        """What comes with each status that it answers."""
        found: dict[int, list[Header]] = {}
        for answer in self.answers:
            found.setdefault(answer.status, []).extend(answer.headers)
        for kind in self.problems:
            headers = found.setdefault(kind.status, [])
            headers += [header for header in self.headers_of(kind) if header not in headers]
        return found

    @property
    def media_types(self) -> tuple[str, ...]:
        """What it answers in, but for problems; nothing where no answer has a body."""
        return tuple(answer.media_type for answer in self.answers if answer.shape is not None)

    @property
    def query_parameters(self) -> list[str]:
        """All that a query may have."""
        return [parameter.name for parameter in self.parameters if parameter.place == "query"]


HTML_PAGE: Final = Answer(200, "A page for people.", str, "<!doctype html>…", media_type="text/html")
# A position, or a whole Log-Position.
POSITION_PATTERN: Final = "^(0|[1-9][0-9]{0,17})-(0|[1-9][0-9]{0,17})(@[0-9a-f]{8})?$"


class Created(msgspec.Struct, frozen=True):
    """The id of what was created."""

    id: ShownId


LOG_POSITION: Final = Header(
    "Log-Position",
    "How far the answer has read the log, or where it wrote: a position, `@`, and the first 8 characters of the"
    " log's id. Send it as `Min-Log-Position` to read no older state, on either service.",
    {"type": "string", "pattern": "^[0-9]+-[0-9]+@[0-9a-f]{8}$", "examples": ["1795219641181-0@3f2a9c01"]},
    always=False,
)
PROJECTION_STATE: Final = Header(
    "Projection-State",
    "`following`, or why the answer may be stale: `halted; verdict=rewound`.",
    {"type": "string", "examples": ["following"]},
    always=False,
)
ETAG: Final = Header(
    "ETag",
    "Of this answer, and to this token where one is needed.",
    {"type": "string", "pattern": '^(W/)?"[!#-~]*"$'},
    always=False,
)
_NOT_CHANGED: Final = Answer(304, "Not changed since the answer of this `ETag`.")
WWW_AUTHENTICATE: Final = Header("WWW-Authenticate", "How to sign in.", {"type": "string"})
RETRY_AFTER: Final = Header("Retry-After", "Seconds.", {"type": "string", "pattern": "^[0-9]+$"})
_PROBLEM_HEADERS: Final[Mapping[int, Sequence[Header]]] = {
    401: [WWW_AUTHENTICATE],
    429: [RETRY_AFTER],
    503: [RETRY_AFTER],
}
_COUNT: Final = {"type": "string", "pattern": "^[0-9]+$"}
RATE_LIMIT: Final = Header(
    "RateLimit-Limit", "How many requests like this one you may send in a minute.", _COUNT, always=False
)
RATE_LIMIT_REMAINING: Final = Header(
    "RateLimit-Remaining", "How many of them are left.", _COUNT, always=False
)
RATE_LIMIT_RESET: Final = Header(
    "RateLimit-Reset", "In how many seconds all of them are there again.", _COUNT, always=False
)
_RATE_LIMITS: Final = (RATE_LIMIT, RATE_LIMIT_REMAINING, RATE_LIMIT_RESET)
_PREFERENCE_APPLIED: Final = Header(
    "Preference-Applied",
    "How long it would have waited.",
    {"type": "string", "examples": ["wait=5"]},
    always=False,
)
_IDEMPOTENCY_KEY: Final = Header(
    "Idempotency-Key", "Yours, or one made here: send it with the same request again.", {"type": "string"}
)
_IDEMPOTENCY_REPLAYED: Final = Header(
    "Idempotency-Replayed",
    "There if this is the answer to the first request with this key, repeated.",
    {"type": "string", "enum": ["true"]},
    always=False,
)
LOCATION: Final = Header(
    "Location", "The path of what was created.", {"type": "string", "format": "uri-reference"}
)
PAGE: Final = (
    Parameter(
        "limit",
        "query",
        "How many at most.",
        {"type": "integer", "minimum": 1, "maximum": LARGEST_LIMIT, "default": DEFAULT_LIMIT},
    ),
    Parameter(
        "after",
        "query",
        "Only what comes behind this id, or sequence; the `Link` to the next page has it.",
        {"type": "string", "pattern": "^(0|[1-9][0-9]{0,17})$", "default": "0"},
    ),
)
LINK: Final = Header(
    "Link",
    'There if the list goes on: `</customers?limit=2&after=7>; rel="next"`.',
    {"type": "string"},
    always=False,
)

_MIN_LOG_POSITION: Final = Parameter(
    "Min-Log-Position",
    "header",
    "Wait until this `Log-Position`, which an answer of either service carried, is applied; `0` asks for nothing.",
    {
        "type": "string",
        "pattern": "^(0|(0|[1-9][0-9]{0,17})-(0|[1-9][0-9]{0,17})@[0-9a-f]{8})$",
        "examples": ["1795219641181-0@3f2a9c01"],
    },
)
_PREFER: Final = Parameter(
    "Prefer",
    "header",
    "`wait=5`: how many seconds to wait for `Min-Log-Position`, at most 10; 1 without it.",
    {"type": "string", "examples": ["wait=5"]},
)
IF_NONE_MATCH: Final = Parameter(
    "If-None-Match",
    "header",
    "304 if the answer still has this `ETag`, or one of several.",
    {"type": "string", "examples": ['"6f1c2d1b9e9a4c27a7d5f25d9c1b8a40"']},
)
IF_MATCH: Final = Parameter(
    "If-Match",
    "header",
    "412 if the answer no longer has this `ETag`, or one of several; `*` is any.",
    {"type": "string", "examples": ['"6f1c2d1b9e9a4c27a7d5f25d9c1b8a40"']},
)
_KEY: Final = Parameter(
    "Idempotency-Key",
    "header",
    "The same key and body again is done once and answered the same, for 24 hours; sent once, without a comma.",
    {"type": "string", "pattern": "^[!-+.-~-]{1,255}$"},
)

# What is answered to a body, looked at or not, that does not come as it should.
BODY_PROBLEMS: Final = (BODY_TOO_LARGE, BODY_TOO_SLOW, LENGTH_REQUIRED)
_EVERYWHERE: Final = (BAD_REQUEST, INTERNAL_ERROR, OVERLOADED)
# What is answered to whoever may not.
_REFUSED: Final[Mapping[Allowed, Sequence[Kind]]] = {
    Allowed.ANYONE: [],
    Allowed.MACHINE: [UNAUTHORIZED, FORBIDDEN],
    Allowed.SIGNED_IN: [UNAUTHORIZED, KEYS_UNKNOWN],
    Allowed.IN_SIGHT: [UNAUTHORIZED, KEYS_UNKNOWN],
    Allowed.OWNER: [UNAUTHORIZED, KEYS_UNKNOWN, NOT_FOUND],
    Allowed.ADMIN: [UNAUTHORIZED, KEYS_UNKNOWN, FORBIDDEN],
}


def filter_parameter(name: str, meaning: str) -> Parameter:
    """The id of what a list is limited to."""
    return Parameter(name, "query", meaning, {"type": "string", "pattern": ID_PATTERN})


def described(operation: Operation) -> Callable[[ViewT], ViewT]:
    """Leave with a view what is said of it; the view itself is as before."""

    def leave(view: ViewT) -> ViewT:
        view.operation = operation  # type: ignore[attr-defined]  # functions take attributes
        return view

    return leave


def operation_of(view: Callable[..., Any]) -> Operation | None:
    """What was left with a view; None for one that nothing is said of."""
    found: Operation | None = getattr(view, "operation", None)
    return found


def reads(
    shape: Any,
    example: Any,
    *,
    allowed: Allowed,
    parameters: Sequence[Parameter] = (),
    headers: Sequence[Header] = (),
) -> Operation:
    """A read of the projection."""
    fresh = [LOG_POSITION, PROJECTION_STATE, _PREFERENCE_APPLIED, ETAG]
    answers = [
        Answer(200, "As of `Log-Position`.", shape, example, [*fresh, *headers]),
        _NOT_CHANGED._replace(headers=[*fresh, *headers]),
    ]
    refused = [*_REFUSED[allowed], NOT_ACCEPTABLE, LOG_POSITION_UNKNOWN, PRECONDITION_FAILED]
    not_now = [NOT_READABLE, NOT_YET_APPLIED, TOO_MANY_WAITING]
    operation = Operation(
        answers,
        [*refused, *not_now, *_EVERYWHERE],
        allowed,
        [*parameters, _MIN_LOG_POSITION, _PREFER, IF_NONE_MATCH, IF_MATCH],
        problem_headers=fresh,
    )
    return _counted(operation, RequestClass.READS)


def shows(answer: Answer, *, problems: Sequence[Kind] = ()) -> Operation:
    """What stays the same as long as this version of the service runs, for everybody."""
    return asks(
        answer._replace(headers=[ETAG]),
        _NOT_CHANGED._replace(headers=[ETAG]),
        allowed=Allowed.ANYONE,
        problems=[PRECONDITION_FAILED, *problems],
        parameters=[IF_NONE_MATCH, IF_MATCH],
        problem_headers=[ETAG],
        request_class=None,
    )


def writes(
    answer: Answer,
    *,
    allowed: Allowed,
    body: Body | None = None,
    problems: Sequence[Kind] = (),
    request_class: RequestClass = RequestClass.WRITES,
) -> Operation:
    """A command that ends in one append to the log."""
    done = answer._replace(headers=[*answer.headers, LOG_POSITION, _IDEMPOTENCY_KEY, _IDEMPOTENCY_REPLAYED])
    refused = [*_REFUSED[allowed], CONFLICT, *BODY_PROBLEMS, IDEMPOTENCY_KEY_REUSED]
    refused += [NOT_ACCEPTABLE] if answer.shape else []
    refused += [NOT_WRITTEN, OUTCOME_UNKNOWN, *problems, *_EVERYWHERE]
    key = _IDEMPOTENCY_KEY._replace(always=False)
    return _counted(Operation([done], refused, allowed, [_KEY], body, problem_headers=[key]), request_class)


def creates(what: str, body: Body, *, allowed: Allowed, problems: Sequence[Kind] = ()) -> Operation:
    """A command that makes one thing, which `find_<what>` finds."""
    link = {"operationId": f"find_{what}", "parameters": {f"{what}_id": "$response.body#/id"}}
    done = Answer(201, "It is in the log.", Created, {"id": "1"}, [LOCATION], links={f"find_{what}": link})
    return writes(done, allowed=allowed, body=body, problems=problems)


def asks(
    *answers: Answer,
    allowed: Allowed,
    body: Body | None = None,
    problems: Sequence[Kind] = (),
    parameters: Sequence[Parameter] = (),
    problem_headers: Sequence[Header] = (),
    request_class: RequestClass | None = RequestClass.READS,
) -> Operation:
    """What neither reads a projection nor writes to the log."""
    refused = [NOT_ACCEPTABLE, *_REFUSED[allowed]]
    refused += [*(BODY_PROBLEMS if body else []), *problems, *_EVERYWHERE]
    operation = Operation(answers, refused, allowed, parameters, body, problem_headers)
    return operation if request_class is None else _counted(operation, request_class)


def _counted(operation: Operation, request_class: RequestClass) -> Operation:
    """With what each answer says of the limit, and the problem beyond it."""
    return operation._replace(
        answers=[answer._replace(headers=[*answer.headers, *_RATE_LIMITS]) for answer in operation.answers],
        problems=[*operation.problems, TOO_MANY_REQUESTS],
        problem_headers=[*operation.problem_headers, *_RATE_LIMITS],
        request_class=request_class,
    )
