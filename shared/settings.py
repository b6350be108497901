"""What the environment says, checked once at start; only app.py and cli.py read it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from eventlog import Projection
from eventlog.archiving import ARCHIVE_NAME
from eventlog.log import DEFAULT_STREAM

DEFAULT_DATA_DIR: Final = "./var"
DEFAULT_REDIS_PORT: Final = 16379  # away from 6379, where another Redis may already run
DEFAULT_CUSTOMERS_PORT: Final = 8080
DEFAULT_ACCOUNTS_PORT: Final = 8090
SHORTEST_SECRET_BYTES: Final = 32  # RFC 7518 section 3.2: a key at least as long as the hash
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_ORIGIN = re.compile(
    r"(?P<scheme>https?)://([a-z0-9.-]+|\[[0-9a-f:]+\])(:(?P<port>[1-9][0-9]{0,4}))?", re.ASCII
)


class InvalidSettings(Exception):
    """The message names the variable, what is wrong with it and what it should be."""


class Settings(NamedTuple):
    """Both services read the same variables; README.md has the table."""

    data_dir: Path
    redis_url: str
    stream: str
    jwt_secret: str
    demo: bool
    host: str
    customers_port: int
    accounts_port: int
    cors_origins: tuple[str, ...]
    customers_url: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Raise InvalidSettings for the first variable that cannot be used."""
        redis_port = _port(environment, "REDIS_PORT", DEFAULT_REDIS_PORT)
        host = environment.get("HOST") or "127.0.0.1"
        customers_port = _port(environment, "CUSTOMERS_PORT", DEFAULT_CUSTOMERS_PORT)
        return cls(
            data_dir=Path(environment.get("DATA_DIR") or DEFAULT_DATA_DIR),
            redis_url=_redis_url(environment) or f"redis://127.0.0.1:{redis_port}",
            stream=environment.get("EVENT_STREAM") or DEFAULT_STREAM,
            jwt_secret=environment.get("JWT_SECRET", ""),
            demo=_flag(environment, "DEMO"),
            host=host,
            customers_port=customers_port,
            accounts_port=_port(environment, "ACCOUNTS_PORT", DEFAULT_ACCOUNTS_PORT),
            cors_origins=_origins(environment, "CORS_ORIGINS"),
            customers_url=_origin(environment, "CUSTOMERS_URL")
            or f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{customers_port}",  # noqa: S104  # compared, not bound
        )

    def projection_directory(self, service: str, projection: Projection) -> Path:
        """Where a service keeps a projection's file, its lock and its tail's status."""
        return self.data_dir / service / projection.name

    @property
    def demo_secret_path(self) -> Path:
        """Where `make run` keeps the secret that it makes in demo mode."""
        return self.data_dir / "jwt-secret"

    @property
    def archive(self) -> Path:
        """The file that `eventlog archive` writes."""
        return self.data_dir / ARCHIVE_NAME

    def as_variables(self) -> dict[str, str]:
        """What a command of ours is given to be about the same log and the same files."""
        return {
            "DATA_DIR": str(self.data_dir),
            "REDIS_URL": self.redis_url,
            "EVENT_STREAM": self.stream,
        }

    def require_secret(self) -> str:
        """The signing secret; InvalidSettings if it is missing or short."""
        if len(self.jwt_secret.encode()) < SHORTEST_SECRET_BYTES:
            raise InvalidSettings(
                f"JWT_SECRET must be {SHORTEST_SECRET_BYTES} bytes or more and has {len(self.jwt_secret.encode())}: "
                "set it to the same random text for both services, e.g. from `openssl rand -base64 48`"
            )
        return self.jwt_secret


def _port(environment: Mapping[str, str], variable: str, default: int) -> int:
    text = environment.get(variable) or str(default)
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise InvalidSettings(f"{variable} is {text!r}: set it to a port from 1 to 65535")
    return int(text)


def _origin(environment: Mapping[str, str], variable: str) -> str:
    """What a browser calls an origin: scheme, host and port; empty where it is not set."""
    text = environment.get(variable) or ""
    if text and not _is_origin(text):
        raise InvalidSettings(
            f"{variable} is {text!r}: set it to http://host:port or https://host, and no path"
        )
    return text


def _redis_url(environment: Mapping[str, str]) -> str:
    url = environment.get("REDIS_URL") or ""
    try:
        parts = urlsplit(url)
        usable = not url or (
            parts.scheme in {"redis", "rediss"}
            and bool(parts.hostname)
            and parts.port != 0
            and (parts.path.strip("/") or "0").isdecimal()
        )
    except ValueError:
        usable = False
    if not usable:
        # not shown: it may hold a password
        raise InvalidSettings(
            "REDIS_URL cannot be read: set it to redis://[user:password@]host[:port][/database]"
        )
    return url


def _origins(environment: Mapping[str, str], variable: str) -> tuple[str, ...]:
    origins = tuple(environment.get(variable, "").split())
    for origin in origins:
        if origin == "*":
            raise InvalidSettings(
                f"{variable} may not be *: any page that somebody here opens could call the services. Name each origin"
            )
        if not _is_origin(origin):
            raise InvalidSettings(
                f"{variable} has {origin!r}: set it to origins as browsers send them, such as http://127.0.0.1:8090, "
                "in lower case, without a path, and without the port that the scheme has anyway"
            )
    return origins


def _is_origin(text: str) -> bool:
    found = _ORIGIN.fullmatch(text)
    if found is None:
        return False
    port = found["port"]
    return port is None or (1 <= int(port) <= 65535 and port != _DEFAULT_PORTS[found["scheme"]])


def _flag(environment: Mapping[str, str], variable: str) -> bool:
    text = environment.get(variable) or "0"
    if text not in ("0", "1"):
        raise InvalidSettings(f"{variable} is {text!r}: set it to 1 or 0")
    return text == "1"
