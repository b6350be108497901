"""Who may see and change what: the one place where that is decided, for both services."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import NamedTuple

from eventlog import Refused, Row
from shared.rules import live


class Role(StrEnum):
    """An admin sees and changes all; a member the accounts it owns, and what is in them."""

    ADMIN = "admin"
    MEMBER = "member"


class Allowed(Enum):
    """Who may ask for something; the value says it of one path, to whoever reads the API's description.

    Each operation states one of these, and it is held before the operation's view runs. What is the asker's own, the
    rows say: `Identity.account_in_sight` and `only_owned_by`.
    """

    ANYONE = "Anyone may ask, without a token."
    MACHINE = "The machine itself may ask, and whoever has `METRICS_TOKEN`."
    SIGNED_IN = "Whoever has a good token may ask."
    IN_SIGHT = "Whoever has a good token may ask; a member is answered of its own alone, an admin of all."
    OWNER = "Its owner may ask, and admins; for anybody else it is not there."
    ADMIN = "Only admins may ask."

    @property
    def needs_token(self) -> bool:
        """That of a user."""
        return self not in {Allowed.ANYONE, Allowed.MACHINE}


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

    def may_ask(self, allowed: Allowed) -> bool:
        """False only where the role forbids it, whatever it is asked of."""
        return self.is_admin or allowed is not Allowed.ADMIN

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
