"""One HTTP write as one command: its Idempotency-Key, its outcome, and the headers that tell of it."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
from flask import Response, g, request

from eventlog import Command, Published, Refused
from eventlog.deciding import Decision, DecisionMaker, NewId, Origin
from eventlog.log import new_token
from eventlog.row_changes import Rows
from shared.admission import AT_ONCE
from shared.field_error import FieldError
from shared.log_position import format_log_position
from shared.permissions import Absent, Identity, RefusedItem, describe_refusal
from shared.problems import Problem, bad_header, conflict, not_found
from shared.request_ids import request_id
from shared.traceparent import requested_traceparent

CommandT = TypeVar("CommandT")

# Measured: docs/decisions/028-what-was-written-is-shown.md
_APPLIED_WITHIN_S: Final = 0.25
_MOST_WAITERS: Final = AT_ONCE // 4  # per process, so that they leave places for the other writes

_KEY = re.compile(r"[!-+.-~-]{1,255}", re.ASCII)  # no comma: two such headers arrive as one, joined by it


class Writes:
    """Carries out what a request asks for and leaves the answer's headers in `g`."""

    def __init__(self, decision_maker: DecisionMaker) -> None:
        self._decision_maker = decision_maker
        self._waiters = threading.BoundedSemaphore(_MOST_WAITERS)

    def carry_out(
        self,
        identity: Identity,
        body: dict[str, Any],
        make_command: Callable[[NewId], CommandT],
        decide: Callable[[CommandT, Rows], Decision | Absent | Refused | RefusedItem],
    ) -> Published:
        """As DecisionMaker.carry_out, with a refusal raised as the problem it comes to.

        The same key, path and body from the same user happen once.
        """
        key, named = requested_key()
        g.idempotency_key = key
        command = Command(f"{identity.username}\n{key}", _fingerprint(body), named)
        origin = Origin(
            identity.username,
            request_id(request.environ),
            key if named else None,
            requested_traceparent(request.environ),
        )
        outcome: Published | Absent | Refused | RefusedItem = self._decision_maker.carry_out(
            make_command, decide, command, origin
        )
        if not isinstance(outcome, Published):
            raise _refusal(outcome)
        g.log_position = format_log_position(outcome.position, outcome.log_id)
        g.replayed = outcome.replayed
        return outcome

    def settle(self, published: Published) -> Published:
        """Wait a moment until this service shows what was written; not where that may take longer.

        So whoever asks next finds what it created, and not what it deleted, without `Min-Log-Position`.
        """
        if self._waiters.acquire(blocking=False):
            try:
                self._decision_maker.wait_until_applied(published.position, _APPLIED_WITHIN_S)
            finally:
                self._waiters.release()
        return published


def requested_key() -> tuple[str, bool]:
    """The request's Idempotency-Key, or one made here; and whether the client named it."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return new_token(), False
    if not _KEY.fullmatch(key):
        raise bad_header(
            "Idempotency-Key",
            "must come once, and have 1 to 255 printable ASCII characters, no space and no comma",
        )
    return key, True


def add_write_headers(response: Response) -> Response:
    """What a write answers besides its body, whatever its outcome."""
    left = vars(g)
    if "idempotency_key" in left:
        response.headers.add("Idempotency-Key", left["idempotency_key"])
    if left.get("replayed"):
        response.headers.add("Idempotency-Replayed", "true")
    return response


def _refusal(refused: Absent | Refused | RefusedItem) -> Problem:
    why = refused.why if isinstance(refused, RefusedItem) else refused
    reason = describe_refusal(why)
    sentence = f"{reason[:1].upper()}{reason[1:]}."
    errors = [FieldError(sentence, f"#/{refused.item}")] if isinstance(refused, RefusedItem) else []
    return not_found(sentence, errors) if isinstance(why, Absent) else conflict(sentence, errors)


def _fingerprint(body: dict[str, Any]) -> str:
    content = msgspec.json.encode([request.method, request.path, sorted(body.items())], order="sorted")
    return hashlib.sha256(content).hexdigest()[:32]
