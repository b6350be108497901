"""The users of Redis: deploy/users.acl says what each may do, and a file for each holds a password made here once.

    python3 -m deploy.redis_users secrets

Imports nothing that is not Python's own, so that it runs where only containers are.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

USERS_NAME: Final = "users.acl"
_RULES: Final = Path(__file__).with_name(USERS_NAME)
_STREAM: Final = "event-stream"  # as deploy/users.acl writes it
_READER: Final = "reader"
_DEFAULT: Final = "default"
_FOR_ONE, _FOR_CONTAINERS = 0o600, 0o644  # a container's user has another number than who made the file


def write_users(
    directory: Path, stream: str, *, anyone_reads: bool, anyone_writes: bool = False, mode: int = _FOR_ONE
) -> None:
    """Write users.acl and the passwords that are missing; users of that file whom we do not know stay.

    `anyone_reads` lets `reader` in without a password: for a server that only this machine can reach.
    `anyone_writes` lets in who does not even say who they are: for a demonstration. Redis takes it over when it
    starts.

    `default` is off else, but may do everything: as this user Redis 7.0 reads its AOF, and silently leaves out what
    is denied.
    """
    passwords = directory / "passwords"
    passwords.mkdir(mode=0o700, parents=True, exist_ok=True)
    rules = _RULES.read_text("utf-8").replace(_STREAM, _pattern(stream))
    lines = {_user_of(line): line for line in rules.splitlines()}
    if anyone_reads:
        lines[_READER] = lines[_READER].replace(" resetpass ", " nopass ")
    if anyone_writes:
        lines[_DEFAULT] = lines[_DEFAULT].replace(" off ", " on nopass ")
    for user, line in lines.items():
        if " resetpass " in line:
            digest = hashlib.sha256(_password(passwords / user, mode).encode()).hexdigest()
            lines[user] = line.replace(" resetpass ", f" resetpass #{digest} ")
    file = directory / USERS_NAME
    if file.exists():
        there = {_user_of(line): line for line in file.read_text("utf-8").splitlines() if line}
        lines |= {user: line for user, line in there.items() if user not in lines}
    _write(file, "".join(f"{line}\n" for line in lines.values()), mode)


def _user_of(line: str) -> str:
    return line.split()[1]


def _password(file: Path, mode: int) -> str:
    if not file.exists():
        _write(file, secrets.token_urlsafe(32), mode)
    return file.read_text("utf-8").strip()


def _write(file: Path, text: str, mode: int) -> None:
    """Whole or not at all."""
    unfinished = file.with_suffix(".new")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        os.fchmod(descriptor, mode)
        opened.write(text)
    unfinished.replace(file)


def _pattern(stream: str) -> str:
    """The stream's name, as a pattern of keys says it; Redis splits the line at blanks, whatever is before them."""
    return "".join("?" if each.isspace() else re.sub(r"([\\*?\[\]])", r"\\\1", each) for each in stream)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make or renew what docker-compose.yml gives to Redis and to each service."""
    parser = argparse.ArgumentParser(prog="deploy.redis_users", description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="for users.acl and passwords")
    directory = parser.parse_args(arguments).directory
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    stream = os.environ.get("EVENT_STREAM") or _STREAM
    write_users(directory, stream, anyone_reads=False, mode=_FOR_CONTAINERS)


if __name__ == "__main__":
    main()
