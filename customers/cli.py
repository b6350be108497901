"""The command `customers`."""

from __future__ import annotations

from customers.directory import directory
from shared.cli import Service, make_commands

main = make_commands(
    Service(
        name="customers",
        projection=directory,
        worker="customers.app:create_worker",
        port=lambda settings: settings.customers_port,
    )
)
