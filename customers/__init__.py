"""The customers service: takes customers and invoices."""

from __future__ import annotations


def __getattr__(name: str) -> object:
    """`create_app`, which `flask --app customers` looks for; looked up late, so that commands start without Flask."""
    if name != "create_app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from customers.app import create_app  # noqa: PLC0415  # imports Flask
    from customers.cli import main  # noqa: PLC0415  # beside Flask's own commands
    from shared.flask_commands import with_commands  # noqa: PLC0415  # imports Flask

    return with_commands(create_app, main)
