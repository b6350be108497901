"""The path on which clients watch revenue change."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Blueprint, Response, request

from accounts import operations
from accounts.changes import find_sequence
from accounts.feed import Feed, Place
from eventlog.projection_reader import Look
from shared.bearer import bearer_token
from shared.connections import cut_off_who_takes_nothing
from shared.http import who_asks
from shared.log_position import Minimum, Reads, format_log_position, parse_log_position
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
        all); its `id` is a `Log-Position`. `projection` at the beginning, with the `id` behind which it begins, and
        without one when state or position changed, at most once a second. A comment when nothing was sent for 15
        seconds. Begins at the present position, or behind that of `Last-Event-ID`, without gap or repeat. `expired`
        ends it with the token, `replaced` when another log is served: begin anew then, from `GET /accounts`. Who takes
        nothing of it for 10 seconds is cut off.
        """
        identity = who_asks()
        asked = _requested_place()
        with feed.reader.look() as look:
            place, now = _find_place(reads, look, asked), look.checkpoint
        if request.method == "HEAD":
            return _events(())
        left_s = tokens.seconds_left(bearer_token())
        cut_off_who_takes_nothing()
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
    sequence = now.sequence
    if asked is None:
        asked = Minimum(now.position, now.log_id)
    elif reads.is_applied(asked, now, "Last-Event-ID"):
        sequence = find_sequence(look, asked.position)
    log_id = now.log_id or asked.short_log_id
    event_id = format_log_position(asked.position, log_id) if log_id else str(asked.position)
    return Place(now.log_id, sequence, asked.position, event_id)
