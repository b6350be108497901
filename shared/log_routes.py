"""The path on which admins read the log as it is, whatever wrote it."""

from __future__ import annotations

import shlex
from typing import Any, Final

import msgspec
from flask import Blueprint, Response, request

from eventlog import START, EventLog, Position
from eventlog.codec import Entry
from eventlog.errors import ArchiveUnusable
from eventlog.position import LAST
from eventlog.shown_entries import ShownEvent, read_entry
from shared.http import answer, require_admin
from shared.log_position import Minimum, parse_log_position, require_log
from shared.operations import LINK, PAGE, POSITION_PATTERN, Answer, Parameter, asks, described
from shared.paging import Page
from shared.problem_kinds import BAD_REQUEST, FORBIDDEN, LOG_POSITION_UNKNOWN, NOT_READABLE
from shared.problems import bad_parameter
from shared.requested_page import one_page, requested_limit
from shared.shown import ShownPosition
from shared.tokens import Tokens


class LogEntry(msgspec.Struct, frozen=True):
    """As it was written; `payload` is text, and what is missing null, where it is none of ours.

    `redis_cli` shows it in Redis, as long as it is not trimmed.
    """

    position: ShownPosition
    sequence: int | None
    event_type: str | None
    payload: dict[str, Any] | str
    metadata: dict[str, Any] | None
    redis_cli: str


_POSITION: Final = {
    "type": "string",
    "pattern": POSITION_PATTERN,
    "examples": ["1795219641181-0"],
}
_EXAMPLE: Final = LogEntry(
    "1795219641181-0",
    5,
    "CustomerDeleted",
    {"id": "7", "account_id": "1", "deleted_date": "2026-01-31T12:00:00Z"},
    {
        "event_id": "xPc0mXVZ3iXzpnyN",
        "occurred_at": "2026-01-31T12:00:00Z",
        "correlation_id": "xPc0mXVZ3iXzpnyN",
    },
    "redis-cli XRANGE event-stream 1795219641181-0 1795219641181-0",
)
_LIST_ENTRIES: Final = asks(
    Answer(200, "In the order of the log.", list[LogEntry], [msgspec.to_builtins(_EXAMPLE)], [LINK]),
    problems=[BAD_REQUEST, FORBIDDEN, LOG_POSITION_UNKNOWN, NOT_READABLE],
    parameters=[
        PAGE[0],
        Parameter("after", "query", "Only what comes behind this position, or `Log-Position`.", _POSITION),
        Parameter("before", "query", "Only the last that come before this one.", _POSITION),
        Parameter("newest", "query", "The last of all.", {"type": "string", "enum": ["true"]}),
    ],
)


def make_log_routes(tokens: Tokens, log: EventLog) -> Blueprint:
    """`/log/entries`."""
    routes = Blueprint("log", __name__)

    @routes.get("/log/entries")
    @described(_LIST_ENTRIES)
    def list_log_entries() -> Response:
        """List entries of the log; admins only.

        From its beginning, or behind `after`, page by page. With `before` the last ones before it, with `newest=true`
        the last of all; with `after` only those behind that. What was trimmed from Redis comes from the archive.
        """
        require_admin(tokens, "read the log")
        page = Page(requested_limit(), 0)
        asked = {name: _requested_position(name) for name in ("after", "before")}
        newest = _asks_for_newest()
        after, before = (_position_in(log, name, position) for name, position in asked.items())
        if newest and before is None:
            before = LAST
        if before is None:
            found, link = one_page(page, _read_behind(log, after or START, page.look_ahead), _position)
        else:
            up_to = before if before == LAST else before.previous()
            found = [
                each for each in log.read_last(up_to, page.limit)[::-1] if each.position > (after or START)
            ]
            link = {}
        return answer([_show(entry, log.stream) for entry in found], headers=link)

    return routes


def _requested_position(parameter: str) -> Minimum | None:
    text = request.args.get(parameter)
    if text is None:
        return None
    asked = parse_log_position(text)
    if asked is None:
        raise bad_parameter(parameter, "must be a position, such as 1795219641181-0")
    return asked


def _position_in(log: EventLog, parameter: str, asked: Minimum | None) -> Position | None:
    if asked is None:
        return None
    if asked.short_log_id:
        require_log(asked, log.state().log_id, parameter)
    return asked.position


def _asks_for_newest() -> bool:
    text = request.args.get("newest")
    if text not in (None, "true"):
        raise bad_parameter("newest", "must be true")
    return text is not None


def _position(entry: Entry) -> str:
    return str(entry.position)


def _read_behind(log: EventLog, after: Position, count: int) -> list[Entry]:
    snapshot = log.snapshot(after, count)
    unread = snapshot.why_unread(after)
    if unread:
        raise ArchiveUnusable(unread)
    return snapshot.entries


def _show(entry: Entry, stream: str) -> LogEntry:
    shown = read_entry(entry)
    redis_cli = shlex.join(["redis-cli", "XRANGE", stream, shown.position, shown.position])
    if isinstance(shown, ShownEvent):
        payload: Any = shown.payload  # as it was written: decoded, a number might be another
        metadata: Any = shown.metadata
        return LogEntry(shown.position, shown.sequence, shown.type, payload, metadata, redis_cli)
    fields = dict(zip(shown.fields[::2], shown.fields[1::2], strict=False))  # whatever somebody wrote there
    text = fields.get("Payload", " ".join(shown.fields))
    return LogEntry(shown.position, None, fields.get("EventTypeName"), text, None, redis_cli)
