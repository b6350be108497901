"""The file of keys that sign entries: read anew whenever it was changed, so that keys rotate without a restart."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from eventlog.archive_chain import LINK_BYTES
from eventlog.errors import InvalidPosition, KeysUnusable
from eventlog.position import Position
from eventlog.signing import KEY_ID, SHORTEST_SECRET_BYTES, Beginning, Key, Keys
from eventlog.whole_file import replace_file

_NOT_FOR_OTHERS: Final = 0o027  # services that run as several users read it by their group


class _StoredKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    secret: bytes  # base64 in the file


class _StoredBeginning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sequence: int
    position: str
    link: str


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: list[_StoredKey]
    unsigned: dict[str, _StoredBeginning] = {}


class ForgottenKeys:
    """In place of the file of keys where none is named, though `verified` was made of entries that keys proved."""

    def __init__(self, verified: Path) -> None:
        self._verified = verified

    def read(self) -> NoReturn:
        """KeysUnusable: what were published now would be parked, and what were applied now nobody would have proven."""
        raise KeysUnusable(
            f"EVENT_KEYS_FILE is not set, and the log that {self._verified} follows is signed",
            "set it to the file of keys that all other programs have, and start this one again; who means to sign no "
            'longer finds in docs/security.md, "Give signing up", what that takes',
        )


class KeyFile:
    """`{"keys": [{"id": …, "secret": base64}, …], "unsigned": {log id: {sequence, position, link}}}`.

    Opening it reads it; KeysUnusable where it is missing or wrong, or others may read it or write it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_as: tuple[int, ...] | None = None
        self._keys = self.read()

    def read(self) -> Keys:
        """As they are now. Whoever reads an entry asks behind it, and so has the key that it was signed with."""
        try:
            found = self.path.stat()
            identity = found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode
            if identity != self._read_as:
                self._keys = _parse(self.path, self.path.read_bytes())
                if found.st_mode & _NOT_FOR_OTHERS:
                    raise _open_to_others(self.path)
                self._read_as = identity
        except OSError as problem:
            raise _unusable(self.path, f"cannot be read ({problem.strerror})") from problem
        return self._keys


def new_key() -> Key:
    return Key(secrets.token_hex(4), secrets.token_bytes(SHORTEST_SECRET_BYTES))


def write_keys(path: Path, keys: Keys) -> None:
    """Put these in place of what is there, in one step; a new file is for its owner alone. Raises OSError."""
    stored = _Stored(
        [_StoredKey(*key) for key in keys.keys],
        {
            log_id: _StoredBeginning(sequence, str(position), link.hex())
            for log_id, (sequence, position, link) in keys.beginnings.items()
        },
    )
    replace_file(path, msgspec.json.format(msgspec.json.encode(stored), indent=2) + b"\n")


def _unusable(path: Path, problem: str) -> KeysUnusable:
    return KeysUnusable(
        f"{path} (EVENT_KEYS_FILE) {problem}",
        "put back the file that the other services have; `eventlog keys new` makes one where there never was one",
    )


def _open_to_others(path: Path) -> KeysUnusable:
    return KeysUnusable(
        f"others can read {path} (EVENT_KEYS_FILE), or write it",
        "`chmod 600` it, or 640 where its group is that of the services alone. Who has read it can publish whatever "
        "they like: `eventlog keys new`, then `eventlog keys remove` for each key of before",
    )


def _parse(path: Path, content: bytes) -> Keys:
    try:
        stored = msgspec.json.decode(content, type=_Stored)
        beginnings = {
            log_id: Beginning(each.sequence, Position.parse(each.position), bytes.fromhex(each.link))
            for log_id, each in stored.unsigned.items()
        }
    except (msgspec.MsgspecError, InvalidPosition, ValueError) as problem:
        raise _unusable(path, f"is no file of keys ({problem})") from problem
    keys = [Key(each.id, each.secret) for each in stored.keys]
    if not keys:
        raise _unusable(path, "has no key")
    for key in keys:
        if not re.fullmatch(KEY_ID, key.id):
            raise _unusable(path, f"has a key named {key.id!r}: 1 to 32 letters, digits, - or _")
        if len(key.secret) < SHORTEST_SECRET_BYTES:
            raise _unusable(
                path,
                f"has a key {key.id} of {len(key.secret)} bytes: at least {SHORTEST_SECRET_BYTES} random ones",
            )
        if len(set(key.secret)) == 1:
            raise _unusable(path, f"has a key {key.id} of one byte repeated, which anybody can guess")
    if len({key.id for key in keys}) < len(keys):
        raise _unusable(path, "has two keys of one id")
    if any(each.sequence < 0 or len(each.link) != LINK_BYTES for each in beginnings.values()):
        raise _unusable(path, "says wrongly where a log begins to be signed")
    return Keys(keys, beginnings)
