"""Makes a new log of what is there, and with keys begins to sign it: only of what the keys prove."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from eventlog.archive_chain import first_link, next_link_of
from eventlog.archive_reader import ArchiveReader
from eventlog.continuity import NumberedEntry
from eventlog.errors import ArchiveUnusable, KeysRefused, WrongLog
from eventlog.found_projections import find_projections
from eventlog.key_file import ForgottenKeys, KeyFile, write_keys
from eventlog.log import EventLog
from eventlog.position import START
from eventlog.signed_log import SignedPart
from eventlog.signing import Beginning, Keys
from eventlog.whole_file import changing

_CHUNK = 1000


class Adopted(NamedTuple):
    """The new log; `beginning` is where signing begins, None without keys or entries."""

    log_id: str
    beginning: Beginning | None


def adopt(log: EventLog, data_directory: Path, archive: ArchiveReader) -> Adopted:
    """Whoever followed the former log halts.

    With keys all that is trusted is looked at before: KeysRefused, with nothing changed, where keys that have signed
    the former log do not prove an entry. KeysUnusable where it was signed, and no keys are named.
    """
    found = list(find_projections(data_directory))
    verified = [each.home for each in found if each.verified]
    if not isinstance(log.keys, KeyFile):
        if verified:
            ForgottenKeys(verified[0]).read()
        return Adopted(log.create(adopt=True), None)
    former = {each.checkpoint.log_id for each in found} | {_archived_log(archive), _log_in_redis(log)}
    log_id = secrets.token_hex(16)
    with changing(log.keys.path):
        keys = log.keys.read()
        # The beginning first: what is added from here on is behind it, and must be signed.
        beginning = _prove(log, keys, sorted(former - {""}), archive, log_id, signed=bool(verified))
        if beginning is not None:
            write_keys(log.keys.path, Keys(keys.keys, {**keys.beginnings, log_id: beginning}))
        return Adopted(log.create(adopt=True, new_id=log_id), beginning)


def _prove(
    log: EventLog, keys: Keys, former: Sequence[str], archive: ArchiveReader, log_id: str, *, signed: bool
) -> Beginning | None:
    """Where the new log begins to be signed: behind all that is there, which the keys prove for one of the former."""
    signed = signed or any(each in keys.beginnings for each in former)
    tried = []
    for each in former or [""]:
        part = SignedPart(keys, each, whole=signed)
        beginning, sequence, link = None, 0, first_link(log_id)
        for numbered, is_there in _walk(log, each, archive):
            part.look(numbered)
            for entry in (of.entry for of in numbered if is_there):
                sequence += 1
                link = next_link_of(link, sequence, entry)
                beginning = Beginning(sequence, entry.position, link)
        if not part.doubted:
            return beginning
        tried.append(part)
    likely = min(tried, key=lambda part: part.doubts.count)
    raise KeysRefused(likely.refusal("a new log of them would have them applied"))


def _walk(log: EventLog, log_id: str, archive: ArchiveReader) -> Iterator[tuple[list[NumberedEntry], bool]]:
    """What the archive has before the first entry in Redis, then what is in Redis; and which of both it is."""
    sequence = 0
    there = log.read_stored(START, 1)
    after, up_to = START, there[0].position.previous() if there else START
    if _archived_log(archive) == log_id:
        while chunk := archive.read(after, up_to, _CHUNK):
            yield [NumberedEntry(entry, sequence + at, False) for at, entry in enumerate(chunk, 1)], False
            sequence, after = sequence + len(chunk), chunk[-1].position
    after = START
    while chunk := log.read_stored(after, _CHUNK):
        yield [NumberedEntry(entry, sequence + at, False) for at, entry in enumerate(chunk, 1)], True
        sequence, after = sequence + len(chunk), chunk[-1].position


def _archived_log(archive: ArchiveReader) -> str:
    try:
        return archive.checkpoint().log_id
    except ArchiveUnusable:
        return ""


def _log_in_redis(log: EventLog) -> str:
    try:
        return log.state().log_id or ""
    except WrongLog:
        return ""
