"""The ports an installation needs, and whether they are free before anything starts."""

from __future__ import annotations

import time
from collections.abc import Mapping

from deploy.installation import Installation
from eventlog.embedded_redis import is_free
from shared.own_port import require_host

_PAUSE_S = 0.1


class PortsTakenError(Exception):
    """Something else listens on a port; the message names the variable that changes it."""


def needed_ports(installation: Installation) -> dict[str, int]:
    """By the variable that sets it."""
    settings = installation.settings
    ports = {"CUSTOMERS_PORT": settings.customers_port, "ACCOUNTS_PORT": settings.accounts_port}
    if installation.private_redis:
        ports["REDIS_PORT"] = installation.settings.redis_port
    return ports


def require_free(ports: Mapping[str, int], host: str, patience_s: float) -> None:
    """Return when all are free; PortsTakenError if some are not within `patience_s`."""
    if len(set(ports.values())) < len(ports):
        chosen = ", ".join(f"{variable}={port}" for variable, port in ports.items())
        raise PortsTakenError(f"each port must be another: {chosen}")
    require_host(host)
    deadline = time.monotonic() + patience_s
    while taken := {variable: port for variable, port in ports.items() if not is_free(port, host)}:
        if time.monotonic() > deadline:
            said = [
                f"port {port} is taken by another program ({variable})" for variable, port in taken.items()
            ]
            instead = " ".join(
                f"{variable}={port}" for variable, port in _free_instead(ports, taken, host).items()
            )
            said.append(f"Choose other ports, as in: make run {instead}")
            said.append(f"Commands in other terminals find that run after: export {instead}")
            raise PortsTakenError("\n".join(said))
        time.sleep(_PAUSE_S)


def _free_instead(ports: Mapping[str, int], taken: Mapping[str, int], host: str) -> dict[str, int]:
    """For each variable whose port is taken the next that is free, and that none of the others has."""
    chosen = {variable: port for variable, port in ports.items() if variable not in taken}
    for variable, port in taken.items():
        others = (*range(port + 1, 65_536), *range(1024, port))
        chosen[variable] = next(
            (other for other in others if other not in chosen.values() and is_free(other, host)), port
        )
    return {variable: chosen[variable] for variable in taken}
