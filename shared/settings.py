"""What the environment says, checked once at start; only app.py and cli.py read it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from eventlog import Projection
from eventlog.archiving import ARCHIVE_NAME
from eventlog.errors import KeysUnusable
from eventlog.key_file import KeyFile
from eventlog.log import DEFAULT_STREAM
from eventlog.redis_address import DEFAULT_USER, InvalidAddress, RedisAddress
from shared.key_files import PUBLIC_KEYS_NAME
from shared.request_classes import PER_MINUTE, RequestClass

DEFAULT_DATA_DIR: Final = "./var"
DEFAULT_REDIS_PORT: Final = 16379  # away from 6379, where another Redis may already run
DEFAULT_CUSTOMERS_PORT: Final = 8080
DEFAULT_ACCOUNTS_PORT: Final = 8090
MOST_PROXIES: Final = 10
_REQUEST_LIMIT = re.compile(rf"(?P<name>{'|'.join(RequestClass)})=(?P<count>[0-9]{{1,9}})", re.ASCII)
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_OF_BEFORE: Final = "JWT_SECRET"  # one secret for both services, before there were keys
_ORIGIN = re.compile(
    r"(?P<scheme>https?)://([a-z0-9.-]+|\[[0-9a-f:]+\])(:(?P<port>[1-9][0-9]{0,4}))?", re.ASCII
)

_METRICS_TOKEN = re.compile(r"[\x21-\x7e]{16,256}", re.ASCII)


class InvalidSettings(Exception):
    """The message names the variable, what is wrong with it and what it should be."""


class Settings(NamedTuple):
    """Both services read the same variables; README.md has the table."""

    data_dir: Path
    redis_given: RedisAddress | None
    redis_port: int
    stream: str
    jwks: str
    demo: bool
    host: str
    customers_port: int
    accounts_port: int
    cors_origins: tuple[str, ...]
    customers_url: str
    trusted_proxies: int
    request_limits: Mapping[RequestClass, int]
    keys_file: Path | None = None
    metrics_token: str = ""
    metrics_token_file: Path | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Raise InvalidSettings for the first variable that cannot be used."""
        if environment.get(_OF_BEFORE):
            raise InvalidSettings(
                f"{_OF_BEFORE} is set, and signs nothing any more: unset it; accounts has keys (`accounts keys list`)"
            )
        host = environment.get("HOST") or "127.0.0.1"
        customers_port = _port(environment, "CUSTOMERS_PORT", DEFAULT_CUSTOMERS_PORT)
        data_dir = Path(environment.get("DATA_DIR") or DEFAULT_DATA_DIR)
        metrics_token, metrics_token_file = _metrics_token(environment)
        return cls(
            data_dir=data_dir,
            redis_given=_redis_given(environment),
            redis_port=_port(environment, "REDIS_PORT", DEFAULT_REDIS_PORT),
            stream=environment.get("EVENT_STREAM") or DEFAULT_STREAM,
            jwks=_key_set(environment) or str(data_dir / "accounts" / PUBLIC_KEYS_NAME),
            demo=_flag(environment, "DEMO"),
            host=host,
            customers_port=customers_port,
            accounts_port=_port(environment, "ACCOUNTS_PORT", DEFAULT_ACCOUNTS_PORT),
            cors_origins=_origins(environment, "CORS_ORIGINS"),
            customers_url=_origin(environment, "CUSTOMERS_URL")
            or f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{customers_port}",  # noqa: S104  # compared, not bound
            trusted_proxies=_proxies(environment),
            request_limits=_request_limits(environment, "REQUEST_LIMITS"),
            keys_file=_keys_file(environment, "EVENT_KEYS_FILE"),
            metrics_token=metrics_token,
            metrics_token_file=metrics_token_file,
        )

    def redis(self, user: str) -> RedisAddress:
        """Where the log is; on the private server, where REDIS_URL names no other, as this user."""
        return self.redis_given or RedisAddress.of_private_server(self.data_dir, self.redis_port, user)

    @property
    def redis_cli(self) -> list[str]:
        """The words with which people read in Redis: as `reader`, where it knows users. Passwords it asks for."""
        given = self.redis_given
        if given is None:
            who = [] if self.demo else ["--user", "reader", "--pass", ""]
            return ["redis-cli", *who, "-p", str(self.redis_port)]
        words = ["redis-cli", "-u", given.bare_url]
        if given.ca_file is not None:
            words += ["--cacert", str(given.ca_file.absolute())]
        if given.user_name != DEFAULT_USER:
            words += ["--user", "reader"]
        return [*words, "--askpass"] if given.says_who else words

    @property
    def look_into_log(self) -> str:
        """The command to which the first and the last position are added."""
        return shlex.join([*self.redis_cli, "XRANGE", self.stream])

    def projection_directory(self, service: str, projection: Projection) -> Path:
        """Where a service keeps a projection's file, its lock and its tail's status."""
        return self.data_dir / service / projection.name

    def metrics_directory(self, service: str) -> Path:
        """Where the processes of a service keep what they count."""
        return self.data_dir / service / "metrics"

    @property
    def archive(self) -> Path:
        """The file that `eventlog archive` writes."""
        return self.data_dir / ARCHIVE_NAME

    def as_variables(self) -> dict[str, str]:
        """What a command of ours is given to be about the same log and the same files."""
        return {
            "DATA_DIR": str(self.data_dir),
            **(self.redis_given or RedisAddress("")).as_variables(),
            "REDIS_PORT": str(self.redis_port),
            "EVENT_STREAM": self.stream,
            "EVENT_KEYS_FILE": str(self.keys_file or ""),
        }


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


