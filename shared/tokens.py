"""Access tokens, verified: both services know the public keys; accounts alone signs (accounts/token_issuer.py)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal, NamedTuple, Protocol

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from shared.permissions import Identity, Role

LIFETIME: Final = timedelta(minutes=15)
ALGORITHM: Final = "EdDSA"  # one, fixed: a token does not choose how it is checked
_CLOCKS_DIFFER_S = 10  # a clock set back a little must not sign anybody out
_LONGEST_TOKEN_BYTES = 4096
_REMEMBERED = 1000  # tokens whose signature was found good; each is used many times
# The signature's 64 bytes leave four bits of its last letter unused: they are 0, so that it is written in one way only.
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{85}[AQgw]", re.ASCII)


class InvalidToken(Exception):
    """Not a token of ours, or no longer valid; the message is fit for the client."""


class KeysUnknown(Exception):
    """No key was ever read here, so that nothing can be said of any token."""


class Claims(msgspec.Struct, frozen=True):
    """What a token says; times are whole seconds since 1970."""

    sub: str
    role: Role
    iat: int
    nbf: int
    exp: int
    jti: str
    iss: Literal["revenue-stream/accounts"]
    aud: Literal["revenue-stream"]


class PublicKeys(Protocol):
    """The keys that may have signed a token now."""

    def find(self, key_id: str) -> bytes | None:
        """The 32 bytes of an Ed25519 key; None if there is none of this id. May raise KeysUnknown."""


class _Signed(NamedTuple):
    claims: Claims
    key_id: str
    key: bytes


class Tokens:
    """Verifies. Signatures found good are remembered, for as long as their key is there."""

    def __init__(self, keys: PublicKeys, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._keys = keys
        self._clock = clock
        self._find_signed = lru_cache(_REMEMBERED)(self._check_signature)

    def verify(self, token: str) -> Identity:
        """Whom the token speaks for; InvalidToken if it is not to be trusted, KeysUnknown where that cannot be said."""
        claims = self._signed_claims(token)
        now_s = self._clock().timestamp()
        if claims.exp <= now_s:
            raise InvalidToken("The access token has expired: refresh it, or log in again.")
        if max(claims.iat, claims.nbf) > now_s + _CLOCKS_DIFFER_S:
            raise InvalidToken("The access token is of a later time: check the clocks.")
        return Identity(claims.sub, claims.role)

    def seconds_left(self, token: str) -> float:
        """For how long a token that was found good stays so."""
        return self._signed_claims(token).exp - self._clock().timestamp()

    def _signed_claims(self, token: str) -> Claims:
        try:
            found = self._find_signed(token)
        except (jwt.PyJWTError, ValueError, RecursionError) as problem:
            raise InvalidToken("The access token is not valid: log in again.") from problem
        if self._keys.find(found.key_id) != found.key:
            raise InvalidToken("The key of this access token was removed: refresh it, or log in again.")
        return found.claims

    def _check_signature(self, token: str) -> _Signed:
        """All that neither the time nor a removed key changes."""
        if len(token) > _LONGEST_TOKEN_BYTES or not _COMPACT.fullmatch(token):
            raise jwt.DecodeError("not three parts, each written as it should be")
        key_id = jwt.get_unverified_header(token).get("kid")
        key = self._keys.find(key_id) if isinstance(key_id, str) else None
        if key is None or not isinstance(key_id, str):
            raise jwt.InvalidKeyError("no key of this id")
        checked = jwt.decode(
            token,
            Ed25519PublicKey.from_public_bytes(key),
            algorithms=[ALGORITHM],
            # Times are judged later, each time; who it is for, with the rest of the claims.
            options={"verify_iat": False, "verify_nbf": False, "verify_exp": False, "verify_aud": False},
        )
        claims = msgspec.convert(checked, Claims)
        if not (claims.sub and claims.jti):
            raise jwt.DecodeError("nobody's")
        if not 0 <= claims.exp - claims.iat <= LIFETIME.total_seconds() + _CLOCKS_DIFFER_S:
            raise jwt.DecodeError("good for longer than any token is, or expired before it was issued")
        return _Signed(claims, key_id, key)
