"""The token of `Authorization: Bearer <token>` (RFC 6750, section 2.1), as it was sent."""

from __future__ import annotations

from flask import request

from shared.problems import unauthorized


def bearer_token() -> str:
    """The token, good or not; 401 without one."""
    token = sent_token()
    if not token:
        raise unauthorized("Missing Bearer token in request: log in with POST /auth/login on accounts.")
    return token


def sent_token() -> str:
    """The token, good or not; empty without one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
