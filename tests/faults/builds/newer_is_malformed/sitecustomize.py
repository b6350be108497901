"""A build broken on purpose: an entry of a newer version is set aside, as if it could not be read."""

from eventlog.codec import Codec, Decoded, Entry, Malformed, Newer

_decode = Codec.decode


def _decode_what_is_known(self: Codec, entry: Entry, sequence: int, *, foreign: bool) -> Decoded:
    decoded = _decode(self, entry, sequence, foreign=foreign)
    return Malformed(decoded.event_type, "of a newer version") if isinstance(decoded, Newer) else decoded


Codec.decode = _decode_what_is_known  # type: ignore[method-assign]  # that is what breaks it
