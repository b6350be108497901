"""The keys that tokens are checked with: from a file, or from accounts, which may be away afterwards."""

from __future__ import annotations

import logging
import os
import threading
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from eventlog.private_files import make_private_directory
from shared.bounded_fetch import FetchFailed, fetch
from shared.health import Check
from shared.key_files import PUBLIC_KEYS_NAME
from shared.tokens import KeysUnknown

_BYTES: Final = 32  # of an Ed25519 public key
_LARGEST_SET_BYTES: Final = 65536
_ANSWERS_WITHIN_S: Final = 2.0
FRESH_S: Final = 60.0
_ASKS_AGAIN_S: Final = 5.0  # at the earliest, whatever tokens are sent here
_CHECKED: Final = Check("ok", "tokens can be checked")
MEND: Final = "start accounts, or set JWKS to the address of its /.well-known/jwks.json or a copy of that"

_logger = logging.getLogger(__name__)


class _Jwk(msgspec.Struct):
    kty: str
    kid: str = ""
    crv: str = ""
    x: str = ""
    d: object = None


class _JwkSet(msgspec.Struct):
    keys: list[_Jwk]


def parse_key_set(document: bytes) -> dict[str, bytes]:
    """The Ed25519 keys of a JWK set (RFC 7517, 8037) by id; ValueError where it has none, or has private ones."""
    try:
        keys = msgspec.json.decode(document, type=_JwkSet).keys
    except RecursionError as problem:
        raise ValueError("JSON is nested too deeply") from problem
    if any(key.d is not None for key in keys):
        raise ValueError("these are private keys, which nobody but accounts may have")
    found = {
        key.kid: urlsafe_b64decode(f"{key.x}=")
        for key in keys
        if (key.kty, key.crv) == ("OKP", "Ed25519") and key.kid and key.x
    }
    if not found or any(len(key) != _BYTES for key in found.values()):
        raise ValueError("no JWK set with Ed25519 keys of 32 bytes")
    return found


class PublicKeyFile:
    """The keys of a file, which is read again once it is another. Without it, those read last go on."""

    def __init__(self, path: Path, parse: Callable[[bytes], Mapping[str, bytes]] = parse_key_set) -> None:
        """`parse` raises ValueError where it finds none."""
        self._path = path
        self._parse = parse
        self._keys: Mapping[str, bytes] = {}
        self._read: tuple[int, int, int] | None = None

    def find(self, key_id: str) -> bytes | None:
        """As PublicKeys; KeysUnknown if the file was never readable."""
        try:
            status = self._path.stat()
            version = status.st_mtime_ns, status.st_size, status.st_ino
            if version != self._read:
                self._keys, self._read = self._parse(self._path.read_bytes()), version
        except (OSError, ValueError) as problem:
            if not self._keys:
                raise KeysUnknown(self._describe(problem)) from problem
        return self._keys.get(key_id)

    def check(self) -> Check:
        """For `/health/ready`: whether any token can be checked, and could be after a restart."""
        try:
            self._parse(self._path.read_bytes())
        except (OSError, ValueError) as problem:
            goes_on = "; until a restart those of before are used" if self._keys else ""
            return Check("degraded", f"{self._describe(problem)}{goes_on}", MEND)
        return _CHECKED

    def _describe(self, problem: Exception) -> str:
        return f"{self._path} has no keys to check tokens with: {problem}"


class ServedKeys:
    """The keys that an address serves. The last ones that it served are kept in a file, for when it is away.

    The file's date is when it served them.
    """

    def __init__(
        self, url: str, kept: Path, clock: Callable[[], float] = time.monotonic, *, keeps: bool = True
    ) -> None:
        """`clock` counts seconds. Without `keeps` the file is only read."""
        self._url = url
        self._kept = kept
        self._clock = clock
        self._keeps = keeps
        self._keys: Mapping[str, bytes] = {}
        self._asked_at: float | None = None
        self._served_at = 0.0  # the keys that are known, by its clock
        self._problem = ""  # with the last answer
        self._asking = threading.Lock()

    def find(self, key_id: str) -> bytes | None:
        """As PublicKeys; asks the address for a key that is not known, and when what is known is a minute old."""
        if not self._keys:
            self._begin()
        if key_id not in self._keys or self._age_s() > FRESH_S:
            self._ask_unless_asked()
        return self._keys.get(key_id)

    def check(self) -> Check:
        """For `/health/ready`: whether any token can be checked, by the keys of the last minute."""
        try:
            self.find("")
        except KeysUnknown as problem:
            return Check("degraded", str(problem), MEND)
        served_for_s = self._clock() - self._served_at
        if not self._problem or served_for_s <= FRESH_S:
            return _CHECKED
        since = datetime.now(UTC) - timedelta(seconds=served_for_s)
        detail = (
            f"{self._url} has given no keys since {since:%Y-%m-%dT%H:%M:%SZ} ({self._problem}); those of then go on,"
            " and what was signed with one that was removed meanwhile is still good"
        )
        return Check("degraded", detail, MEND)

    def _begin(self) -> None:
        with self._asking:  # whoever comes first; the others wait for what it finds
            if self._keys:
                return
            try:
                self._keys = parse_key_set(self._kept.read_bytes())
                kept_for_s = max(0.0, time.time() - self._kept.stat().st_mtime)
                self._served_at = self._clock() - kept_for_s
            except (OSError, ValueError):
                if self._age_s() > _ASKS_AGAIN_S:
                    self._ask()
        if not self._keys:
            raise KeysUnknown(
                f"{self._url} has given no keys yet ({self._problem}), and nothing else has them"
            )

    def _ask_unless_asked(self) -> None:
        if self._age_s() > _ASKS_AGAIN_S and self._asking.acquire(blocking=False):
            try:
                self._ask()
            finally:
                self._asking.release()

    def _age_s(self) -> float:
        return float("inf") if self._asked_at is None else self._clock() - self._asked_at

    def _ask(self) -> None:
        self._asked_at = self._clock()
        try:
            document = fetch(self._url, _ANSWERS_WITHIN_S, _LARGEST_SET_BYTES)
            keys = parse_key_set(document)
        except (FetchFailed, ValueError) as problem:
            _logger.warning("no keys from %s: %s", self._url, problem)
            self._problem = str(problem)
            return
        self._keys, self._served_at, self._problem = keys, self._clock(), ""
        if self._keeps:
            self._keep(document)

    def _keep(self, document: bytes) -> None:
        unfinished = self._kept.with_suffix(f".{os.getpid()}")
        try:
            make_private_directory(self._kept.parent)
            unfinished.write_bytes(document)
            unfinished.replace(self._kept)
        except OSError as problem:
            _logger.warning("the keys are not kept: %s", problem)


def open_keys(place: str, directory: Path, *, keeps: bool = True) -> PublicKeyFile | ServedKeys:
    """The keys of an address or of a file (`Settings.jwks`); those of an address are kept in the directory."""
    if "://" in place:
        return ServedKeys(place, directory / PUBLIC_KEYS_NAME, keeps=keeps)
    return PublicKeyFile(Path(place))
