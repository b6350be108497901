"""Tokens as no service would issue them, signed with the key that it signs with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jwt

from accounts.signing_keys import SigningKeys


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def signed(keys: SigningKeys, claims: Mapping[str, Any], header: Mapping[str, Any] | None = None) -> str:
    """`header` replaces fields; a `kid` of None is left out."""
    key = keys.find_signing()
    fields = {"kid": key.kid, **(header or {})}
    fields = {name: value for name, value in fields.items() if value is not None}
    # Not jwt.encode, which refuses some claims that nobody should send.
    return jwt.PyJWS().encode(
        json.dumps(claims).encode(), key.private_key(), algorithm="EdDSA", headers=fields
    )
