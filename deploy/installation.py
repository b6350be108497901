"""Where one running installation keeps its things, and what its programs are told."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from eventlog.private_files import make_private_directory
from eventlog.redis_address import RedisAddress
from shared.settings import InvalidSettings, Settings

PROGRAMS_DIR = Path(sys.executable).parent


class Installation(NamedTuple):
    """The settings, and a data directory that is absolute whatever the working directory is."""

    settings: Settings

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Installation:
        """Demo mode unless DEMO=0; shared.settings.InvalidSettings for a variable that cannot be used."""
        settings = Settings.from_environment({"DEMO": "1", **environment})
        jwks = settings.jwks if "://" in settings.jwks else str(Path(settings.jwks).resolve())
        return cls(settings._replace(data_dir=settings.data_dir.resolve(), jwks=jwks))

    @property
    def private_redis(self) -> bool:
        return self.settings.redis_given is None

    @property
    def redis(self) -> RedisAddress:
        """As `make run` itself comes there."""
        return self.settings.redis("operator")

    @property
    def redis_dir(self) -> Path:
        return self.settings.data_dir / "redis"

    @property
    def log_dir(self) -> Path:
        return self.settings.data_dir / "log"

    @property
    def run_dir(self) -> Path:
        return self.settings.data_dir / "run"

    def make_directories(self) -> None:
        """Raise InvalidSettings where they cannot be made."""
        for directory in (self.settings.data_dir, self.redis_dir, self.log_dir, self.run_dir):
            try:
                make_private_directory(directory)
            except OSError as problem:
                raise InvalidSettings(
                    f"DATA_DIR is {self.settings.data_dir}, and {directory} cannot be made ({problem.strerror}): "
                    "set it to a directory you may write to"
                ) from problem

    def environment(self) -> dict[str, str]:
        """For every program, so that all of them agree whatever the shell has set."""
        settings = self.settings
        return {
            **os.environ,
            **settings.as_variables(),
            "EVENT_KEYS_FILE": str(settings.keys_file.resolve()) if settings.keys_file else "",
            "METRICS_TOKEN_FILE": str(settings.metrics_token_file.resolve())
            if settings.metrics_token_file
            else "",
            "JWKS": settings.jwks,
            "DEMO": "1" if settings.demo else "0",
            "HOST": settings.host,
            "CUSTOMERS_PORT": str(settings.customers_port),
            "ACCOUNTS_PORT": str(settings.accounts_port),
            "CORS_ORIGINS": " ".join(self.cors_origins),
            "PYTHONUNBUFFERED": "1",
        }

    def url(self, service: str) -> str:
        """How this machine reaches the service's web server."""
        port = {"customers": self.settings.customers_port, "accounts": self.settings.accounts_port}[service]
        host = "127.0.0.1" if self.settings.host == "0.0.0.0" else self.settings.host  # noqa: S104 -- compared, not bound
        return f"http://{host}:{port}"

    @property
    def cors_origins(self) -> tuple[str, ...]:
        """Those of the settings; without any, in demo mode, that of accounts' pages in a browser on this machine."""
        if self.settings.cors_origins or not self.settings.demo:
            return self.settings.cors_origins
        url = self.url("accounts").removesuffix(":80")
        return tuple(dict.fromkeys((url, url.replace("//127.0.0.1", "//localhost"))))
