"""Whether it is still the same log, and which entry is which: told from values alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog import START, Position
from eventlog.checkpoints import Checkpoint
from eventlog.codec import Entry
from eventlog.continuity import Divergence, LogState, Snapshot, Verdict, number_entries

LOG_ID = "0" * 32


def own(position: int, sequence: int) -> Entry:
    fields = [b"EventTypeName", b"E", b"Payload", b"{}", b"Sequence", b"%d" % sequence, b"Metadata", b"{}"]
    return Entry(b"%d-0" % position, fields)


def foreign(position: int) -> Entry:
    return Entry(b"%d-0" % position, [b"EventTypeName", b"E", b"Payload", b"{}"])


class Stream:
    """Entries as they stand now, and what the log's meta remembers of them."""

    def __init__(
        self,
        entries: Sequence[Entry],
        *,
        sequence: int,
        last: int,
        trimmed_to: int = 0,
        adopted_to: int = 0,
        log_id: str | None = LOG_ID,
        exists: bool = True,
    ) -> None:
        self.entries = list(entries)
        end = self.entries[-1].position if self.entries else START
        self.state = LogState(
            log_id,
            exists,
            sequence,
            Position(last, 0),
            end,
            len(self.entries),
            trimmed_to=Position(trimmed_to, 0),
            trimmed=sequence - len(self.entries) if trimmed_to else 0,
            adopted_to=Position(adopted_to, 0),
        )

    def number(self, checkpoint: Checkpoint, count: int = 1000) -> list[tuple[int, int, bool]] | Verdict:
        """(position, sequence, foreign) of each entry behind the checkpoint, or the verdict."""
        behind = [entry for entry in self.entries if entry.position > checkpoint.position][:count]
        at = next((entry for entry in self.entries if entry.position == checkpoint.position), None)
        seen_to = behind[-1].position if behind else checkpoint.position
        snapshot = Snapshot(self.state, at, behind, seen_to >= self.state.end)
        numbered = number_entries(checkpoint, snapshot, self._count)
        if isinstance(numbered, Divergence):
            assert numbered.explanation
            return numbered.verdict
        return [(found.entry.position.milliseconds, found.sequence, found.foreign) for found in numbered]

    def _count(self, after: Position, up_to: Position) -> int:
        return sum(after < entry.position <= up_to for entry in self.entries)


def at_start() -> Checkpoint:
    return Checkpoint("post", 1, LOG_ID)


def at(entry: Entry, sequence: int) -> Checkpoint:
    return Checkpoint("post", 1, LOG_ID, entry.position, sequence, entry.digest())


WHOLE = [own(1, 1), own(2, 2), own(3, 3), own(4, 4)]


def test_whole_log_is_numbered_from_the_start() -> None:
    stream = Stream(WHOLE, sequence=4, last=4)
    assert stream.number(at_start()) == [(1, 1, False), (2, 2, False), (3, 3, False), (4, 4, False)]
    assert stream.number(at_start(), count=2) == [(1, 1, False), (2, 2, False)]
    assert stream.number(at(WHOLE[1], 2)) == [(3, 3, False), (4, 4, False)]
    assert stream.number(at(WHOLE[3], 4)) == []


def test_new_projection_of_an_empty_log_has_nothing_to_read() -> None:
    assert Stream([], sequence=0, last=0).number(Checkpoint("post", 1)) == []


@pytest.mark.parametrize(
    "stream",
    [
        Stream(WHOLE, sequence=4, last=4, log_id=None),
        Stream(WHOLE, sequence=4, last=4, log_id="1" * 32),
        Stream([], sequence=4, last=4, exists=False),
    ],
    ids=["no log", "another log", "no stream"],
)
@pytest.mark.parametrize("checkpoint", [at_start(), at(WHOLE[1], 2)], ids=["new", "used"])
def test_other_log_or_none_is_replaced(stream: Stream, checkpoint: Checkpoint) -> None:
    assert stream.number(checkpoint) is Verdict.REPLACED


