"""The keys that sign access tokens: in a file that only accounts may read, the public halves in another beside it."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from eventlog.counted import counted
from eventlog.private_files import make_private_directory
from eventlog.whole_file import changing, replace_file
from shared.health import Check
from shared.key_files import PRIVATE_KEYS_NAME, PUBLIC_KEYS_NAME
from shared.public_keys import FRESH_S
from shared.tokens import ALGORITHM

# By then every customers has the key: it asks once a minute, and what is between may have kept an answer for as long.
SIGNS_AFTER: Final = timedelta(seconds=5 * FRESH_S)
_ANEW: Final = "delete it, and make a key with `accounts keys rotate`"


class BadKeys(Exception):
    """What is wrong with which file, and what mends it."""

    def __init__(self, detail: str, mend: str) -> None:
        super().__init__(f"{detail}: {mend}")
        self.detail = detail
        self.mend = mend


class PublicKey(msgspec.Struct, frozen=True):
    """As in a JWK set: RFC 7517, 8037. The id is the key's thumbprint (RFC 7638), so that it is never another's."""

    kid: str
    x: str
    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"
    alg: Literal["EdDSA"] = ALGORITHM
    use: Literal["sig"] = "sig"


class KeySet(msgspec.Struct, frozen=True):
    """What `/.well-known/jwks.json` answers."""

    keys: list[PublicKey]


class SigningKey(PublicKey, frozen=True, kw_only=True):
    """With its private half `d`; it signs from a moment on, until the next one does."""

    d: str
    signs_from: datetime

    def private_key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(urlsafe_b64decode(f"{self.d}="))


class _SigningKeySet(msgspec.Struct):
    keys: list[SigningKey]


class SigningKeys:
    """What `accounts keys` shows and changes; all processes of accounts sign with what is in the file."""

    def __init__(self, directory: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.path: Final = directory / PRIVATE_KEYS_NAME
        self._public_path = directory / PUBLIC_KEYS_NAME
        self._clock = clock

    def list_keys(self) -> list[SigningKey]:
        """The oldest first; BadKeys where there are none, or others might read them."""
        try:
            mode = self.path.stat().st_mode
            document = self.path.read_bytes()
        except FileNotFoundError:
            raise BadKeys(
                f"there is no key to sign tokens with at {self.path}", "make one with `accounts keys rotate`"
            ) from None
        except OSError as problem:
            detail = f"{self.path} cannot be read ({problem.strerror})"
            raise BadKeys(detail, "let the user that accounts runs as own it") from problem
        if mode & 0o077:
            raise BadKeys(
                f"others can read or write {self.path}",
                "`chmod 600` it, `accounts keys rotate`, and `accounts keys remove` those of before",
            )
        keys = _parse(document)
        if not keys:
            raise BadKeys(f"{self.path} is damaged", _ANEW)
        if any(len(set(key.private_key().private_bytes_raw())) == 1 for key in keys):
            raise BadKeys(f"{self.path} has a key of one byte repeated, which anybody can guess", _ANEW)
        return keys

    def find_signing(self, keys: Sequence[SigningKey] = ()) -> SigningKey:
        """The key that signs now; BadKeys as `list_keys`."""
        keys = keys or self.list_keys()
        now = self._clock()
        return next((key for key in reversed(keys) if key.signs_from <= now), keys[-1])

    def check(self) -> Check:
        """For `/health/ready`: whether tokens can be signed, and by nobody else."""
        try:
            keys = self.list_keys()
        except BadKeys as problem:
            return Check("degraded", problem.detail, problem.mend)
        return Check("ok", counted(len(keys), "key"))

    def public(self) -> KeySet:
        """All that may have signed a token, or soon will."""
        return _public_halves(self.list_keys())

    def publish(self) -> None:
        """Put the public halves into the file beside, unless it has just those; BadKeys as `list_keys`."""
        with self._changing():
            public = self.public()
            try:
                with suppress(FileNotFoundError):
                    if self._public_path.read_bytes() == msgspec.json.encode(public):
                        return
                self._write_public(public)
            except OSError as problem:
                detail = f"{self._public_path} cannot be written ({problem.strerror})"
                raise BadKeys(
                    detail, "let the user that accounts runs as own it and its directory"
                ) from problem

    def make_first(self) -> None:
        """Unless there is one."""
        with self._changing():
            if not self.path.exists():
                self._write([_new_key(self._clock())])

    def rotate(self) -> SigningKey:
        """Add a key, which signs in `SIGNS_AFTER`, the first at once; those before it go on verifying."""
        with self._changing():
            keys = self.list_keys() if self.path.exists() else []
            added = _new_key(self._clock() + (SIGNS_AFTER if keys else timedelta(0)))
            self._write([*keys, added])
        return added

    def remove(self, key_id: str) -> None:
        """Refuse from now on what it signed; BadKeys if it is not there, or no other one is.

        Where it is the one that signs, the newest signs at once: an older one may be known to others as well.
        """
        with self._changing():
            keys = self.list_keys()
            signing = self.find_signing(keys)
            left = [key for key in keys if key.kid != key_id]
            if len(left) == len(keys):
                raise BadKeys(f"there is no key {key_id[:60]!r}", "`accounts keys list` shows them")
            if not left:
                raise BadKeys("it is the only key", "add another first, with `accounts keys rotate`")
            if key_id == signing.kid:
                now = self._clock()
                left = [msgspec.structs.replace(key, signs_from=min(key.signs_from, now)) for key in left]
            self._write(left)

    def _changing(self) -> AbstractContextManager[None]:
        make_private_directory(self.path.parent)
        return changing(self.path)

    def _write(self, keys: Sequence[SigningKey]) -> None:
        """The public halves first: a key that signs is known to who checks."""
        self._write_public(_public_halves(keys))
        replace_file(self.path, msgspec.json.encode(_SigningKeySet(list(keys))))

    def _write_public(self, public: KeySet) -> None:
        replace_file(self._public_path, msgspec.json.encode(public), 0o644)


def parse_public_halves(document: bytes) -> dict[str, bytes]:
    """What shared/public_keys.py takes no such file for: by id, what these keys' tokens are checked with."""
    keys = _parse(document)
    if not keys:
        raise ValueError("it is damaged")
    return {key.kid: urlsafe_b64decode(f"{key.x}=") for key in keys}


def _public_halves(keys: Sequence[SigningKey]) -> KeySet:
    return KeySet([PublicKey(key.kid, key.x) for key in keys])


def _parse(document: bytes) -> list[SigningKey]:
    """Empty where a key is not whole."""
    try:
        keys = msgspec.json.decode(document, type=_SigningKeySet).keys
        return keys if all(_public_of(key.private_key()) == (key.kid, key.x) for key in keys) else []
    except (ValueError, RecursionError):
        return []


def _new_key(signs_from: datetime) -> SigningKey:
    private = Ed25519PrivateKey.generate()
    key_id, x = _public_of(private)
    return SigningKey(key_id, x, d=_base64url(private.private_bytes_raw()), signs_from=signs_from)


def _public_of(private: Ed25519PrivateKey) -> tuple[str, str]:
    """The id and the public half."""
    x = _base64url(private.public_key().public_bytes_raw())
    return _base64url(sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest()), x


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
