"""Every kind of problem that either service answers: what `/problems/{name}` says of it, and the API's description."""

from __future__ import annotations

from typing import Final, NamedTuple


class Kind(NamedTuple):
    """`name` becomes the type, `/problems/not-found`, and never changes its meaning."""

    name: str
    status: int
    title: str
    meaning: str
    mend: str
    detail: str
    """What a problem of this kind says of itself, or an example of it where that differs from one to the other."""


BAD_REQUEST: Final = Kind(
    "bad-request",
    400,
    "The request breaks a rule",
    "The body, a query parameter, a header or the path is not as the API describes it. Nothing was done.",
    "`errors` names each broken rule, by a JSON pointer into the body, or by the name of a parameter or a header."
    " Mend these and send it again.",
    "#/purchase_price_cents: must be a whole number from 1 to 1000000000000",
)
UNAUTHORIZED: Final = Kind(
    "unauthorized",
    401,
    "Who are you?",
    "The request has no token that lets it in: it is missing, malformed, expired or of another key;"
    " or, at sign-in, the username or the password is wrong.",
    "Log in with `POST /auth/login` on accounts, and send `Authorization: Bearer <token>`.",
    "Missing Bearer token in request: log in with POST /auth/login on accounts.",
)
FORBIDDEN: Final = Kind(
    "forbidden",
    403,
    "Not allowed",
    "The token is good, but its role may not do this.",
    "Ask somebody who is an admin.",
    "Only an admin may ask for POST /users.",
)
NOT_FOUND: Final = Kind(
    "not-found",
    404,
    "Not found",
    "There is nothing of this id, or none of yours: what belongs to somebody else is answered like what does not exist."
    " Or the service has no such path.",
    "Look for a typing error in the path or in an id of the body. What was created a moment ago on the other"
    " service may need its `Log-Position` sent as `Min-Log-Position`.",
    "There is no customer 7.",
)
METHOD_NOT_ALLOWED: Final = Kind(
    "method-not-allowed",
    405,
    "Method not allowed",
    "The path is there, but does not know this method.",
    "The `Allow` header of the answer lists the methods that it knows.",
    "This path does not know this method; Allow lists those that it does.",
)
NOT_ACCEPTABLE: Final = Kind(
    "not-acceptable",
    406,
    "No such media type",
    "The `Accept` header names only media types that this path does not answer in.",
    "Ask for `application/json`, or leave the header out.",
    "This path answers application/json.",
)
BODY_TOO_SLOW: Final = Kind(
    "body-too-slow",
    408,
    "The body did not come in time",
    "The request has a body, and all of it was not here within 20 seconds. Nothing was done.",
    "Send it again, over a connection that carries it in time.",
    "The body was not here in time; nothing was done.",
)
LENGTH_REQUIRED: Final = Kind(
    "length-required",
    411,
    "The length of the body is missing",
    "The request has `Transfer-Encoding`: whether a body that is sent in chunks came whole, the web server does not"
    " say. Nothing was done.",
    "Send the body at once, with `Content-Length`.",
    "A body is taken with Content-Length only, not with Transfer-Encoding: send it at once.",
)
CONFLICT: Final = Kind(
    "conflict",
    409,
    "The present state forbids it",
    "The request is well formed, but what is there now does not allow it: an account is not deleted while it has"
    " customers, and no total grows beyond what 64 bits hold.",
    "`detail` says what stands in the way. Change that first.",
    "Account 1 still has customers.",
)
USER_EXISTS: Final = Kind(
    "user-exists",
    409,
    "The name is taken",
    "There is a user of this name.",
    "Choose another name.",
    "There is a user 'joe' already.",
)
LOG_POSITION_UNKNOWN: Final = Kind(
    "log-position-unknown",
    412,
    "This log has no such position",
    "`Min-Log-Position`, or `Last-Event-ID`, is of another log than the one this service reads, or lies beyond that"
    " log's end. Waiting would not help.",
    "Forget the position: the log was replaced or restored since you were given it. `/health/ready` may say more.",
    "Min-Log-Position is of another log.",
)
PRECONDITION_FAILED: Final = Kind(
    "precondition-failed",
    412,
    "If-Match names another version",
    "What is read is not the version that `If-Match` asks for.",
    "Read it again without `If-Match`; the answer's `ETag` is its version now.",
    'This is "6f1c2d1b9e9a4c27a7d5f25d9c1b8a40" now.',
)
BODY_TOO_LARGE: Final = Kind(
    "body-too-large",
    413,
    "The body is too large",
    "The body has more bytes than this path takes. Nothing was done.",
    "Send less at once: a batch has up to 1,000 invoices and 262,144 bytes."
    " For whole files there is `customers import`.",
    "A body may have 65536 bytes: send less.",
)
RANGE_NOT_SATISFIABLE: Final = Kind(
    "range-not-satisfiable",
    416,
    "There is no such part of the file",
    "`Range` asks for bytes that the file of a page does not have, for several parts at once, or cannot be read.",
    "`Content-Range` says how many bytes it has. Ask for one part of these, or for the whole, without `Range`.",
    "The file has no such part: Content-Range says how many bytes there are.",
)
IDEMPOTENCY_KEY_REUSED: Final = Kind(
    "idempotency-key-reused",
    422,
    "The Idempotency-Key was used for something else",
    "You sent this `Idempotency-Key` before, with another method, path or body. Nothing was done this time.",
    "To repeat the first request, send it unchanged. For a new one use a new key.",
    "This Idempotency-Key came with another request before: send the same request, or use a new key.",
)
TOO_MANY_REQUESTS: Final = Kind(
    "too-many-requests",
    429,
    "Too many requests",
    "More requests of this kind came within a minute from you, or without a good token from your address, than are"
    " allowed. Nothing was done.",
    "Send it again after the seconds in `Retry-After`. `RateLimit-Remaining` tells how many are left, before it comes"
    " to this; many invoices go in one `POST /invoices/batch`.",
    "60,000 writes a minute are allowed.",
)
INTERNAL_ERROR: Final = Kind(
    "internal-error",
    500,
    "Our mistake",
    "Something went wrong on our side that should not have been possible.",
    "Send the same request again with the `Idempotency-Key` of the answer, if it has one. Whoever runs the service"
    " finds the details in its log.",
    "Something went wrong on our side; the log has the details.",
)
OVERLOADED: Final = Kind(
    "overloaded",
    503,
    "Try again later",
    "More is asked than can be answered now. Nothing was done.",
    "Send it again after the seconds in `Retry-After`.",
    "More is asked than can be answered now, and nothing was done: send it again later.",
)
NOT_READABLE: Final = Kind(
    "not-readable",
    503,
    "Try again later",
    "What the answer is made of cannot be read just now: the projection is not built yet, its file is damaged,"
    " or the log is away.",
    "Try again after the seconds in `Retry-After`. If it lasts, `/health/ready` says why, and what mends it.",
    "The answer cannot be read just now; /health/ready says why.",
)
NOT_YET_APPLIED: Final = Kind(
    "not-yet-applied",
    503,
    "Try again later",
    "The projection has not applied what `Min-Log-Position` asks for, though it waited.",
    "`Log-Position` says how far it is. Try again, or wait for longer with `Prefer: wait=10`;"
    " without `Min-Log-Position` the answer comes as it is now.",
    "1795219641181-0 is not applied here yet; Log-Position says how far it is.",
)
TOO_MANY_WAITING: Final = Kind(
    "too-many-waiting",
    503,
    "Try again later",
    "Too many requests wait for the log, replay a moment gone by, or watch `/events`, already.",
    "Try again after the seconds in `Retry-After`, or read without `Min-Log-Position` or `as_of`.",
    "Too many reads wait for the log already.",
)
TAIL_BUSY: Final = Kind(
    "tail-busy",
    503,
    "Try again later",
    "The tail, which alone writes the projection, did not get to what was asked in time.",
    "Look at `GET /projection`: its tail may be catching up or retrying. Ask again; asked twice, it is done once.",
    "The tail did not get to it in time, and what was served still is.",
)
NOT_WRITTEN: Final = Kind(
    "not-written",
    503,
    "Try again later",
    "Nothing was written: the log is away, or the projection that decides is not up to date.",
    "Send the same request again after the seconds in `Retry-After`. If it lasts, `/health/ready` says what is wrong.",
    "Nothing was written. Send the same request again; if it lasts, /health/ready says what is wrong.",
)
OUTCOME_UNKNOWN: Final = Kind(
    "outcome-unknown",
    503,
    "Try again later",
    "The log was asked to write, and did not confirm: it may have been done or not.",
    "Send the same request again with the `Idempotency-Key` of this answer: it cannot be done twice.",
    "The log did not confirm: it may have been written or not. "
    "Send the same request again with the Idempotency-Key of this answer; it cannot be done twice.",
)
KEYS_UNKNOWN: Final = Kind(
    "keys-unknown",
    503,
    "Try again later",
    "The keys of access tokens are not known here, or cannot be used: no token was looked at, and none was issued."
    " Nothing was done; a refresh token is as good as before.",
    "Try again after the seconds in `Retry-After`. If it lasts, `/health/ready` says what mends it.",
    "Tokens cannot be checked just now; /health/ready says why.",
)
TOO_MANY_FAILED_LOGINS: Final = Kind(
    "too-many-failed-logins",
    429,
    "Too many wrong passwords",
    "Too many sign-ins failed from this address, or for this user. The password was not looked at.",
    "Try again after the seconds in `Retry-After`; each further failure doubles them, up to 15 minutes.",
    "Too many sign-ins failed: wait before the next one.",
)
BUSY: Final = Kind(
    "busy",
    503,
    "Try again later",
    "Too many passwords are being checked: each takes a core and 64 MiB.",
    "Try again after the seconds in `Retry-After`.",
    "Too many sign-ins at once.",
)

KINDS: Final = {
    kind.name: kind
    for kind in (
        BAD_REQUEST,
        UNAUTHORIZED,
        FORBIDDEN,
        NOT_FOUND,
        METHOD_NOT_ALLOWED,
        NOT_ACCEPTABLE,
        BODY_TOO_SLOW,
        LENGTH_REQUIRED,
        CONFLICT,
        USER_EXISTS,
        LOG_POSITION_UNKNOWN,
        PRECONDITION_FAILED,
        BODY_TOO_LARGE,
        RANGE_NOT_SATISFIABLE,
        IDEMPOTENCY_KEY_REUSED,
        TOO_MANY_REQUESTS,
        INTERNAL_ERROR,
        OVERLOADED,
        NOT_READABLE,
        NOT_YET_APPLIED,
        TOO_MANY_WAITING,
        TAIL_BUSY,
        KEYS_UNKNOWN,
        TOO_MANY_FAILED_LOGINS,
        NOT_WRITTEN,
        OUTCOME_UNKNOWN,
        BUSY,
    )
}