def test_projection_that_never_read_a_log_takes_the_one_there_is() -> None:
    assert Stream(WHOLE[:1], sequence=1, last=1, log_id="1" * 32).number(Checkpoint("post", 1)) == [
        (1, 1, False)
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 1000])
@pytest.mark.parametrize("missing", [2, 3, 4])
def test_missing_entry_ahead_is_found_before_what_follows_it_is_applied(missing: int, count: int) -> None:
    stream = Stream([entry for entry in WHOLE if entry.position[0] != missing], sequence=4, last=4)
    checkpoint, applied = at(WHOLE[0], 1), [1]
    while True:
        numbered = stream.number(checkpoint, count)
        if not isinstance(numbered, list):
            assert numbered is Verdict.REWOUND
            break
        assert numbered, "the hole was not found"
        applied += [position for position, _, _ in numbered]
        last = numbered[-1]
        checkpoint = at(WHOLE[last[0] - 1], last[1])
    assert applied == list(range(1, missing))[: len(applied)]


def test_missing_entry_behind_the_checkpoint_was_applied_and_does_not_matter() -> None:
    stream = Stream([WHOLE[1], *WHOLE[2:]], sequence=4, last=4)
    assert stream.number(at(WHOLE[1], 2)) == [(3, 3, False), (4, 4, False)]


def test_missing_or_changed_entry_at_the_checkpoint_is_rewound() -> None:
    gone = Stream([WHOLE[0], *WHOLE[2:]], sequence=4, last=4)
    assert gone.number(at(WHOLE[1], 2)) is Verdict.REWOUND
    changed = Entry(WHOLE[1].id, [*WHOLE[1].fields[:3], b'{"x":1}', *WHOLE[1].fields[4:]])
    assert (
        Stream([WHOLE[0], changed, *WHOLE[2:]], sequence=4, last=4).number(at(WHOLE[1], 2)) is Verdict.REWOUND
    )


def test_everything_gone_is_rewound() -> None:
    assert Stream([], sequence=4, last=4).number(at_start()) is Verdict.REWOUND
    assert Stream([], sequence=4, last=4).number(at(WHOLE[3], 4)) is Verdict.REWOUND


def test_missing_below_the_recorded_trim_bound_is_trimmed_and_above_it_rewound() -> None:
    trimmed = Stream(WHOLE[2:], sequence=4, last=4, trimmed_to=2)
    assert trimmed.number(at_start()) is Verdict.TRIMMED
    assert trimmed.number(at(WHOLE[0], 1)) is Verdict.TRIMMED
    assert trimmed.number(at(WHOLE[2], 3)) == [(4, 4, False)]
    assert Stream(WHOLE[3:], sequence=4, last=4, trimmed_to=2).number(at(WHOLE[2], 3)) is Verdict.REWOUND


def test_foreign_entries_count_one_each() -> None:
    stream = Stream([foreign(1), own(2, 2), foreign(3), own(4, 4), foreign(5)], sequence=4, last=4)
    expected = [(1, 1, True), (2, 2, False), (3, 3, True), (4, 4, False), (5, 5, True)]
    assert stream.number(at_start()) == expected
    assert stream.number(at(foreign(3), 3)) == expected[3:]
    assert stream.number(at(foreign(5), 5)) == []


@pytest.mark.parametrize("claimed", [1, 2, 4, 99])
def test_forged_sequence_is_a_foreign_entry_where_nothing_is_missing(claimed: int) -> None:
    between = Stream([own(1, 1), own(2, 2), own(3, claimed), own(4, 4)], sequence=4, last=4)
    assert between.number(at(own(2, 2), 2)) == [(3, 3, True), (4, 4, False)]
    behind = Stream([own(1, 1), own(2, 2), own(3, claimed)], sequence=2, last=2)
    assert behind.number(at(own(2, 2), 2)) == [(3, 3, True)]
    before = Stream([own(1, 77 + claimed), own(2, 2)], sequence=2, last=2)
    assert before.number(at_start()) == [(1, 1, True), (2, 2, False)]


