"""How many examples a generated test tries: all of them in `make test`, a tenth in `make test-unit`."""

from __future__ import annotations

import os
from typing import Final

_FEW: Final = os.environ.get("EXAMPLES") == "few"
_LEAST: Final = 10


def examples(number: int) -> int:
    """`number` in `make test`."""
    return max(min(number, _LEAST), number // 10) if _FEW else number
