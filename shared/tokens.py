"""Access tokens: issued by accounts, verified by both services."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final
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


class InvalidToken(Exception):
    """Not a token of ours, or no longer valid; the message is fit for the client."""


class Tokens:
    """Issues and verifies with one secret of at least 32 bytes (`Settings.require_secret`)."""

    def __init__(self, secret: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._secret = secret
        self._clock = clock

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
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                issuer=_ISSUER,
                options={"require": _REQUIRED_CLAIMS, "verify_iat": False},
            )
            if claims["iat"] > self._clock().timestamp() + _ISSUED_AHEAD_S:
                raise InvalidToken("The access token is of a later time: check the clocks.")
            return Identity(str(claims["sub"]), Role(claims["role"]))
        except jwt.ExpiredSignatureError as problem:
            raise InvalidToken("The access token has expired: log in again.") from problem
        except (jwt.InvalidTokenError, ValueError, KeyError, TypeError, RecursionError) as problem:
            raise InvalidToken("The access token is not valid: log in again.") from problem
