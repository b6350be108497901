"""Signatures of entries: HMAC-SHA256 over the very bytes that stand in the stream. Pure: bytes in, verdict out."""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from eventlog.codec import EncodedEvent
from eventlog.position import Position

SHORTEST_SECRET_BYTES: Final = 32  # RFC 2104 section 3: no shorter than what the hash gives
KEY_ID: Final = r"[A-Za-z0-9_-]{1,32}"

# Where `publish` puts it: the last key of the metadata. Anywhere else, or with anything behind it, it is none.
_SIGNED = re.compile(rb',"signature":"(' + KEY_ID.encode() + rb'):([A-Za-z0-9_-]{43})"\}\Z')
_EVENT_ID = re.compile(rb'\{"event_id":"([A-Za-z0-9_-]+)-(0|[1-9][0-9]{0,17})"')
_PURPOSE = b"eventlog entry 1 "  # so that a key that signs something else too signs no entry with it


class Key(NamedTuple):
    """`id` is public, and stands in each signature."""

    id: str
    secret: bytes


class Beginning(NamedTuple):
    """The last entry of a log that need not be signed, and the link of the chain (archive_chain.py) that ends there."""

    sequence: int
    position: Position
    link: bytes


class Keys:
    """The first signs, all verify. A log that is not among `beginnings` is signed from its first entry on."""

    def __init__(self, keys: Sequence[Key], beginnings: Mapping[str, Beginning]) -> None:
        self.keys = tuple(keys)
        self.beginnings = beginnings
        # Copied for each entry: in a third of the time that `hmac.digest` takes.
        self._begun = {key.id.encode(): hmac.new(key.secret, _PURPOSE, "sha256") for key in keys}

    def sign(self, log_id: str, encoded: EncodedEvent) -> EncodedEvent:
        """The event for this log, with its signature as the last key of its metadata."""
        key_id, signed = self.keys[0].id.encode(), encoded.metadata[:-1]
        code = _code(self._begun[key_id], log_id.encode(), encoded.event_type, encoded.payload, signed)
        return encoded._replace(metadata=b'%b,"signature":"%b:%b"}' % (signed, key_id, code))

    def why_unproven(self, log_id: str, event_type: bytes, payload: bytes, metadata: bytes) -> str:
        """Why these are not what somebody with a key published to this log; empty if they are."""
        found = _SIGNED.search(metadata)
        if found is None:
            return "it is not signed"
        key_id, code = found.groups()
        begun = self._begun.get(key_id)
        if begun is None:
            return f"it is signed with key {key_id.decode()}, which is not in the file of keys"
        expected = _code(begun, log_id.encode(), event_type, payload, metadata[: found.start()])
        if not hmac.compare_digest(expected, code):
            return f"its signature (key {key_id.decode()}) is not of this content in this log"
        return ""


def key_id_of(metadata: bytes) -> str | None:
    """The key that an entry says it was signed with; nothing is proven."""
    found = _SIGNED.search(metadata)
    return None if found is None else found[1].decode()


def publisher_of(metadata: bytes) -> tuple[str, int] | None:
    """Who published a signed entry, and as which of its events (see published_ids.py)."""
    found = _EVENT_ID.match(metadata)
    return None if found is None else (found[1].decode(), int(found[2]))


def _code(begun: hmac.HMAC, log_id: bytes, event_type: bytes, payload: bytes, metadata: bytes) -> bytes:
    """43 characters. The lengths come first, so that nothing can be moved from one part to the next."""
    lengths = len(log_id), len(event_type), len(payload), len(metadata)
    code = begun.copy()
    code.update(b"%d %d %d %d:%b%b%b%b" % (*lengths, log_id, event_type, payload, metadata))
    return urlsafe_b64encode(code.digest())[:-1]
