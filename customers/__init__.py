"""The customers service: takes customers and invoices."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def create_app() -> Flask:
    """What `flask --app customers …` looks for; the service itself is in customers/app.py."""
    from customers import app, cli  # noqa: PLC0415  # the command `customers` starts without Flask
    from shared.under_flask import with_commands  # noqa: PLC0415  # likewise

    return with_commands(app.create_app, cli.main)
