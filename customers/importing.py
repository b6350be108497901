"""From a file of invoices to the log, in batches: each line once, whatever ends the process in between."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final

import msgspec

from customers.commands import CreateInvoices
from customers.decider import create_invoices
from customers.import_record import BegunBatch, ImportRecord, ImportRecordFile
from customers.invoice_file import Batch, ImportRefused, Part
from eventlog import START, Command, EventLog, EventLogError, Metadata, Position, ProjectionReader, Published
from eventlog.codec import Entry
from eventlog.continuity import Verdict
from eventlog.deciding import Decided, DecisionMaker, NewId, NotFresh, Origin
from eventlog.errors import OutcomeUnknown, WrongLog
from eventlog.mends import ENTRIES_MEND, NO_LOG_MEND
from shared.permissions import Identity, RefusedItem, Role, describe_refusal

# Of the projection: what is read stays about a second old, and a refusal is soon certain.
_BATCHES_AHEAD: Final = 20
_APPLIED_WITHIN_S: Final = 60.0
# Begins the actor of what is imported; no user of the services has a blank in the name.
OPERATOR: Final = "operator "
_ENTRIES_PER_READ: Final = 1000

_Decided = Decided[RefusedItem]


class Import:
    """One run over one file. `record` says how far it is, also after an error."""

    def __init__(
        self,
        records: ImportRecordFile,
        log: EventLog,
        reader: ProjectionReader,
        actor: str,
        clock: Callable[[], datetime],
    ) -> None:
        """Where a former run ended, or at the beginning; writes nothing.

        ImportRefused where the record is of another log, or this one lacks what was imported.
        """
        self._records = records
        self._log = log
        self._reader = reader
        self._decision_maker = DecisionMaker(log, reader, fresh_within_s=_APPLIED_WITHIN_S)
        self._identity = Identity(actor, Role.ADMIN)
        self._clock = clock
        self._unapplied: deque[Position] = deque()
        self.published = 0  # invoices
        self.replayed = (
            0  # invoices that stood in the log already, as the same lines were imported a short time ago
        )
        state = log.state()
        if state.log_id is None:
            raise WrongLog(Verdict.REPLACED, "there is no log", NO_LOG_MEND)
        self.record = records.read() or ImportRecord(state.log_id, str(state.end), Part())
        self._require_log(state.log_id)
        if self.record.begun is not None:
            self._settle(self.record.begun)

    def publish(self, batches: Iterable[Batch]) -> Iterator[Part]:
        """One after the other; gives what of the file is done.

        While one is appended the next is read and decided, and no more than that: it is in the record before it is
        sent. ImportRefused at the first line that may not be: all before it are published then, and none behind it.
        """
        coming = map(self._decide, batches)
        try:
            with ThreadPoolExecutor(1) as beside:
                next_ = beside.submit(next, coming, None)
                while (found := next_.result()) is not None:
                    batch, decided = found
                    self._begin(batch)
                    next_ = beside.submit(next, coming, None)
                    allowed, refused = self._publish_begun(batch, decided)
                    # Also where its last lines are blank, of which no outcome tells.
                    self.record = msgspec.structs.replace(self.record, done=allowed.end)
                    yield self.record.done
                    if refused is not None:
                        raise refused
                    self._wait_for_projection()
        finally:
            self._records.write(self.record)

    def _decide(self, batch: Batch) -> tuple[Batch, _Decided | None]:
        return batch, self._decision_maker.decide(
            self._request(batch), create_invoices
        ) if batch.invoices else None

    def _request(self, batch: Batch) -> Callable[[NewId], CreateInvoices]:
        invoices = batch.invoices
        return lambda new_id: CreateInvoices(
            new_id("invoices", len(invoices)), invoices, self._identity, self._clock()
        )

    def _begin(self, batch: Batch) -> None:
        """It is in the record before it is carried out."""
        if batch.invoices:
            begun = BegunBatch(self._key(batch.end), batch.end)
            self.record = msgspec.structs.replace(self.record, begun=begun)
            self._records.write(self.record)

    def _publish_begun(self, batch: Batch, decided: _Decided | None) -> tuple[Batch, ImportRefused | None]:
        """Publish the batch as far as its lines may be; answers so much of it, and why not the next line."""
        refused: ImportRefused | None = None
        while batch.invoices:
            outcome = self._publish(batch, decided)
            if isinstance(outcome, Published):
                break
            refused = ImportRefused(f"line {batch.numbers[outcome.item]:,}: {describe_refusal(outcome.why)}")
            batch, decided = batch.up_to(outcome.item), None
            self._begin(batch)
        return batch, refused

    def _publish(self, batch: Batch, decided: _Decided | None) -> Published | RefusedItem:
        """As one command; `begun` stays where nobody knows its end."""
        key = self._key(batch.end)
        try:
            outcome: Published | RefusedItem = self._decision_maker.carry_out(
                self._request(batch),
                create_invoices,
                _command(key),
                Origin(actor=self._identity.username, command_name=key),
                decided,
            )
        except OutcomeUnknown:
            raise
        except EventLogError:
            self.record = msgspec.structs.replace(self.record, begun=None)
            raise
        if isinstance(outcome, RefusedItem):
            self.record = msgspec.structs.replace(self.record, begun=None)
            return outcome
        self.record = ImportRecord(self.record.log_id, str(outcome.position), batch.end)
        self._unapplied.append(outcome.position)
        if outcome.replayed:
            self.replayed += len(batch.invoices)
        else:
            self.published += len(batch.invoices)
        return outcome

    def _key(self, end: Part) -> str:
        """The same for the same lines behind the same beginning in the same log, and for nothing else."""
        content = f"{self.record.log_id}\n{self.record.done.digest}\n{end.digest}"
        return f"import-{hashlib.sha256(content.encode()).hexdigest()[:32]}"

    def _wait_for_projection(self) -> None:
        if len(self._unapplied) > _BATCHES_AHEAD:
            position = self._unapplied.popleft()
            if not self._reader.wait_until_applied(position, _APPLIED_WITHIN_S):
                raise NotFresh(
                    f"the projection has not applied {position} within {_APPLIED_WITHIN_S:g} s: see `customers doctor`"
                )

    # Where a former run ended

    def _require_log(self, log_id: str) -> None:
        record, records = self.record, self._records.path
        if record.log_id != log_id:
            raise ImportRefused(
                f"{records} is of an import into log {record.log_id}, and this is log {log_id}: set REDIS_URL and "
                f"EVENT_STREAM to those of then; to import the file into this log too, move {records.name} away"
            )
        if record.reached == START:
            return
        snapshot = self._log.snapshot(record.reached, 1)
        if snapshot.at_checkpoint is None and record.reached >= snapshot.state.trimmed_to:
            raise ImportRefused(
                f"the log has no entry {record.position}, up to which the file was imported, as {records} says. "
                f"{ENTRIES_MEND}"
            )

    def _settle(self, begun: BegunBatch) -> None:
        """A batch whose end the record does not tell: look for it in the log."""
        position = self._find(begun.key)
        if position is not None:
            self.record = msgspec.structs.replace(self.record, done=begun.end, position=str(position))
        self.record = msgspec.structs.replace(self.record, begun=None)

    def _find(self, key: str) -> Position | None:
        """The last entry of a command: the log knows it for a day, and after that its entries still tell."""
        known = self._log.find_command(_command(key), log_id=self.record.log_id)
        if known is not None:
            return known.position
        found: Position | None = None
        after = self.record.reached
        while True:
            snapshot = self._log.snapshot(after, _ENTRIES_PER_READ)
            if unread := snapshot.why_unread(after):
                raise ImportRefused(f"whether the last batch was imported cannot be told: {unread}")
            for entry in snapshot.entries:
                if _is_of(entry, key) and not self._log.why_unproven(entry, self.record.log_id):
                    found = entry.position
                elif found is not None:
                    return found
            if snapshot.reached_end or not snapshot.entries:
                return found
            after = snapshot.entries[-1].position


def _command(key: str) -> Command:
    return Command(f"\n{key}", key, named=True)  # a client's has its user's name before the line end


def _is_of(entry: Entry, key: str) -> bool:
    """Whether it is of the import's command that this key names; a client may have chosen the same one."""
    if entry.claimed_sequence is None or key.encode() not in entry.fields[-1]:
        return False
    try:
        metadata = msgspec.json.decode(entry.fields[-1], type=Metadata)
    except msgspec.MsgspecError:
        return False
    return metadata.command == key and (metadata.actor or "").startswith(OPERATOR)
