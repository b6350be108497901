"""Kinds of requests, each with a limit of its own, since they cost very different amounts."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class RequestClass(StrEnum):
    READS = "reads"
    WRITES = "writes"
    BATCHES = "batches"
    SIGN_IN = "sign-in"
    PROJECTION = "projection"
    EVENTS = "events"


# For one user, or one address without a good token. Measured: docs/decisions/033-the-edge.md
PER_MINUTE: Final[Mapping[RequestClass, int]] = {
    RequestClass.READS: 60_000,
    RequestClass.WRITES: 60_000,
    RequestClass.BATCHES: 1_200,
    RequestClass.SIGN_IN: 600,
    RequestClass.PROJECTION: 600,
    RequestClass.EVENTS: 600,
}
