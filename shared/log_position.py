"""How far an answer has read the log, and waiting until it is far enough.

`Log-Position: <position>@<first characters of the log id>` comes with every answer that stands on
the log; sent back as `Min-Log-Position`, it makes another read wait for it, on either service.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, NamedTuple

from flask import Flask, Response, g, request
from werkzeug.http import parse_list_header

from eventlog import EventLog, Position, ProjectionReader
from eventlog.checkpoints import Checkpoint
from eventlog.continuity import Verdict
from eventlog.errors import InvalidPosition, LogUnavailable
from eventlog.projection_reader import Look
from eventlog.tail_status import TailState, TailStatus
from shared.admission import AT_ONCE
from shared.freshness import Freshness
from shared.preconditions import apply_preconditions
from shared.problem_kinds import LOG_POSITION_UNKNOWN, NOT_YET_APPLIED, TOO_MANY_WAITING
from shared.problems import Problem, bad_header, unavailable

DEFAULT_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 10.0
_MOST_WAITERS = AT_ONCE // 2  # per process, so that waiting reads leave places for the others

_SHORT_LOG_ID = 8  # characters
_PREFER_WAIT = re.compile(r"wait\s*=\s*(\"?)([0-9]{1,4})\1\s*(?:;.*)?", re.IGNORECASE | re.DOTALL)
_SHORT_LOG_ID_FORM = re.compile(r"[0-9a-f]{8}", re.ASCII)


class Minimum(NamedTuple):
    """A position that a client was told, of which log; an empty id is of whatever log this is."""

    position: Position
    short_log_id: str


def format_log_position(position: Position, log_id: str) -> str:
    """As in `Log-Position: 1795219641181-0@3f2a9c01`."""
    return f"{position}@{log_id[:_SHORT_LOG_ID]}"


class Reads:
    """Looks into a projection for one request, with the headers that say how fresh the answer is."""

    def __init__(self, reader: ProjectionReader, log: EventLog) -> None:
        self._reader = reader
        self._log = log
        self._freshness = Freshness(reader.home, log)
        self._waiters = threading.BoundedSemaphore(_MOST_WAITERS)

    def look(self) -> AbstractContextManager[Look]:
        """The rows as of one moment, no older than `Min-Log-Position` asks for."""
        minimum = requested_minimum()
        if minimum is not None:
            self._wait_for(minimum)
        return self.look_now()

    @contextmanager
    def look_now(self) -> Iterator[Look]:
        """The rows as of this moment, whatever the request asks for."""
        find_status: Callable[[], TailStatus] | None = None
        try:
            with self._reader.look() as look:
                checkpoint = look.checkpoint
                find_status = self._freshness.ask(checkpoint)
                if checkpoint.log_id:
                    g.log_position = format_log_position(checkpoint.position, checkpoint.log_id)
                g.log_moment = (
                    f"{checkpoint.log_id}:{checkpoint.position}:{checkpoint.version}:{look.generation}"
                )
                yield look
        finally:
            if find_status is None:
                find_status = self._freshness.ask(None)
            g.tail_status = find_status()

    def _wait_for(self, minimum: Minimum) -> None:
        wait_s = requested_wait_s()
        with self._reader.look() as look:
            now = look.checkpoint
        if self.is_applied(minimum, now, "Min-Log-Position"):
            return
        far = {"Log-Position": format_log_position(now.position, now.log_id)}
        if not self._waiters.acquire(blocking=False):
            raise unavailable(TOO_MANY_WAITING, "Too many reads wait for the log already.", far)
        try:
            if self._reader.wait_until_applied(minimum.position, wait_s):
                return
        finally:
            self._waiters.release()
        with self._reader.look() as look:
            far = {"Log-Position": format_log_position(look.checkpoint.position, look.checkpoint.log_id)}
        raise unavailable(
            NOT_YET_APPLIED,
            f"{minimum.position} is not applied here yet; Log-Position says how far it is.",
            far,
        )

    def is_applied(self, asked: Minimum, now: Checkpoint, header: str) -> bool:
        """Whether the position that a header names is applied; if not, it is in the log.

        412 where it is of another log, or beyond the end of this one; 503 while only a log that is away could tell.
        """
        require_log(asked, now.log_id, header)
        if now.log_id and now.position >= asked.position:
            return True
        far = {"Log-Position": format_log_position(now.position, now.log_id)}
        try:
            state = self._log.state()
        except LogUnavailable as problem:
            raise unavailable(
                NOT_YET_APPLIED, "The log is away, and what is applied here is not that far.", far
            ) from problem
        require_log(asked, state.log_id, header)
        if asked.position > state.end:
            raise Problem(LOG_POSITION_UNKNOWN, f"{header} lies beyond the log's end, {state.end}.")
        return False


def requested_minimum() -> Minimum | None:
    """The `Min-Log-Position` header; 400 if it is not what a `Log-Position` looks like. `0` asks for nothing."""
    text = request.headers.get("Min-Log-Position", "0").strip()
    if text == "0":
        return None
    found = parse_log_position(text)
    if found is not None and found.short_log_id:
        return found
    raise bad_header(
        "Min-Log-Position", "must be a Log-Position that an answer carried, such as 1795219641181-0@3f2a9c01"
    )


def require_log(asked: Minimum, log_id: str | None, what: str) -> None:
    """412 where `what` names a position of another log than this."""
    if log_id and not log_id.startswith(asked.short_log_id):
        raise Problem(
            LOG_POSITION_UNKNOWN, f"{what} is of log {asked.short_log_id}; this is {log_id[:_SHORT_LOG_ID]}."
        )


def parse_log_position(text: str) -> Minimum | None:
    """A Log-Position, or a position alone, of whatever log; None for any other text."""
    position, at, short_log_id = text.partition("@")
    if at and not _SHORT_LOG_ID_FORM.fullmatch(short_log_id):
        return None
    try:
        return Minimum(Position.parse(position), short_log_id)
    except InvalidPosition:
        return None


def requested_wait_s() -> float:
    """`Prefer: wait=<seconds>` (RFC 7240), at most `LONGEST_WAIT_S`; other preferences are passed over."""
    for preference in parse_list_header(request.headers.get("Prefer", "")):
        found = _PREFER_WAIT.fullmatch(preference)
        if found is not None:
            wait_s = min(float(found[2]), LONGEST_WAIT_S)
            g.preference_applied = f"wait={wait_s:g}"
            return wait_s
    return DEFAULT_WAIT_S


def register_log_position_headers(app: Flask) -> None:
    """Add to each answer what the request left in `g`: position, freshness, entity tag."""

    @app.after_request
    def _add(response: Response) -> Response:
        headers, left = response.headers, vars(g)  # each look through `g` itself costs as much as a header
        if "varies_by_token" in left:
            headers.add("Vary", "Authorization")
        if "preference_applied" in left:
            headers.add("Preference-Applied", left["preference_applied"])
        if "log_position" in left:
            headers.setdefault("Log-Position", left["log_position"])
        status: TailStatus | None = left.get("tail_status")
        state = "" if status is None else describe(status)
        if state:
            headers.add("Projection-State", state)
        if "log_moment" in left and request.method in ("GET", "HEAD") and response.status_code == 200:
            asked = (
                f"{left['log_moment']}:{request.full_path}:{request.headers.get('Authorization', '')}:{state}"
            )
            response.set_etag(hashlib.sha256(asked.encode("utf-8", "replace")).hexdigest()[:32])
            headers.add("Cache-Control", "private, no-cache")
            if "If-None-Match" in request.headers or "If-Match" in request.headers:
                apply_preconditions(response)
        return response


def describe(status: TailStatus) -> str:
    """`following`, or why what is read may be stale: `halted; verdict=rewound`."""
    if status.state is TailState.HALTED and status.verdict is not Verdict.SAME:
        return f"{status.state}; verdict={status.verdict}"
    return str(status.state)
