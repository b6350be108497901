"""What both services must answer, as a small pure function of what they accepted so far.

Must not know how they decide it: what is there, a user and a request in, an answer out.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from shared.permissions import Role

USERS: Final = {"root": Role.ADMIN, "mel": Role.MEMBER, "eve": Role.MEMBER}
PARENTS: Final = {"customers": "accounts", "invoices": "customers"}
PARENT_FIELDS: Final = {"customers": "account_id", "invoices": "customer_id"}

Shown = dict[str, Any]


class Write(NamedTuple):
    """A request that changes something."""

    service: str
    user: str
    method: str
    path: str
    body: Shown | None = None


class State(NamedTuple):
    """What is there, by id, as it is shown; never changed in place, so that each moment of the log keeps its own."""

    accounts: dict[int, Shown]
    customers: dict[int, Shown]
    invoices: dict[int, Shown]

    def seen_by(self, user: str) -> State:
        """What is another's is told like what is absent."""
        if USERS[user] is Role.ADMIN:
            return self
        return _whole(
            {key: each for key, each in self.accounts.items() if each["owned_by"] == user},
            self.customers,
            self.invoices,
        )

    def write(self, write: Write, new_id: int) -> tuple[int, State]:
        """The status of the answer and what is there then; `new_id` is the id that was answered, if one was."""
        match write.method, *write.path.split("/")[1:]:
            case "POST", kind:
                return self._create(kind, write.user, write.body or {}, new_id)
            case "DELETE", kind, key:
                return self._delete(kind, write.user, key)
        raise ValueError(f"the model knows no {write.method} {write.path}")

    def _create(self, kind: str, user: str, body: Shown, new_id: int) -> tuple[int, State]:
        if kind == "accounts":
            shown = {"owned_by": user, **body, "id": new_id}
            if USERS[user] is not Role.ADMIN and shown["owned_by"] != user:
                return 403, self
        else:
            shown = {**body, "id": str(new_id)}
            if int(body[PARENT_FIELDS[kind]]) not in getattr(self.seen_by(user), PARENTS[kind]):
                return 404, self
        return 201, self._replace(**{kind: {**getattr(self, kind), new_id: shown}})

    def _delete(self, kind: str, user: str, key: str) -> tuple[int, State]:
        if int(key) not in getattr(self.seen_by(user), kind):
            return 404, self
        if kind == "accounts" and any(each["account_id"] == key for each in self.customers.values()):
            return 409, self
        left = {each: shown for each, shown in getattr(self, kind).items() if each != int(key)}
        return 204, _whole(*self._replace(**{kind: left}))

    def read(self, user: str, path: str, **query: str) -> Any:
        """The body of the answer; None for 404."""
        seen = self.seen_by(user)
        match path.split("/")[1:]:
            case ["accounts"]:
                return _page({key: seen.revenue(key) for key in seen.accounts}, **query)
            case ["customers" | "invoices" as kind]:
                return _page(getattr(seen, kind), **query)
            case ["accounts", key]:
                return seen.revenue(int(key)) if int(key) in seen.accounts else None
            case ["accounts", key, "customers"]:
                return seen.revenue(int(key))["customers"] if int(key) in seen.accounts else None
            case ["accounts", key, "is-owned-by", name]:
                account = seen.accounts.get(int(key))
                return account and {"ok": account["owned_by"] == name}
            case [kind, key]:
                return getattr(seen, kind).get(int(key))
        raise ValueError(f"the model knows no {path}")

    def revenue(self, account: int) -> Shown:
        customers = [
            {
                "customer_id": customer["id"],
                "name": customer["name"],
                "total_revenue_cents": sum(
                    invoice["purchase_price_cents"]
                    for invoice in self.invoices.values()
                    if invoice["customer_id"] == customer["id"]
                ),
            }
            for _, customer in sorted(self.customers.items())
            if customer["account_id"] == str(account)
        ]
        total = sum(customer["total_revenue_cents"] for customer in customers)
        return {"account": self.accounts[account], "customers": customers, "total_revenue_cents": total}


NOTHING: Final = State({}, {}, {})


def _whole(accounts: dict[int, Shown], customers: dict[int, Shown], invoices: dict[int, Shown]) -> State:
    """Less what hangs on what is not there."""
    customers = {key: each for key, each in customers.items() if int(each["account_id"]) in accounts}
    invoices = {key: each for key, each in invoices.items() if int(each["customer_id"]) in customers}
    return State(accounts, customers, invoices)


def _page(found: dict[int, Shown], limit: str, after: str = "0", **filters: str) -> list[Shown]:
    """The first of them behind an id, with these values."""
    return [
        shown
        for key, shown in sorted(found.items())
        if key > int(after) and all(shown[name] == value for name, value in filters.items())
    ][: int(limit)]
