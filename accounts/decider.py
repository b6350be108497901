"""decide(command, rows) -> a decision to publish, or a refusal. Pure: no Redis, no SQLite, no Flask, no clock."""

from __future__ import annotations

from accounts.commands import Command, CreateAccount, DeleteAccount
from eventlog import Refused, Rows
from eventlog.deciding import Decision
from shared.events import AccountCreated, AccountDeleted
from shared.permissions import Absent
from shared.rules import decide_on


def decide(command: Command, rows: Rows) -> Decision | Absent | Refused:
    """Absent where the account is not there for this identity; Refused where the state forbids it."""
    match command:
        case CreateAccount():
            return _create_account(command, rows)
        case DeleteAccount():
            return _delete_account(command, rows)


def _create_account(command: CreateAccount, rows: Rows) -> Decision | Refused:
    created = AccountCreated(
        id=str(command.id),
        name=command.name,
        description=command.description,
        owned_by=command.owned_by,
        created_date=command.at,
    )
    return decide_on(created, rows, result=created.id)


def _delete_account(command: DeleteAccount, rows: Rows) -> Decision | Absent | Refused:
    if command.identity.account_in_sight(rows.find("accounts", command.id)) is None:
        return Absent(f"account {command.id}")
    return decide_on(AccountDeleted(id=str(command.id), deleted_date=command.at), rows)
