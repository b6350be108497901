"""Old payloads brought to the current version of their event type, one step at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from eventlog.events import Event

Payload = dict[str, Any]


class Upcaster(NamedTuple):
    """An earlier version: a class with the fields that it was written with, and the step to the next version.

    The step is pure: payload in, payload out. It meets what fits the class; what a lookup, an attribute, a
    conversion or arithmetic still raises makes the codec report the entry as malformed.
    """

    written_as: type[Event]
    lift: Callable[[Payload], Payload]


class Upcasters:
    """Those of every type: `{("CustomerCreated", 1): Upcaster(CustomerCreated1, from_1_to_2)}` lifts version 1 to 2."""

    def __init__(self, upcasters: Mapping[tuple[str, int], Upcaster] | None = None) -> None:
        self._upcasters = dict(upcasters or {})

    def written_as(self, event_type: str, version: int) -> type[Event]:
        """What an earlier version was written as."""
        return self._upcasters[event_type, version].written_as

    def check(self, event_type: str, current: int) -> None:
        """Raise ValueError unless every version below `current` has its own."""
        for version in range(1, current):
            if (event_type, version) not in self._upcasters:
                raise ValueError(
                    f"{event_type} is at schema version {current} but has no upcaster from version {version}: "
                    f"add ({event_type!r}, {version}) to its upcasters"
                )

    def lift(self, event_type: str, payload: Payload, version: int, current: int) -> Payload:
        """The payload as version `current` would have written it."""
        for step in range(version, current):
            payload = self._upcasters[event_type, step].lift(payload)
        return payload