def _keys_file(environment: Mapping[str, str], variable: str) -> Path | None:
    path = environment.get(variable)
    if not path:
        return None
    try:
        return KeyFile(Path(path)).path
    except KeysUnusable as problem:
        raise InvalidSettings(str(problem)) from problem


def _key_set(environment: Mapping[str, str]) -> str:
    """The address or the file of the keys that customers checks tokens with; empty where it is not set."""
    place = environment.get("JWKS") or ""
    if "://" in place:
        if "@" in place.split("/")[2]:
            raise InvalidSettings(
                "JWKS has a user or a password in it: leave both out; the keys are public, and asked for without"
            )
        try:
            parts = urlsplit(place)
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise InvalidSettings(
                f"JWKS is {place!r}: set it to the address of accounts' /.well-known/jwks.json or a copy of that"
            )
    return place


def _proxies(environment: Mapping[str, str]) -> int:
    text = environment.get("TRUSTED_PROXIES") or "0"
    if not (text.isascii() and text.isdigit() and int(text) <= MOST_PROXIES):
        raise InvalidSettings(
            f"TRUSTED_PROXIES is {text!r}: set it to how many proxies of yours stand in front, 0 to {MOST_PROXIES}"
        )
    return int(text)


def _redis_given(environment: Mapping[str, str]) -> RedisAddress | None:
    try:
        return RedisAddress.from_variables(environment)
    except InvalidAddress as invalid:
        raise InvalidSettings(str(invalid)) from invalid


def _metrics_token(environment: Mapping[str, str]) -> tuple[str, Path | None]:
    """The token, empty where there is none, and the file that it was read from."""
    token, named = environment.get("METRICS_TOKEN", ""), environment.get("METRICS_TOKEN_FILE", "")
    if token and named:
        raise InvalidSettings("METRICS_TOKEN and METRICS_TOKEN_FILE are both set: leave one of them out")
    file = Path(named) if named else None
    if file is not None:
        try:
            token = file.read_text("utf-8").strip()
        except (OSError, ValueError) as problem:
            why = problem.strerror if isinstance(problem, OSError) else "it is no text"
            raise InvalidSettings(
                f"METRICS_TOKEN_FILE is {named!r}, which cannot be read ({why}): name a file with the token"
            ) from None
    if (token or file) and not _METRICS_TOKEN.fullmatch(token):
        what = f"what is in METRICS_TOKEN_FILE ({named})" if file else "METRICS_TOKEN"
        raise InvalidSettings(
            f"{what} must be 16 to 256 characters that a header can carry, without blanks: "
            "set it to random text, e.g. from `openssl rand -hex 32`, or the variable to nothing"
        )
    return token, file


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


def _request_limits(environment: Mapping[str, str], variable: str) -> Mapping[RequestClass, int]:
    """How many of each class a minute; those that are not named have their default."""
    limits = dict(PER_MINUTE)
    for word in environment.get(variable, "").split():
        found = _REQUEST_LIMIT.fullmatch(word)
        if found is None:
            raise InvalidSettings(
                f"{variable} has {word!r}: set it to how many a minute, 0 for no limit, of these:"
                f" {' '.join(f'{name}={count}' for name, count in PER_MINUTE.items())}"
            )
        limits[RequestClass(found["name"])] = int(found["count"])
    return limits


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
