"""What the API's description says of the accounts service's paths."""

from __future__ import annotations

from typing import Any, Final

from accounts.answers import AccessToken, Owned, ShownAccount, ShownUser
from accounts.feed import ProjectionEvent, RevenueEvent, encode_event
from accounts.ledger import LedgerEntry
from accounts.revenue import CustomerRevenue
from accounts.schemas import CreateAccountBody, CreateUserBody, LoginBody
from shared.operations import (
    HTML_PAGE,
    JSON,
    LINK,
    LOCATION,
    PAGE,
    POSITION_PATTERN,
    Answer,
    Body,
    Header,
    Parameter,
    asks,
    creates,
    reads,
    writes,
)
from shared.problem_kinds import (
    BAD_REQUEST,
    BUSY,
    FORBIDDEN,
    LOG_POSITION_UNKNOWN,
    NOT_FOUND,
    NOT_READABLE,
    NOT_WRITTEN,
    NOT_YET_APPLIED,
    TOO_MANY_WAITING,
    UNAUTHORIZED,
    USER_EXISTS,
)

_AS_OF: Final = Parameter(
    "as_of",
    "query",
    "As it was then: a date, a time, a position of the log, or how long ago.",
    {
        "anyOf": [
            {"type": "string", "pattern": "^20[0-9]{2}-0[1-9]-[012][1-8](T[01][0-9]:[0-5][0-9]Z)?$"},
            {"type": "string", "pattern": "^[1-9][0-9]{0,15}-(0|[1-9][0-9]{0,8})$"},
            {"type": "string", "pattern": "^[1-9][0-9]{0,2}[smhd]$"},
            {"enum": ["start", "now"]},
        ],
        "examples": ["2026-10-01", "7d"],
    },
)
_CUSTOMER: Final = {"customer_id": "7", "name": "Ada", "total_revenue_cents": 12000}
_ACCOUNT: Final[dict[str, Any]] = {
    "account": {
        "id": 1,
        "name": "one",
        "description": "the first",
        "owned_by": "user1",
        "created_date": "2026-01-31T12:00:00Z",
    },
    "customers": [_CUSTOMER],
    "total_revenue_cents": 12000,
}
_LEDGER_ENTRY: Final[dict[str, Any]] = {
    "sequence": 5,
    "position": "1795219641181-0",
    "event_type": "InvoiceCreated",
    "customer_id": "7",
    "invoice_id": "10",
    "amount_cents": 12000,
    "balance_cents": 12000,
    "occurred_at": "2026-01-31T12:00:00Z",
}

CREATE_ACCOUNT: Final = creates(
    "account",
    Body(CreateAccountBody(), {"name": "three", "description": "the third", "owned_by": "user1"}),
    problems=[FORBIDDEN, NOT_FOUND],
)
LIST_ACCOUNTS: Final = reads(list[ShownAccount], [_ACCOUNT], parameters=[*PAGE, _AS_OF], headers=[LINK])
FIND_ACCOUNT: Final = reads(ShownAccount, _ACCOUNT, problems=[NOT_FOUND])
DELETE_ACCOUNT: Final = writes(Answer(204, "It is deleted."), problems=[NOT_FOUND])
LIST_CUSTOMERS: Final = reads(
    list[CustomerRevenue], [_CUSTOMER], parameters=PAGE, headers=[LINK], problems=[NOT_FOUND]
)
LIST_LEDGER: Final = reads(
    list[LedgerEntry], [_LEDGER_ENTRY], parameters=PAGE, headers=[LINK], problems=[NOT_FOUND]
)
IS_OWNED_BY: Final = reads(Owned, {"ok": True}, problems=[NOT_FOUND])

_LAST_EVENT_ID: Final = Parameter(
    "Last-Event-ID",
    "header",
    "Go on behind this `id` of an event, or this position.",
    {
        "type": "string",
        "pattern": POSITION_PATTERN,
        "examples": ["1795219641181-0@3f2a9c01"],
    },
)
_EVENTS: Final = (
    ("", "projection", ProjectionEvent("following", "1795219641180-0@3f2a9c01")),
    ("1795219641181-0@3f2a9c01", "revenue", RevenueEvent("1", 12000, LedgerEntry(**_LEDGER_ENTRY))),
)
WATCH_REVENUE: Final = asks(
    Answer(
        200,
        "What happens from then on, for as long as the token is good.",
        str,
        "".join(encode_event(name, told, event_id).decode() for event_id, name, told in _EVENTS),
        media_type="text/event-stream",
    ),
    problems=[BAD_REQUEST, LOG_POSITION_UNKNOWN, NOT_READABLE, NOT_YET_APPLIED, TOO_MANY_WAITING],
    parameters=[_LAST_EVENT_ID],
)

_TOKEN: Final = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2lnbmF0dXJl"  # noqa: S105  # lets nobody in
_IN: Final = Answer(
    200, "A token, good for this and the other service.", str, _TOKEN, media_type="text/plain"
)
_IN_AS_JSON: Final = _IN._replace(
    shape=AccessToken,
    example={"access_token": _TOKEN, "expires_in": 900, "token_type": "Bearer"},
    media_type=JSON,
)

LOG_IN: Final = asks(
    _IN,
    _IN_AS_JSON,
    body=Body(LoginBody(), {"username": "user1", "password": "password1"}),
    problems=[UNAUTHORIZED, NOT_WRITTEN, BUSY],
    needs_token=False,
)
REFRESH: Final = asks(_IN, _IN_AS_JSON, problems=[NOT_WRITTEN])
_USER: Final = {"username": "joe", "role": "member"}
_FIND_USER: Final = {"operationId": "find_user", "parameters": {"username": "$response.body#/username"}}
CREATE_USER: Final = asks(
    Answer(201, "The user may log in.", ShownUser, _USER, [LOCATION], links={"find_user": _FIND_USER}),
    body=Body(CreateUserBody(), {"username": "joe", "password": "correct horse", "role": "member"}),
    problems=[FORBIDDEN, USER_EXISTS, NOT_WRITTEN, BUSY],
)
FIND_USER: Final = asks(Answer(200, "A user.", ShownUser, _USER), problems=[NOT_FOUND, NOT_READABLE])

_FORM: Final = "application/x-www-form-urlencoded"
_SHOWN_AGAIN: Final = HTML_PAGE._replace(status=401, meaning="The page again, saying what is wrong.")
_TO_THE_PAGE: Final = Answer(
    303, "Go on to the page.", headers=[Header("Location", "`/`", {"type": "string"})]
)
_COOKIE: Final = Header("Set-Cookie", "The token, for the page at `/` alone.", {"type": "string"})

SHOW_CONSOLE: Final = asks(HTML_PAGE, problems=[BAD_REQUEST], needs_token=False, parameters=PAGE[1:])
SIGN_IN: Final = asks(
    _TO_THE_PAGE._replace(headers=[*_TO_THE_PAGE.headers, _COOKIE]),
    _SHOWN_AGAIN,
    body=LOG_IN.body and LOG_IN.body._replace(media_type=_FORM),
    problems=[FORBIDDEN, BUSY],
    needs_token=False,
)
SIGN_OUT: Final = asks(_TO_THE_PAGE, problems=[FORBIDDEN], needs_token=False)
