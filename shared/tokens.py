"""Access tokens: issued by accounts, verified by both services."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from uuid import uuid4

import jwt

from shared.permissions import Identity, Role

LIFETIME: Final = timedelta(minutes=15)
_ISSUED_AHEAD_S = 10  # a clock set back a little must not sign anybody out
_ALGORITHM = "HS256"  # one, fixed: a token does not choose how it is checked
_ISSUER = "revenue-stream/accounts"
_AUDIENCE = "revenue-stream"
_REQUIRED_CLAIMS = ["exp", "iat", "iss", "aud", "jti", "sub"]
_LONGEST_TOKEN_BYTES = 4096
_REMEMBERED = 1000  # tokens whose signature was found good; each is used many times


class InvalidToken(Exception):
    """Not a token of ours, or no longer valid; the message is fit for the client."""


class Tokens:
    """Issues and verifies with one secret of at least 32 bytes (`Settings.require_secret`)."""

    def __init__(self, secret: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._secret = secret
        self._clock = clock
        self._signed_claims = lru_cache(_REMEMBERED)(self._check_signature)

    def issue(self, identity: Identity) -> str:
        """A token for `LIFETIME` from now on."""
        now = self._clock()
        claims = {
            "sub": identity.username,
            "role": identity.role.value,
            "iss": _ISSUER,
            "aud": _AUDIENCE,
            "iat": now,
            "exp": now + LIFETIME,
            "jti": uuid4().hex,
        }
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM)

    def verify(self, token: str) -> Identity:
        """Whom the token speaks for; InvalidToken if it is not to be trusted."""
        if len(token) > _LONGEST_TOKEN_BYTES:
            raise InvalidToken("The access token is not valid.")
        try:
            claims = self._signed_claims(token)
            now_s = self._clock().timestamp()
            if claims["exp"] <= now_s:
                raise InvalidToken("The access token has expired: log in again.")
            if claims["iat"] > now_s + _ISSUED_AHEAD_S:
                raise InvalidToken("The access token is of a later time: check the clocks.")
            return Identity(str(claims["sub"]), Role(claims["role"]))
        except (jwt.InvalidTokenError, ValueError, KeyError, TypeError, RecursionError) as problem:
            raise InvalidToken("The access token is not valid: log in again.") from problem

    def seconds_left(self, token: str) -> float:
        """For how long a token that was found good stays so."""
        expires_s: int = self._signed_claims(token)["exp"]
        return expires_s - self._clock().timestamp()

    def _check_signature(self, token: str) -> dict[str, Any]:
        """All that a token's time does not change."""
        claims: dict[str, Any] = jwt.decode(
            token,
            self._secret,
            algorithms=[_ALGORITHM],
            audience=_AUDIENCE,
            issuer=_ISSUER,
            options={"require": _REQUIRED_CLAIMS, "verify_iat": False, "verify_exp": False},
        )
        if not all(isinstance(claims[time], int) for time in ("exp", "iat")):
            raise jwt.DecodeError("times are whole seconds")
        return claims
