"""Where an answer differs from the Go services' on purpose; README.md shows the same list."""

from __future__ import annotations

from typing import Final, NamedTuple


class Difference(NamedTuple):
    """`case` as in the transcript; `theirs` and `ours` are statuses, None where they broke the connection."""

    case: str
    theirs: int | None
    ours: int
    why: str


DIFFERENCES: Final = (
    Difference("accounts without auth header", 400, 401, "a missing token is 401"),
    Difference("accounts with one-word header", 400, 401, "a missing token is 401"),
    Difference("accounts with garbage bearer", None, 401, "a bad token is answered; theirs crashed"),
    Difference("customer create no auth", 400, 401, "a missing token is 401"),
    Difference("customer unknown account", 201, 404, "an unknown account is refused; theirs accepted it"),
    Difference("invoice create", 200, 201, "an invoice is created with 201"),
    Difference("invoice create again", 200, 201, "an invoice is created with 201"),
    Difference("invoice for second", 200, 201, "an invoice is created with 201"),
    Difference("invoice unknown customer", 500, 404, "an unknown customer is the client's mistake"),
    Difference("invoice negative", 200, 400, "a price is positive"),
    Difference("invoice missing price", 200, 400, "a price must be given; theirs took it for 0"),
    Difference("is owned by, true", 200, 401, "who owns an account is told only to whom a token lets in"),
    Difference("is owned by, false", 200, 401, "who owns an account is told only to whom a token lets in"),
    Difference("is owned by, bad id", 400, 401, "who owns an account is told only to whom a token lets in"),
    Difference("wrong method", 405, 200, "customers can be listed, in pages"),
)

# What differs in every answer of a kind, and is not repeated above.
GENERAL: Final = (
    "Errors are problem details (`application/problem+json`) instead of plain text or nothing.",
    "`GET /status` of customers is `text/plain`, as that of accounts was; theirs called `OK` JSON.",
    "Accounts come in numeric order, at most 100 a page, with at most 100 customers inside each; theirs in no order.",
    "`created_date` is when it was created; theirs was always `0001-01-01T00:00:00Z`.",
    "`POST /auth/refresh` takes a refresh token; an access token alone brings no other.",
)


def as_markdown() -> str:
    """The part of README.md between its markers."""
    rows = "\n".join(
        f"| {found.case} | {found.theirs or 'connection closed'} | {found.ours} | {found.why} |"
        for found in DIFFERENCES
    )
    general = "\n".join(f"- {line}" for line in GENERAL)
    return f"| case of the transcript | theirs | ours | why |\n|---|---|---|---|\n{rows}\n\n{general}\n"
