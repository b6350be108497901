"""The file of keys that sign entries: read anew whenever it was changed, so that keys rotate without a restart."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import msgspec

from eventlog.archive_chain import LINK_BYTES
from eventlog.errors import InvalidPosition, KeysUnusable
from eventlog.position import Position
from eventlog.signing import KEY_ID, SHORTEST_SECRET_BYTES, Beginning, Key, Keys
from eventlog.whole_file import replace_file


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


class KeyFile:
    """`{"keys": [{"id": …, "secret": base64}, …], "unsigned": {log id: {sequence, position, link}}}`.

    Opening it reads it; KeysUnusable where it is missing or wrong.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_as: tuple[int, ...] | None = None
        self._keys = self.read()

    def read(self) -> Keys:
        """As they are now. Whoever reads an entry asks behind it, and so has the key that it was signed with."""
        try:
            found = self.path.stat()
            identity = found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
            if identity != self._read_as:
                self._keys = _parse(self.path, self.path.read_bytes())
                self._read_as = identity
        except OSError as problem:
            raise KeysUnusable(self.path, f"cannot be read ({problem.strerror})") from problem
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


def _parse(path: Path, content: bytes) -> Keys:
    try:
        stored = msgspec.json.decode(content, type=_Stored)
        beginnings = {
            log_id: Beginning(each.sequence, Position.parse(each.position), bytes.fromhex(each.link))
            for log_id, each in stored.unsigned.items()
        }
    except (msgspec.MsgspecError, InvalidPosition, ValueError) as problem:
        raise KeysUnusable(path, f"is no file of keys ({problem})") from problem
    keys = [Key(each.id, each.secret) for each in stored.keys]
    if not keys:
        raise KeysUnusable(path, "has no key")
    for key in keys:
        if not re.fullmatch(KEY_ID, key.id):
            raise KeysUnusable(path, f"has a key named {key.id!r}: 1 to 32 letters, digits, - or _")
        if len(key.secret) < SHORTEST_SECRET_BYTES:
            raise KeysUnusable(
                path,
                f"has a key {key.id} of {len(key.secret)} bytes: at least {SHORTEST_SECRET_BYTES} random ones",
            )
    if len({key.id for key in keys}) < len(keys):
        raise KeysUnusable(path, "has two keys of one id")
    if any(each.sequence < 0 or len(each.link) != LINK_BYTES for each in beginnings.values()):
        raise KeysUnusable(path, "says wrongly where a log begins to be signed")
    return Keys(keys, beginnings)