def test_adopted_entries_of_ours_stay_ours_under_new_numbers() -> None:
    adopted = [own(1, 1), own(3, 3), foreign(4), own(5, 4)]
    stream = Stream([*adopted, own(6, 5)], sequence=5, last=6, adopted_to=5)
    assert stream.number(at_start()) == [
        (1, 1, False),
        (3, 2, False),
        (4, 3, True),
        (5, 4, False),
        (6, 5, False),
    ]


def test_adopted_entry_that_goes_missing_is_rewound() -> None:
    adopted = [own(1, 1), own(5, 4)]
    stream = Stream([*adopted, own(6, 4)], sequence=4, last=6, adopted_to=5)
    assert stream.number(at_start()) is Verdict.REWOUND


def test_forged_sequence_that_fits_is_read_as_our_own() -> None:
    """Nothing but a signature can tell it; it still counts once."""
    assert Stream([own(1, 1), own(2, 2)], sequence=1, last=1).number(at_start()) == [
        (1, 1, False),
        (2, 2, False),
    ]


def test_forged_entry_cannot_stand_in_for_a_missing_one() -> None:
    forged_at_the_end = Stream([own(1, 1), own(2, 2), own(9, 3)], sequence=3, last=3)
    assert forged_at_the_end.number(at_start()) is Verdict.REWOUND
    hole_and_forgery = Stream([own(1, 1), own(3, 9), own(4, 4)], sequence=4, last=4)
    assert hole_and_forgery.number(at_start()) is Verdict.REWOUND
    hole_and_other_content_at_the_end = Stream([own(1, 1), foreign(4)], sequence=4, last=4)
    assert hole_and_other_content_at_the_end.number(at_start()) is Verdict.REWOUND


@pytest.mark.parametrize("claim", [b"01", b"+1", b" 1", b"", b"1.0", b"-1", b"9" * 5000, b"\xff", b"one"])
def test_sequence_that_is_no_canonical_number_is_forged(claim: bytes) -> None:
    entry = own(1, 1)
    entry = Entry(entry.id, [*entry.fields[:5], claim, *entry.fields[6:]])
    assert Stream([entry], sequence=0, last=0).number(at_start()) == [(1, 1, True)]


@given(st.lists(st.sampled_from(["own", "foreign", "forged"]), max_size=12), st.data())
def test_no_missing_entry_the_log_counted_goes_unnoticed(kinds: list[str], data: st.DataObject) -> None:
    """Whatever the mix, batch size and place: every entry is numbered by its place, and a hole halts."""
    entries, last_own = [], 0
    for place, kind in enumerate(kinds, 1):
        if kind == "own":
            last_own = place
            entries.append(own(place, place))
        else:
            entries.append(foreign(place) if kind == "foreign" else own(place, place + 7))
    missing = data.draw(st.integers(0, last_own), label="missing (0: none)")
    count = data.draw(st.integers(1, 5), label="batch size")
    left = [entry for entry in entries if entry.position[0] != missing]
    stream = Stream(left, sequence=last_own, last=last_own)
    checkpoint, applied = at_start(), []
    while True:
        numbered = stream.number(checkpoint, count)
        if not isinstance(numbered, list):
            break
        if not numbered:
            break
        applied += [(position, sequence) for position, sequence, _ in numbered]
        position, sequence, _ = numbered[-1]
        checkpoint = at(entries[position - 1], sequence)
    if missing:
        assert numbered is Verdict.REWOUND
    else:
        assert applied == [(place, place) for place in range(1, len(kinds) + 1)]


def test_new_projection_does_not_begin_behind_what_was_trimmed() -> None:
    """Even where the first entries left are foreign, and have no number that could show it."""
    stream = Stream([foreign(2), foreign(3), own(4, 4)], sequence=4, last=4, trimmed_to=1)
    assert stream.number(at_start(), count=2) is Verdict.TRIMMED
