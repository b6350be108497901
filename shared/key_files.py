"""What the files are called that hold the keys of access tokens."""

from __future__ import annotations

from typing import Final

PRIVATE_KEYS_NAME: Final = "signing-keys.json"
PUBLIC_KEYS_NAME: Final = "jwks.json"
