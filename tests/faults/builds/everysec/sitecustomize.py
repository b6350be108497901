"""A build broken on purpose: Redis syncs once a second, and nobody asks."""

import os
from pathlib import Path
from typing import NoReturn

from eventlog import log

_execv = os.execv


def _syncing_seldom(path: Path, command: list[str]) -> NoReturn:
    if Path(path).name == "redis-server":
        command = [*command, "--appendfsync", "everysec"]
    _execv(path, command)


os.execv = _syncing_seldom  # type: ignore[assignment]  # that is what breaks it
log.DURABLE_SETTINGS.clear()  # likewise
