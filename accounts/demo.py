"""What demo mode starts with: the two users and accounts of the former services, made once."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Final, NamedTuple

from accounts.commands import CreateAccount
from accounts.decider import decide
from accounts.identity import UserExists, Users
from eventlog import Command, Published
from eventlog.deciding import DecisionMaker, NewId
from shared.permissions import Identity, Role


class DemoUser(NamedTuple):
    """A user and the account it owns."""

    username: str
    password: str
    account_id: int
    account_name: str


DEMO_USERS: Final = (DemoUser("user1", "password1", 1, "one"), DemoUser("user2", "password2", 2, "two"))


def make_demo(users: Users, decision_maker: DecisionMaker, at: datetime) -> list[str]:
    """Answer what was made; what is or was there already is left as it is, deleted ones too."""
    made = []
    for demo in DEMO_USERS:
        try:
            users.add(demo.username, demo.password, Role.ADMIN)
            made.append(f"user {demo.username}")
        except UserExists:
            pass
        identity = Identity(demo.username, Role.ADMIN)
        command = CreateAccount(
            demo.account_id, demo.account_name, demo.account_name, demo.username, identity, at
        )
        if isinstance(
            decision_maker.carry_out(partial(_exactly, command), decide, Command.unnamed()), Published
        ):
            made.append(f"account {demo.account_id}")
    return made


def _exactly(command: CreateAccount, _: NewId) -> CreateAccount:
    """Its id is given, not new."""
    return command
