"""The floor of GET /accounts: Flask, sqlite3 and msgspec, the same SQL on the same file, the same web server.

python -m bench.peers.bare_reads FILE PORT
"""

from __future__ import annotations

import sqlite3
import sys
import threading
from typing import Any

import flask
import msgspec

from bench.peers.serving import serve

_ACCOUNTS = """
    SELECT id, name, description, owned_by, created_date, total_revenue_cents
    FROM accounts WHERE deleted = 0
"""
_CUSTOMERS = """
    SELECT CAST(id AS TEXT), name, total_revenue_cents
    FROM customers WHERE account_id = ? AND deleted = 0 ORDER BY id LIMIT 100
"""


def make_app() -> flask.Flask:
    app = flask.Flask(__name__)
    opened = threading.local()

    def database() -> sqlite3.Connection:
        if not hasattr(opened, "connection"):
            opened.connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, isolation_level=None)
        connection: sqlite3.Connection = opened.connection
        return connection

    def show(row: tuple[Any, ...]) -> dict[str, Any]:
        key, name, description, owned_by, created_date, cents = row
        customers = [
            {"customer_id": customer, "name": its_name, "total_revenue_cents": its_cents}
            for customer, its_name, its_cents in database().execute(_CUSTOMERS, (key,))
        ]
        return {
            "account": {
                "id": key,
                "name": name,
                "description": description,
                "owned_by": owned_by,
                "created_date": created_date,
            },
            "customers": customers,
            "total_revenue_cents": cents,
        }

    def answer(found: object) -> flask.Response:
        return flask.Response(msgspec.json.encode(found), mimetype="application/json")

    @app.get("/accounts")
    def list_accounts() -> flask.Response:
        rows = database().execute(f"{_ACCOUNTS} ORDER BY id LIMIT 100").fetchall()
        return answer([show(row) for row in rows])

    @app.get("/accounts/<account_id>")
    def find_account(account_id: str) -> flask.Response:
        row = database().execute(f"{_ACCOUNTS} AND id = ?", (int(account_id),)).fetchone()
        return answer(show(row))

    return app


if __name__ == "__main__":
    serve(__spec__.name, int(sys.argv[2]))
