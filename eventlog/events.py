"""An event as its author writes it, and as the log gives it back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Self, TypeVar

import msgspec
from msgspec import Meta

from eventlog.position import Position


def _require_readable(built: Any, type_: Any, name: str) -> None:
    """ValidationError for what would not be read back as it is."""
    try:
        read_back = msgspec.json.decode(msgspec.json.encode(built), type=type_)
    except (TypeError, ValueError, OverflowError) as problem:
        raise msgspec.ValidationError(f"{name} cannot be written as JSON: {problem}") from problem
    if read_back != built:
        raise msgspec.ValidationError(f"{built} would be read back as {read_back}")


class _CheckedAtConstruction(msgspec.StructMeta):
    """Writes and reads back what is built by hand; what is decoded, msgspec has checked already."""

    if not TYPE_CHECKING:  # a checker would take every event's arguments for Any

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:  # noqa: N805  # the metaclass's self is a class
            built = super().__call__(*args, **kwargs)
            _require_readable(built, cls, cls.__name__)
            return built


class Event(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, metaclass=_CheckedAtConstruction
):
    """A fact in the past tense. Subclass it, with a type on every field.

        class CustomerCreated(Event, frozen=True):
            id: str
            name: Annotated[str, msgspec.Meta(min_length=1)]

    The class name is the event type in the stream. Building one with a value its annotations
    forbid raises msgspec.ValidationError, so an event that exists can be published and read.
    """

    schema_version: ClassVar[int] = 1

    @classmethod
    def of_each(cls, fields: Iterable[Mapping[str, Any]]) -> list[Self]:
        """One of each of these, checked as one by one and together, in half the time."""
        built: list[Self] = [msgspec.StructMeta.__call__(cls, **each) for each in fields]
        _require_readable(built, list[cls], cls.__name__)  # type: ignore[valid-type]  # known when this runs
        return built

    @property
    def type_name(self) -> str:
        return type(self).__name__


class Metadata(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known about an entry besides its payload.

    `command` is the key the client named; `occurred_at` is UTC, and for a foreign entry the
    milliseconds of its position. Unknown keys are ignored, so later versions may add some.
    """

    event_id: Annotated[str, Meta(min_length=1, max_length=64)]
    occurred_at: Annotated[datetime, Meta(tz=True)]
    correlation_id: Annotated[str, Meta(min_length=1, max_length=128)]
    schema_version: Annotated[int, Meta(ge=1, le=2**31 - 1)] = 1
    causation_id: str | None = None
    actor: str | None = None
    command: str | None = None
    traceparent: str | None = None
    signature: str | None = None


EventT_co = TypeVar("EventT_co", bound=Event, covariant=True)


class RecordedEvent(msgspec.Struct, Generic[EventT_co], frozen=True, gc=False):
    """An event with its place in the log: `sequence` counts every entry from 1 without a hole.

    `id` is its position as Redis writes it.
    """

    event: EventT_co
    id: str
    sequence: int
    metadata: Metadata

    @property
    def position(self) -> Position:
        return Position.parse(self.id)
