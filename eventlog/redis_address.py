"""Which Redis holds the log, as whom it is spoken to, and by whose certificate it is known."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from eventlog.errors import EventLogError

VARIABLES: Final = ("REDIS_URL", "REDIS_USER", "REDIS_PASSWORD_FILE", "REDIS_CA_FILE")
DEFAULT_USER: Final = "default"  # whom Redis takes who does not say who they are for
_TLS: Final = "rediss"


class InvalidAddress(EventLogError, ValueError):
    """A variable cannot be used; the message names it, never a password, and says what it should be."""


class RedisAddress(NamedTuple):
    """`url` may hold user and password too; `password_file` is read anew for each connection.

    `ca_file` is for `rediss://`: certificates of who signs that of Redis, instead of those that the system trusts.
    """

    url: str
    user: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None

    @classmethod
    def of_private_server(cls, data_dir: Path, port: int, user: str) -> RedisAddress:
        """The server that `make run` starts; nobody in particular where that knows no users."""
        url, file = f"redis://127.0.0.1:{port}", password_file_of(data_dir / "redis", user)
        return cls(url, user, file) if file.exists() else cls(url)

    @classmethod
    def from_variables(cls, variables: Mapping[str, str]) -> RedisAddress | None:
        """None without REDIS_URL: the private server's is meant. InvalidAddress if it cannot be used."""
        url, user, password_file, ca_file = (variables.get(name) or "" for name in VARIABLES)
        if url:
            files = (Path(file) if file else None for file in (password_file, ca_file))
            address = cls(url, user, *files)
            address.check()
            return address
        for name in VARIABLES:
            if variables.get(name):
                raise InvalidAddress(
                    f"{name} is set and REDIS_URL is not: set that too, or neither, as the private server's users "
                    "and passwords are found without"
                )
        return None

    def check(self) -> None:
        """InvalidAddress where something is wrong with it that shows without asking Redis."""
        parts = self._parts()
        if self.ca_file is not None:
            if parts.scheme != _TLS:
                raise InvalidAddress(
                    "REDIS_CA_FILE is set, and REDIS_URL does not begin with rediss://, so that nothing would be "
                    "encrypted: write rediss://, or leave REDIS_CA_FILE out"
                )
            _require_certificates(self.ca_file)
        if self.password_file is not None:
            if parts.password:
                raise InvalidAddress(
                    "REDIS_URL has a password, and REDIS_PASSWORD_FILE is set too: leave one of them out"
                )
            self.password()
        elif self.user and not parts.password:
            raise InvalidAddress(
                f"REDIS_USER is {self.user!r}, and there is no password: name its file in REDIS_PASSWORD_FILE"
            )

    @property
    def user_name(self) -> str:
        """As whom Redis knows who comes by this address."""
        return self.user or unquote(self._parts().username or "") or DEFAULT_USER

    @property
    def says_who(self) -> bool:
        """Whether a password is sent along."""
        return self.password_file is not None or bool(self._parts().password)

    @property
    def bare_url(self) -> str:
        """Without user and password, for whoever may see it."""
        parts = self._parts()
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    def password(self) -> str:
        """As the file has it now, or the URL; InvalidAddress where there is no file, or nothing in it."""
        if self.password_file is None:
            return unquote(self._parts().password or "")
        try:
            password = self.password_file.read_text("utf-8").strip()
        except (OSError, ValueError) as problem:
            why = problem.strerror if isinstance(problem, OSError) else "it is no text"
            raise InvalidAddress(
                f"REDIS_PASSWORD_FILE is {str(self.password_file)!r}, which cannot be read ({why}): name a file with "
                f"the password of user {self.user_name!r}"
            ) from None
        if not password:
            raise InvalidAddress(
                f"REDIS_PASSWORD_FILE is {str(self.password_file)!r}, which is empty: put the password of user "
                f"{self.user_name!r} into it"
            )
        return password

    def as_variables(self) -> dict[str, str]:
        """What a command of ours is given to come by the same way."""
        values = (self.url, self.user, str(self.password_file or ""), str(self.ca_file or ""))
        return dict(zip(VARIABLES, values, strict=True))

    def _parts(self) -> SplitResult:
        parts = None
        try:
            parts = urlsplit(self.url)
            usable = (
                bool(parts.path)
                if parts.scheme == "unix"
                else parts.scheme in {"redis", _TLS}
                and bool(parts.hostname)
                and parts.port != 0
                and (parts.path.strip("/") or "0").isdecimal()
            )
        except ValueError:
            usable = False
        if parts is None or not usable:
            # not shown: it may hold a password
            raise InvalidAddress(
                "REDIS_URL cannot be read: set it to redis://[user:password@]host[:port][/database], "
                "or with TLS to rediss://..."
            )
        if parts.query or parts.fragment:
            # As options of redis-py's they could hold a password, which bare_url would show, or switch TLS' checks off.
            raise InvalidAddress(
                "REDIS_URL has something behind a ? or #, and takes no options: REDIS_USER, REDIS_PASSWORD_FILE and "
                "REDIS_CA_FILE are for these; in a password write them as %3F and %23"
            )
        return parts


def password_file_of(redis_dir: Path, user: str) -> Path:
    """Where the private server's directory keeps a user's password."""
    return redis_dir / "passwords" / user


def _require_certificates(file: Path) -> None:
    try:
        ssl.create_default_context(cafile=str(file))
    except ssl.SSLError:
        why = "holds no certificate"
    except OSError as problem:
        why = f"cannot be read ({problem.strerror})"
    else:
        return
    raise InvalidAddress(
        f"REDIS_CA_FILE is {str(file)!r}, which {why}: name a file with the certificate of who signed that of Redis"
    )
