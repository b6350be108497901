"""A whole log by its signatures: where they begin, which key signed how much, and what a rebuild would park."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from eventlog.archive_chain import first_link, next_link_of
from eventlog.checkpoints import Checkpoint
from eventlog.continuity import Divergence, NumberedEntry, number_entries
from eventlog.doubts import Doubt, Doubts
from eventlog.errors import KeysRefused
from eventlog.follower import moved_over
from eventlog.key_file import KeyFile, write_keys
from eventlog.log import EventLog
from eventlog.mends import wrong_log
from eventlog.seen_events import SeenEvents, Verified
from eventlog.signing import Beginning, Keys, key_id_of
from eventlog.verification import Verification, changed
from eventlog.whole_file import changing

_CHUNK: Final = 1000

# How many entries were looked at, of how many.
Progress = Callable[[int, int], None]


class SignedLog(NamedTuple):
    """`unsigned` entries are from before signing began; `by_key` counts those that are proven, `unproven` the rest.

    `changed` says what is wrong with the unsigned ones; it is empty if they are as they were when signing began.
    """

    log_id: str
    entries: int
    unsigned: int
    by_key: Mapping[str, int]
    unproven: int
    first_unproven: Doubt | None
    changed: str


class SignedPart:
    """Of a log: from the first entry on that says that it is signed with one of the keys, or the `whole`.

    Nobody may come to trust entries in it that the keys do not prove.
    """

    def __init__(self, keys: Keys, log_id: str, *, whole: bool = False) -> None:
        self.doubts = Doubts()
        self._verification = Verification(keys, log_id, SeenEvents(Verified(0, first_link(log_id))))
        self._ids = {key.id for key in keys.keys}
        self._begun = whole

    def look(self, numbered: Sequence[NumberedEntry]) -> None:
        """At the entries that follow those before."""
        for found, refused in zip(numbered, self._verification.verify(numbered), strict=True):
            self._begun = self._begun or key_id_of(found.entry.fields[-1]) in self._ids
            if refused and self._begun:
                self.doubts.add(found.entry.position, refused.reason)

    @property
    def doubted(self) -> bool:
        return bool(self.doubts.count or self._verification.changed)

    def refusal(self, consequence: str) -> str:
        """What is not proven, and the ways on."""
        changed = self._verification.changed
        what = changed.explanation if changed else f"the keys do not prove {self.doubts}"
        return (
            f"{what}; {consequence}. Write the log back without them, from its archive: `eventlog reseed --replace`. "
            "Without one, restore the Redis data of before; or look at each (`eventlog show POSITION`), and delete "
            "what nobody of yours published (`redis-cli XDEL`)"
        )


def begin_signing(
    log: EventLog, file: KeyFile, on_progress: Progress = lambda done, total: None
) -> Beginning:
    """Trust all that is in the log now, and write into the file of keys that what follows must be signed.

    Once for each log: KeysRefused where the file has it already, the log has no entry, or it was signed before and has
    entries since that its keys do not prove. Raises WrongLog.
    """
    with changing(file.path):
        log_id, end, link, part = "", None, b"", None
        for log_id, numbered in _walk(log, on_progress):
            link = link or first_link(log_id)
            part = part or SignedPart(file.read(), log_id)
            part.look(numbered)
            for end in numbered:
                link = next_link_of(link, end.sequence, end.entry)
        if end is None:
            raise KeysRefused(
                "the log has no entry: it is signed from its first one on, and nothing need be done"
            )
        keys = file.read()
        known = keys.beginnings.get(log_id)
        if known is not None:
            raise KeysRefused(
                f"log {log_id} is signed from the entry behind number {known.sequence} on, as {file.path} says: who "
                "could move that could have forgeries taken for what was there before"
            )
        if part and part.doubted:
            raise KeysRefused(part.refusal("signing that begins behind them would have them applied"))
        beginning = Beginning(end.sequence, end.entry.position, link)
        write_keys(file.path, Keys(keys.keys, {**keys.beginnings, log_id: beginning}))
    return beginning


def require_unchanged(log: EventLog, log_id: str, beginning: Beginning, up_to: int) -> bytes:
    """The link of the chain at entry number `up_to`, which is from before signing began; reads all from then.

    Raises WrongLog unless they are what they were when it began.
    """
    link = at = first_link(log_id)
    for found_id, numbered in _walk(log, lambda done, total: None):
        for found in numbered[: max(0, beginning.sequence + 1 - numbered[0].sequence)]:
            link = next_link_of(link, found.sequence, found.entry)
            if found.sequence == up_to:
                at = link
        if found_id != log_id or numbered[-1].sequence >= beginning.sequence:
            break
    if link != beginning.link:
        raise wrong_log(changed(log_id, beginning), Checkpoint("signatures", 1, log_id))
    return at


def examine_signatures(
    log: EventLog, file: KeyFile, on_progress: Progress = lambda done, total: None
) -> SignedLog:
    """As a rebuild would judge each entry now. Reads the whole log. Raises WrongLog."""
    by_key: Counter[str] = Counter()
    entries = unsigned = unproven = 0
    first_unproven: Doubt | None = None
    log_id = ""
    verification: Verification | None = None
    keys = file.read()
    for log_id, numbered in _walk(log, on_progress):
        if verification is None:
            verification = Verification(keys, log_id, SeenEvents(Verified(0, first_link(log_id))))
        beginning = keys.beginnings.get(log_id)
        for found, refused in zip(numbered, verification.verify(numbered), strict=True):
            entries += 1
            if beginning is not None and found.sequence <= beginning.sequence:
                unsigned += 1
            elif refused is None:
                by_key[key_id_of(found.entry.fields[7]) or ""] += 1
            else:
                unproven += 1
                first_unproven = first_unproven or Doubt(found.entry.position, refused.reason)
    wrong = verification.changed.explanation if verification and verification.changed else ""
    return SignedLog(log_id, entries, unsigned, by_key, unproven, first_unproven, wrong)


def _walk(log: EventLog, on_progress: Progress) -> Iterator[tuple[str, list[NumberedEntry]]]:
    """The log's id and its entries, chunk by chunk, each with its number; WrongLog where one is missing."""
    checkpoint = Checkpoint("signatures", 1)
    while True:
        snapshot = log.snapshot(checkpoint.position, _CHUNK)
        numbered = number_entries(checkpoint, snapshot, log.count_entries)
        if isinstance(numbered, Divergence):
            raise wrong_log(numbered, checkpoint)
        log_id = snapshot.state.log_id or ""
        if not numbered:
            return
        yield log_id, numbered
        checkpoint = moved_over(checkpoint, numbered)._replace(log_id=log_id)
        on_progress(checkpoint.sequence, max(checkpoint.sequence, snapshot.state.sequence))
