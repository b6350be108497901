"""The command `customers`."""

from __future__ import annotations

from customers.directory import directory, list_all_customers
from customers.import_command import import_file
from shared.cli import make_commands
from shared.service import Service

main = make_commands(
    Service(
        name="customers",
        projection=directory,
        worker="customers.app:create_worker",
        port=lambda settings: settings.customers_port,
        show=list_all_customers,
    )
)
main.add_command(import_file)
