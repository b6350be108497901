"""The path on which clients watch revenue change."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Blueprint, Response, request

from accounts import operations
from accounts.changes import find_sequence
from accounts.feed import Feed, Place
from eventlog.projection_reader import Look
from shared.http import bearer_token, require_token
from shared.log_position import Minimum, Reads, parse_log_position
from shared.operations import described
from shared.problems import bad_header
from shared.tokens import Tokens


def make_feed_routes(tokens: Tokens, reads: Reads, feed: Feed) -> Blueprint:
    """`/events`."""
    routes = Blueprint("events", __name__)

    @routes.get("/events")
    @described(operations.WATCH_REVENUE)
    def watch_revenue() -> Response:
        """Watch revenue change: server-sent events, as entries are applied.

        `revenue` for each entry that moved the total of an account in sight (of a member those it owns, of an admin
        all); its `id` is a `Log-Position`. `projection` at the beginning, and about a second after state or position
        changed and nothing else was to tell. A comment when nothing was sent for 15 seconds. Begins at the present
        position, or behind that of `Last-Event-ID`, without gap or repeat. `expired` ends it with the token,
        `replaced` when another log is served: begin anew then, from `GET /accounts`.
        """
        identity = require_token(tokens)
        asked = _requested_place()
        with feed.reader.look() as look:
            place, now = _find_place(reads, look, asked), look.checkpoint
        if request.method == "HEAD":
            return _events(())
        left_s = tokens.seconds_left(bearer_token())
        return _events(feed.watch(place, now, identity.only_owned_by(), left_s))

    return routes


def _events(events: Iterable[bytes]) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(events, 200, headers, content_type="text/event-stream", direct_passthrough=True)


def _requested_place() -> Minimum | None:
    text = request.headers.get("Last-Event-ID", "").strip()
    if not text:
        return None
    asked = parse_log_position(text)
    if asked is None:
        raise bad_header("Last-Event-ID", "must be the id of an event, such as 1795219641181-0@3f2a9c01")
    return asked


def _find_place(reads: Reads, look: Look, asked: Minimum | None) -> Place:
    now = look.checkpoint
    if asked is None:
        return Place(now.log_id, now.sequence)
    if reads.is_applied(asked, now, "Last-Event-ID"):
        return Place(now.log_id, find_sequence(look, asked.position))
    return Place(now.log_id, now.sequence, asked.position)
