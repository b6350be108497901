"""From a checked body to a published event: gives the new id and the time, and has it decided and written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from accounts.commands import Command, CreateAccount, DeleteAccount
from accounts.decider import decide
from accounts.identity import Users
from eventlog import Published
from eventlog.deciding import DecisionMaker, NewId
from shared.field_error import FieldError
from shared.permissions import Identity
from shared.problems import forbidden, not_found
from shared.writes import Writes


class CommandHandler:
    """Each method answers what was published, or raises the problem the client is told."""

    def __init__(self, decision_maker: DecisionMaker, users: Users, clock: Callable[[], datetime]) -> None:
        self._writes = Writes(decision_maker)
        self._users = users
        self._clock = clock

    def create_account(self, identity: Identity, body: dict[str, Any]) -> Published:
        owned_by = body["owned_by"] or identity.username
        if not identity.is_admin and owned_by != identity.username:
            error = FieldError("must be yourself, or left out: you are not an admin", "#/owned_by")
            raise forbidden("Only an admin may make accounts for others.", [error])
        if self._users.find(owned_by) is None:
            error = FieldError("must be a user that exists", "#/owned_by")
            raise not_found(f"There is no user {owned_by!r}.", [error])

        def command(new_id: NewId) -> Command:
            return CreateAccount(
                new_id("accounts"), body["name"], body["description"], owned_by, identity, self._clock()
            )

        return self._writes.settle(self._writes.carry_out(identity, body, command, decide))

    def delete_account(self, identity: Identity, account_id: int) -> Published:
        deleted = self._writes.carry_out(
            identity, {}, lambda _: DeleteAccount(account_id, identity, self._clock()), decide
        )
        return self._writes.settle(deleted)
