"""Reading JSON objects that keep every rule of their schema, fast; of others strict_json.py says what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypedDict, cast

import msgspec
from marshmallow import Schema

if TYPE_CHECKING:
    from shared.strict_json import CheckedField


class QuickReader:
    """Of a schema whose every field is required and has a `json_type`: `QuickReader(CreateInvoiceBody())`.

    msgspec takes the last of two equal keys, and passes over unknown ones. But no value of such a field has a colon in
    it, so an object with all of its fields has more colons than fields wherever it has anything else.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        types = {name: cast("CheckedField[Any]", field).json_type for name, field in schema.fields.items()}
        body: Any = TypedDict("body", types)  # type: ignore[misc]  # its fields are known when this runs
        self._fields = len(types)
        self._one = msgspec.json.Decoder(body)
        self._many = msgspec.json.Decoder(list[body])

    def read(self, raw: bytes) -> dict[str, Any] | None:
        """The checked object; None for whatever may not be one."""
        found: dict[str, Any] | None = self._decode_by(self._one.decode, raw)
        return found if raw.count(b":") == self._fields else None

    def read_all(self, raw: bytes) -> list[dict[str, Any]] | None:
        """Those of an array; None where any of them may not be one."""
        found: list[dict[str, Any]] | None = self._decode_by(self._many.decode, raw)
        return found if found is not None and raw.count(b":") == self._fields * len(found) else None

    def read_lines(self, raw: bytes, lines: int) -> list[dict[str, Any]] | None:
        """Those of as many lines, one on each; None where any of them may not be one, or is blank."""
        # Each line begins with a brace, and there is no other: no object begins or ends on another's line.
        if not (raw.startswith(b"{") and raw.count(b"\n{") == lines - 1 and raw.count(b"{") == lines):
            return None
        found: list[dict[str, Any]] | None = self._decode_by(self._one.decode_lines, raw)
        return found if found is not None and raw.count(b":") == self._fields * lines else None

    @staticmethod
    def _decode_by(decode: Callable[[bytes], Any], raw: bytes) -> Any:
        try:
            return decode(raw)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return None
