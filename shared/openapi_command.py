"""The command `openapi`."""

from __future__ import annotations

from importlib import import_module

import click

from eventlog.commands.common import Command
from shared.service import Service, pass_service
from shared.settings import Settings


@click.command(cls=Command, examples=[""])
@click.option("--json", is_flag=True, expose_value=False, help="What it always does.")
@pass_service
def openapi(service: Service) -> None:
    """Print the OpenAPI document of the service, as `/openapi.json` answers it. Needs no settings, and no service."""
    create_app = import_module(service.worker.partition(":")[0]).create_app
    answered = create_app(Settings.from_environment({})).test_client().get("/openapi.json")
    click.echo(answered.get_data(as_text=True), nl=False)
