"""What the API's description says of the accounts service's paths."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from accounts.answers import LoggedIn, Owned, ShownAccount, ShownUser
from accounts.feed import ProjectionEvent, RevenueEvent, encode_event
from accounts.ledger import LedgerEntry
from accounts.revenue import CustomerRevenue
from accounts.schemas import CreateAccountBody, CreateUserBody, LoginBody, RefreshBody
from accounts.signing_keys import KeySet, PublicKey
from eventlog.moments import MOMENT_PATTERNS
from shared.operations import (
    BODY_PROBLEMS,
    HTML_PAGE,
    JSON,
    LINK,
    LOCATION,
    LOG_POSITION,
    PAGE,
    POSITION_PATTERN,
    PROJECTION_STATE,
    WWW_AUTHENTICATE,
    Answer,
    Body,
    Header,
    Parameter,
    asks,
    creates,
    reads,
    writes,
)
from shared.permissions import Allowed
from shared.problem_kinds import (
    BUSY,
    FORBIDDEN,
    KEYS_UNKNOWN,
    LOG_POSITION_UNKNOWN,
    NOT_FOUND,
    NOT_READABLE,
    NOT_WRITTEN,
    NOT_YET_APPLIED,
    TOO_MANY_FAILED_LOGINS,
    TOO_MANY_WAITING,
    UNAUTHORIZED,
    USER_EXISTS,
)
from shared.request_classes import RequestClass

_AS_OF: Final = Parameter(
    "as_of",
    "query",
    "As it was then: a date, a time, a position of the log, or how long ago.",
    {
        "type": "string",
        "anyOf": [{"pattern": pattern} for pattern in MOMENT_PATTERNS],
        "examples": ["2026-10-01", "2026-10-01T14:00+02:00", "1795219641181-0", "7d", "start"],
    },
)
_CUSTOMER: Final = {"customer_id": "1", "name": "Ada", "total_revenue_cents": 12000}
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
    "customer_id": "1",
    "invoice_id": "1",
    "amount_cents": 12000,
    "balance_cents": 12000,
    "occurred_at": "2026-01-31T12:00:00Z",
}

CREATE_ACCOUNT: Final = creates(
    "account",
    Body(CreateAccountBody(), {"name": "three", "description": "the third", "owned_by": "user1"}),
    allowed=Allowed.SIGNED_IN,
    problems=[FORBIDDEN, NOT_FOUND],
)
LIST_ACCOUNTS: Final = reads(
    list[ShownAccount], [_ACCOUNT], parameters=[*PAGE, _AS_OF], headers=[LINK], allowed=Allowed.IN_SIGHT
)
FIND_ACCOUNT: Final = reads(ShownAccount, _ACCOUNT, allowed=Allowed.OWNER)
DELETE_ACCOUNT: Final = writes(Answer(204, "It is deleted."), allowed=Allowed.OWNER)
LIST_CUSTOMERS: Final = reads(
    list[CustomerRevenue], [_CUSTOMER], parameters=PAGE, headers=[LINK], allowed=Allowed.OWNER
)
LIST_LEDGER: Final = reads(
    list[LedgerEntry], [_LEDGER_ENTRY], parameters=PAGE, headers=[LINK], allowed=Allowed.OWNER
)
IS_OWNED_BY: Final = reads(Owned, {"ok": True}, allowed=Allowed.OWNER)

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
    ("1795219641180-0@3f2a9c01", "projection", ProjectionEvent("following", "1795219641180-0@3f2a9c01")),
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
    allowed=Allowed.IN_SIGHT,
    problems=[LOG_POSITION_UNKNOWN, NOT_READABLE, NOT_YET_APPLIED, TOO_MANY_WAITING],
    parameters=[_LAST_EVENT_ID],
    problem_headers=[LOG_POSITION],
    request_class=RequestClass.EVENTS,
)

_SIGNATURE: Final = "c2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0dXJlcw"
_TOKEN: Final = f"eyJhbGciOiJFZERTQSIsImtpZCI6ImsifQ.e30.{_SIGNATURE}"  # lets nobody in
_REFRESH_TOKEN: Final = "GuvmMLTDzQSQVOQ6uiYzPwc0Vn7LJVYDdK8Xm0V8J3rT1bkH5yE2cWqZ9aUfLoP4s"  # noqa: S105  # likewise
_IN: Final = Answer(
    200, "A token, good for this and the other service.", str, _TOKEN, media_type="text/plain"
)
_IN_AS_JSON: Final = _IN._replace(
    meaning="Tokens, the access token good for this and the other service.",
    shape=LoggedIn,
    example=msgspec.to_builtins(LoggedIn(_TOKEN, 900, _REFRESH_TOKEN, 1209600)),
    media_type=JSON,
)
_REFRESH_BODY: Final = Body(RefreshBody(), {"refresh_token": _REFRESH_TOKEN})

LOG_IN: Final = asks(
    _IN,
    _IN_AS_JSON,
    body=Body(LoginBody(), {"username": "user1", "password": "password1"}),
    problems=[UNAUTHORIZED, TOO_MANY_FAILED_LOGINS, NOT_WRITTEN, KEYS_UNKNOWN, BUSY],
    allowed=Allowed.ANYONE,
    request_class=RequestClass.SIGN_IN,
)
REFRESH: Final = asks(
    _IN_AS_JSON,
    body=_REFRESH_BODY,
    problems=[UNAUTHORIZED, NOT_WRITTEN, KEYS_UNKNOWN],
    allowed=Allowed.ANYONE,
    request_class=RequestClass.SIGN_IN,
)
LOG_OUT: Final = asks(
    Answer(204, "The session has ended."),
    body=_REFRESH_BODY,
    problems=[NOT_WRITTEN],
    allowed=Allowed.ANYONE,
    request_class=RequestClass.SIGN_IN,
)
LIST_KEYS: Final = asks(
    Answer(
        200,
        "Keep them for a minute, and as long as nothing newer can be read.",
        KeySet,
        msgspec.to_builtins(
            KeySet(
                [
                    PublicKey(
                        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                        "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
                    )
                ]
            )
        ),
    ),
    problems=[KEYS_UNKNOWN],
    allowed=Allowed.ANYONE,
)
_USER: Final = {"username": "joe", "role": "member"}
_FIND_USER: Final = {"operationId": "find_user", "parameters": {"username": "$response.body#/username"}}
CREATE_USER: Final = asks(
    Answer(201, "The user may log in.", ShownUser, _USER, [LOCATION], links={"find_user": _FIND_USER}),
    body=Body(
        CreateUserBody(), {"username": "joe", "password": "correct horse battery staple", "role": "member"}
    ),
    allowed=Allowed.ADMIN,
    problems=[USER_EXISTS, NOT_WRITTEN, BUSY],
    request_class=RequestClass.SIGN_IN,
)
FIND_USER: Final = asks(
    Answer(200, "A user.", ShownUser, _USER), allowed=Allowed.OWNER, problems=[NOT_READABLE]
)

_FORM: Final = "application/x-www-form-urlencoded"
_SHOWN_AGAIN: Final = HTML_PAGE._replace(
    status=401, meaning="The page again, saying what is wrong.", headers=[WWW_AUTHENTICATE]
)
_TO_THE_PAGE: Final = Answer(
    303, "Go on to the page.", headers=[Header("Location", "`/`", {"type": "string"})]
)
_COOKIE: Final = Header("Set-Cookie", "The token, for the page at `/` alone.", {"type": "string"})
_SIGNED_IN: Final = Parameter("console-token", "cookie", "What `POST /sign-in` answered.", {"type": "string"})
_SITE: Final = Parameter(
    "Sec-Fetch-Site",
    "header",
    "403 for a form on another site's page; browsers set it, and nobody else needs it.",
    {"enum": ["same-origin", "same-site", "cross-site", "none"]},
)

SHOW_CONSOLE: Final = asks(
    HTML_PAGE._replace(headers=[LOG_POSITION, PROJECTION_STATE]),
    allowed=Allowed.ANYONE,
    parameters=[*PAGE[1:], _SIGNED_IN],
)
SIGN_IN: Final = asks(
    _TO_THE_PAGE._replace(headers=[*_TO_THE_PAGE.headers, _COOKIE]),
    _SHOWN_AGAIN,
    body=LOG_IN.body and LOG_IN.body._replace(media_type=_FORM),
    problems=[FORBIDDEN, TOO_MANY_FAILED_LOGINS, NOT_WRITTEN, KEYS_UNKNOWN, BUSY],
    allowed=Allowed.ANYONE,
    parameters=[_SITE],
    request_class=RequestClass.SIGN_IN,
)
SIGN_OUT: Final = asks(
    _TO_THE_PAGE._replace(headers=[*_TO_THE_PAGE.headers, _COOKIE._replace(meaning="Takes the token back.")]),
    problems=[FORBIDDEN, *BODY_PROBLEMS],
    allowed=Allowed.ANYONE,
    parameters=[_SITE],
    request_class=RequestClass.SIGN_IN,
)
