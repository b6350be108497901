"""The command `customers`."""

from __future__ import annotations

from typing import Final

from customers.directory import directory, list_all_customers
from customers.import_command import import_file
from eventlog.doctor.findings import Finding
from shared.cli import make_commands
from shared.doctor import judge_keys
from shared.service import Service
from shared.settings import InvalidSettings, Settings


def _examine(settings: Settings) -> list[Finding]:
    from shared.public_keys import open_keys  # noqa: PLC0415  # cryptography takes long to import

    return judge_keys(open_keys(settings.jwks, settings.data_dir / "customers", keeps=False).check())


def _require_safe_start(settings: Settings) -> None:
    """InvalidSettings where a file of keys is not one; at an address they may come later."""
    from shared.public_keys import PublicKeyFile, open_keys  # noqa: PLC0415  # likewise

    keys = open_keys(settings.jwks, settings.data_dir / "customers")
    if isinstance(keys, PublicKeyFile) and (found := keys.check()).status != "ok":
        raise InvalidSettings(f"{found.detail}: {found.mend}")


SERVICE: Final = Service(
    name="customers",
    projection=directory,
    worker="customers.app:create_worker",
    port=lambda settings: settings.customers_port,
    show=list_all_customers,
    examine=_examine,
    require_safe_start=_require_safe_start,
)
main = make_commands(SERVICE)
main.add_command(import_file)
