"""Text as answers show it, with what the API's description says of it."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import Meta

ID_PATTERN: Final = "^[1-9][0-9]{0,17}$"

ShownId: TypeAlias = Annotated[str, Meta(pattern=ID_PATTERN, examples=["1"])]
ShownPosition: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]+-[0-9]+$",
        description="Where an entry sits in the stream.",
        examples=["1795219641181-0"],
    ),
]
ShownInstant: TypeAlias = Annotated[
    str, Meta(extra_json_schema={"format": "date-time"}, examples=["2026-01-31T12:00:00Z"])
]
ShownDate: TypeAlias = Annotated[str, Meta(extra_json_schema={"format": "date"}, examples=["2026-01-31"])]
