"""Access tokens, issued: what shared/tokens.py verifies."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import jwt
import msgspec

from accounts.signing_keys import SigningKey, SigningKeys
from shared.permissions import Identity
from shared.tokens import ALGORITHM, LIFETIME, Claims


class TokenIssuer:
    """Signs with the key of the moment."""

    def __init__(self, keys: SigningKeys, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._keys = keys
        self._clock = clock

    def find_key(self) -> SigningKey:
        """The key of the moment; BadKeys where there is none to sign with."""
        return self._keys.find_signing()

    def issue(self, identity: Identity, key: SigningKey | None = None) -> str:
        """A token for `LIFETIME` from now on; BadKeys as `find_key`, and never with its key given."""
        now_s = int(self._clock().timestamp())
        claims = Claims(
            sub=identity.username,
            role=identity.role,
            iat=now_s,
            nbf=now_s,
            exp=now_s + int(LIFETIME.total_seconds()),
            jti=uuid4().hex,
            iss="revenue-stream/accounts",
            aud="revenue-stream",
        )
        key = key or self.find_key()
        return jwt.encode(
            msgspec.to_builtins(claims),
            key.private_key(),
            algorithm=ALGORITHM,
            headers={"kid": key.kid},
        )
