"""Who may see and change what: the one place where that is decided, for both services."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from eventlog import Refused, Row
from shared.rules import live


class Role(StrEnum):
    """An admin sees and changes all; a member the accounts it owns, and what is in them."""

    ADMIN = "admin"
    MEMBER = "member"


class Absent(NamedTuple):
    """A decider's answer where something is not there for whoever asks; it tells no more than that."""

    what: str


class RefusedItem(NamedTuple):
    """A decider's answer to a batch: the first item that may not be, counted from 0, and why; so none of them is."""

    item: int
    why: Absent | Refused


def describe_refusal(why: Absent | Refused) -> str:
    """As the end of a sentence: `there is no customer 7`."""
    return f"there is no {why.what}" if isinstance(why, Absent) else why.reason


class Identity(NamedTuple):
    """Whom a token speaks for."""

    username: str
    role: Role

    @property
    def is_admin(self) -> bool:
        return self.role is Role.ADMIN

    def account_in_sight(self, account: Row | None) -> Row | None:
        """The account, if it exists for this identity: what is foreign is told like what is absent."""
        account = live(account)
        if account is not None and (self.is_admin or account["owned_by"] == self.username):
            return account
        return None

    def may_see_user(self, username: str) -> bool:
        """Whether there is such a user is told to admins, and to itself."""
        return self.is_admin or username == self.username

    def only_owned_by(self) -> str | None:
        """The owner to whose accounts lists are limited; None for no limit."""
        return None if self.is_admin else self.username
