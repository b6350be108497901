"""The secret that signs tokens: given, or in demo mode made once."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from shared.settings import Settings


def with_secret(settings: Settings) -> Settings:
    """The settings with a usable JWT_SECRET; shared.settings.InvalidSettings if there is none outside demo mode."""
    if settings.demo and not settings.jwt_secret:
        settings = settings._replace(jwt_secret=_demo_secret(settings.demo_secret_path))
    settings.require_secret()
    return settings


def _demo_secret(path: Path) -> str:
    if not path.exists():
        unfinished = path.with_suffix(".new")
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
        unfinished.rename(path)
    return path.read_text()
