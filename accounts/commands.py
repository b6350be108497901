"""What the accounts service can be asked to do to the log, as checked values."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from shared.permissions import Identity


class CreateAccount(NamedTuple):
    """`id` is new in this log, or one of the two of demo mode; `at` is when it was asked."""

    id: int
    name: str
    description: str
    owned_by: str
    identity: Identity
    at: datetime


class DeleteAccount(NamedTuple):
    id: int
    identity: Identity
    at: datetime


Command = CreateAccount | DeleteAccount
