"""The path on which admins read the log as it is, whatever wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from flask import Blueprint, Response, request

from eventlog import START, EventLog, Position
from eventlog.codec import Entry
from eventlog.errors import ArchiveUnusable
from eventlog.position import LAST
from eventlog.shown_entries import ShownEvent, read_entry
from shared.http import answer
from shared.log_position import parse_log_position, require_log
from shared.operations import LINK, PAGE, POSITION_PATTERN, Answer, Parameter, asks, described
from shared.permissions import Allowed
from shared.problem_kinds import LOG_POSITION_UNKNOWN, NOT_READABLE
from shared.problems import bad_parameter
from shared.requested_page import link_to, requested_limit
from shared.shown import ShownPosition


class LogEntry(msgspec.Struct, frozen=True):
    """As it was written; `payload` is text, and what is missing null, where it is none of ours.

    `redis_cli` shows it in Redis, as long as it is not trimmed. The address is the one that this service has; where
    Redis knows users, the password of `reader` is asked for.
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
    "redis-cli -u redis://127.0.0.1:16379 XRANGE event-stream 1795219641181-0 1795219641181-0",
)
_FROM: Final = ("after", "before", "newest")
_ONE_OF_THEM: Final = f"{', '.join(f'`{name}`' for name in _FROM)} exclude each other: 400 for two of them."
_LINK: Final = LINK._replace(
    meaning='To what stands before and behind, where there is any: `rel="prev"`, `rel="next"`.'
)
_LIST_ENTRIES: Final = asks(
    Answer(200, "In the order of the log.", list[LogEntry], [msgspec.to_builtins(_EXAMPLE)], [_LINK]),
    allowed=Allowed.ADMIN,
    problems=[LOG_POSITION_UNKNOWN, NOT_READABLE],
    parameters=[
        PAGE[0],
        Parameter("after", "query", "Only what comes behind this position, or `Log-Position`.", _POSITION),
        Parameter("before", "query", f"Only the last that come before this one. {_ONE_OF_THEM}", _POSITION),
        Parameter(
            "newest", "query", f"The last of all. {_ONE_OF_THEM}", {"type": "string", "enum": ["true"]}
        ),
    ],
)


def make_log_routes(log: EventLog, look_into: str) -> Blueprint:
    """`/log/entries`; `look_into` is `look_into_log` of the settings."""
    routes = Blueprint("log", __name__)

    @routes.get("/log/entries")
    @described(_LIST_ENTRIES)
    def list_log_entries() -> Response:
        """List entries of the log.

        From its beginning, or behind `after`, page by page. With `before` the last ones before it, with `newest=true`
        the last of all. What was trimmed from Redis comes from the archive.
        """
        limit = requested_limit()
        _refuse_two_of_them()
        after, before = (_requested_position(log, name) for name in ("after", "before"))
        if before is None and not _asks_for_newest():
            found = _read_behind(log, after or START, limit)
        else:
            found = log.read_last(before.previous() if before else LAST, limit)[::-1]
        links = _links(log, limit, found) if found else _links_from_nothing(log, limit)
        headers = {"Link": ", ".join(links)} if links else {}
        return answer([_show(entry, look_into) for entry in found], headers=headers)

    return routes


def _refuse_two_of_them() -> None:
    given = [name for name in _FROM if name in request.args]
    if len(given) > 1:
        raise bad_parameter(given[1], f"excludes {given[0]}: give one of {', '.join(_FROM)}")


def _requested_position(log: EventLog, parameter: str) -> Position | None:
    text = request.args.get(parameter)
    if text is None:
        return None
    asked = parse_log_position(text)
    if asked is None:
        raise bad_parameter(parameter, "must be a position, such as 1795219641181-0")
    if asked.short_log_id:
        require_log(asked, log.state().log_id, parameter)
    return asked.position


def _asks_for_newest() -> bool:
    text = request.args.get("newest")
    if text not in (None, "true"):
        raise bad_parameter("newest", "must be true")
    return text is not None


def _links(log: EventLog, limit: int, shown: Sequence[Entry]) -> list[str]:
    """To the pages before and behind these entries."""
    first, last = shown[0].position, shown[-1].position
    links = []
    if _has_before(log, first):
        links.append(link_to("prev", {"limit": limit, "before": str(first)}))
    if last < log.state().end:
        links.append(link_to("next", {"limit": limit, "after": str(last)}))
    return links


def _links_from_nothing(log: EventLog, limit: int) -> list[str]:
    """Back into the log, from before its beginning or from behind its end."""
    if log.state().end == START:
        return []
    if "before" in request.args:
        return [link_to("next", {"limit": limit})]
    return [link_to("prev", {"limit": limit, "newest": "true"})]


def _has_before(log: EventLog, position: Position) -> bool:
    try:
        return bool(log.read_last(position.previous(), 1))
    except ArchiveUnusable:
        return True  # what was trimmed: the page before says so


def _read_behind(log: EventLog, after: Position, count: int) -> list[Entry]:
    snapshot = log.snapshot(after, count)
    unread = snapshot.why_unread(after)
    if unread:
        raise ArchiveUnusable(unread)
    return snapshot.entries


def _show(entry: Entry, look_into: str) -> LogEntry:
    shown = read_entry(entry)
    redis_cli = f"{look_into} {shown.position} {shown.position}"
    if isinstance(shown, ShownEvent):
        payload: Any = shown.payload  # as it was written: decoded, a number might be another
        metadata: Any = shown.metadata
        return LogEntry(shown.position, shown.sequence, shown.type, payload, metadata, redis_cli)
    fields = dict(zip(shown.fields[::2], shown.fields[1::2], strict=False))  # whatever somebody wrote there
    text = fields.get("Payload", " ".join(shown.fields))
    return LogEntry(shown.position, None, fields.get("EventTypeName"), text, None, redis_cli)
