"""A build broken on purpose: the codec raises for an entry that cannot be read, and nobody expects it."""

from eventlog.codec import Codec, Decoded, Entry, Malformed

_decode = Codec.decode


def _decode_or_raise(self: Codec, entry: Entry, sequence: int, *, foreign: bool) -> Decoded:
    decoded = _decode(self, entry, sequence, foreign=foreign)
    if isinstance(decoded, Malformed):
        raise TypeError(decoded.reason)
    return decoded


Codec.decode = _decode_or_raise  # type: ignore[method-assign]  # that is what breaks it
