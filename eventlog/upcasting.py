"""Old payloads brought to the current version of their event type, one step at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Payload = dict[str, Any]
Upcaster = Callable[[Payload], Payload]


class Upcasters:
    """The steps for every type: `{("CustomerCreated", 1): from_1_to_2}` lifts version 1 to 2.

    A step is pure: payload in, payload out. It meets payloads that nobody checked: what a lookup, an
    attribute, a conversion or arithmetic raises on one makes the codec report the entry as malformed.
    """

    def __init__(self, steps: Mapping[tuple[str, int], Upcaster] | None = None) -> None:
        self._steps = dict(steps or {})

    def check(self, event_type: str, current: int) -> None:
        """Raise ValueError unless every version below `current` has a step."""
        for version in range(1, current):
            if (event_type, version) not in self._steps:
                raise ValueError(
                    f"{event_type} is at schema version {current} but has no upcaster from version {version}: "
                    f"add ({event_type!r}, {version}) to its upcasters"
                )

    def lift(self, event_type: str, payload: Payload, version: int, current: int) -> Payload:
        """The payload as version `current` would have written it."""
        for step in range(version, current):
            payload = self._steps[event_type, step](payload)
        return payload
