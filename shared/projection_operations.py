"""What is answered about a projection, and what the API's description says of these paths."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
from marshmallow import Schema

from shared.built_generations import BuiltGeneration
from shared.operations import BODY_PROBLEMS, LINK, LOCATION, PAGE, Answer, Body, asks
from shared.permissions import Allowed
from shared.problem_kinds import (
    CONFLICT,
    NOT_FOUND,
    NOT_READABLE,
    NOT_WRITTEN,
    TAIL_BUSY,
)
from shared.rebuild_process import RebuildState
from shared.request_classes import RequestClass
from shared.shown import ShownPosition
from shared.strict_json import WholeNumberField


class ParkedCount(msgspec.Struct, frozen=True):
    """Entries that were set aside, and nobody has looked at."""

    unacknowledged: int


class ServedProjection(msgspec.Struct, frozen=True):
    """What is served, and how far it is; null where its file cannot be read.

    `state` is as in `Projection-State`, and `message` what is wrong and what to do. `lag` is how many events it has not
    applied, null where the log is away. `generations` are all that were built.
    """

    name: str
    version: int
    generation: int | None
    log_position: str | None
    sequence: int | None
    lag: int | None
    state: str
    message: str
    generations: list[BuiltGeneration]
    parked: ParkedCount | None


class ParkedEntry(msgspec.Struct, frozen=True):
    """An entry that was not applied, and why; `acknowledged_at` once somebody has looked at it."""

    sequence: int
    position: ShownPosition
    event_type: str
    reason: str
    parked_at: str
    acknowledged_at: str | None


class Acknowledged(msgspec.Struct, frozen=True):
    """How many nobody had looked at before."""

    acknowledged: int


class Switched(msgspec.Struct, frozen=True):
    """The generation that is served now, and how far it was at once."""

    generation: int
    log_position: str


class RebuildStarted(msgspec.Struct, frozen=True):
    """`GET /projection/rebuild` says how it fares."""

    state: Literal["running"] = "running"


class SwitchBody(Schema):
    generation = WholeNumberField(smallest=1, largest=2**31 - 1, required=True)


_MOMENT: Final[dict[str, Any]] = {
    "log_id": "3f2a9c01d2e84c7bb1f0a8c95e6d7f12",
    "position": "1795219641181-0",
    "sequence": 7,
}
_GENERATION: Final = {
    "version": 2,
    "generation": 1,
    "state": "served",
    "begun_at": None,
    "bytes": 57344,
    **_MOMENT,
}
_PROJECTION: Final = {
    "name": "revenue",
    "version": 2,
    "generation": 1,
    "log_position": "1795219641181-0@3f2a9c01",
    "sequence": 7,
    "lag": 0,
    "state": "following",
    "message": "",
    "generations": [_GENERATION],
    "parked": {"unacknowledged": 1},
}
_PARKED: Final = {
    "sequence": 7,
    "position": "1795219641181-0",
    "event_type": "InvoiceCreated",
    "reason": "there is no customer 99",
    "parked_at": "2026-01-31T12:00:00.000+00:00",
    "acknowledged_at": None,
}
_REBUILT: Final = {
    "state": "done",
    "progress": None,
    "result": {
        "generation": 2,
        "version": 2,
        **_MOMENT,
        "same": True,
        "rows": 10,
        "tables": [],
        "fault": "",
        "switched": False,
        "seconds": 0.041,
    },
    "error": None,
}
_SERVED: Final = Answer(
    200, "It is served.", Switched, {"generation": 2, "log_position": "1795219641181-0@3f2a9c01"}
)
_CHANGES: Final = (CONFLICT, NOT_WRITTEN, TAIL_BUSY)

FIND_PROJECTION: Final = asks(
    Answer(200, "As it is now.", ServedProjection, _PROJECTION),
    allowed=Allowed.ADMIN,
    problems=[NOT_READABLE],
)
LIST_PARKED: Final = asks(
    Answer(200, "In the order of the log.", list[ParkedEntry], [_PARKED], [LINK]),
    allowed=Allowed.ADMIN,
    problems=[NOT_READABLE],
    parameters=PAGE,
)
ACKNOWLEDGE: Final = asks(
    Answer(200, "All that was parked is marked as seen.", Acknowledged, {"acknowledged": 1}),
    allowed=Allowed.ADMIN,
    problems=[*_CHANGES, *BODY_PROBLEMS],
    request_class=RequestClass.PROJECTION,
)
_TO_SEE_IT: Final = LOCATION._replace(meaning="The path that says how it fares.")
REBUILD: Final = asks(
    Answer(202, "It has begun.", RebuildStarted, {"state": "running"}, [_TO_SEE_IT]),
    allowed=Allowed.ADMIN,
    problems=[CONFLICT, NOT_WRITTEN, *BODY_PROBLEMS],
    request_class=RequestClass.PROJECTION,
)
FIND_REBUILD: Final = asks(
    Answer(200, "How the last one fares, or fared.", RebuildState, _REBUILT),
    allowed=Allowed.ADMIN,
    problems=[NOT_READABLE],
)
SWITCH: Final = asks(
    _SERVED,
    allowed=Allowed.ADMIN,
    body=Body(SwitchBody(), {"generation": 2}),
    problems=[*_CHANGES, NOT_FOUND],
    request_class=RequestClass.PROJECTION,
)
ROLL_BACK: Final = asks(
    _SERVED,
    allowed=Allowed.ADMIN,
    problems=[*_CHANGES, *BODY_PROBLEMS],
    request_class=RequestClass.PROJECTION,
)
