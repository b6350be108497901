"""The accounts service: answers what every account has earned."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def create_app() -> Flask:
    """What `flask --app accounts …` looks for; the service itself is in accounts/app.py."""
    from accounts import app, cli  # noqa: PLC0415  # the command `accounts` starts without Flask
    from shared.under_flask import with_commands  # noqa: PLC0415  # likewise

    return with_commands(app.create_app, cli.main)
