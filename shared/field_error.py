"""What is wrong with one part of what a client or an operator sent."""

from __future__ import annotations

import msgspec


class FieldError(msgspec.Struct, frozen=True, omit_defaults=True):
    """One broken rule, and where: a JSON pointer into the body, or the name of a query parameter or of a header."""

    detail: str
    pointer: str = ""
    parameter: str = ""
    header: str = ""
