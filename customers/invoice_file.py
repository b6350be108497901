"""A file of invoices, one a line, each as a body of POST /invoices; knows nothing of the log."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from customers.schemas import LARGEST_BATCH, CreateInvoiceBody
from eventlog.errors import EventLogError
from shared.problems import FieldError
from shared.quick_json import QuickReader
from shared.request_body import LARGEST_BODY_BYTES, BrokenFields, InvalidJson, check_object, parse_json

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

MOST_BROKEN_LINES: Final = 10  # named; the others are counted
_CHUNK_BYTES: Final = 1 << 20
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"  # some programs begin a file with it

_INVOICE = QuickReader(CreateInvoiceBody())

OnProgress = Callable[[int, int], None]


class ImportRefused(EventLogError):
    """A file cannot be imported, or no further; the message says what to do."""


class Part(msgspec.Struct, frozen=True):
    """The beginning of a file, up to the end of a line; `digest` is the SHA-256 of its bytes."""

    lines: int = 0
    bytes: int = 0
    digest: str = hashlib.sha256().hexdigest()


class Line(NamedTuple):
    """`raw` may be cut where it is far too long; `end` and the hash are of the file up to its end."""

    number: int
    raw: bytes
    end: int
    hash_up_to: Hash

    @property
    def part(self) -> Part:
        return Part(self.number, self.end, self.hash_up_to.hexdigest())

    def read(self) -> dict[str, Any] | None:
        """The checked body; None if it is blank. Raises BrokenLine."""
        raw = self.raw.removeprefix(_BYTE_ORDER_MARK) if self.number == 1 else self.raw
        if len(raw.removesuffix(b"\n").removesuffix(b"\r")) > LARGEST_BODY_BYTES:
            raise BrokenLine(f"line {self.number:,} is longer than {LARGEST_BODY_BYTES:,} bytes")
        quickly = _INVOICE.read(raw)
        if quickly is not None:
            return quickly
        if not raw.strip():
            return None
        try:
            return check_object(_INVOICE.schema, parse_json(raw.strip()))
        except InvalidJson as problem:
            raise BrokenLine(f"line {self.number:,} {problem}") from None
        except BrokenFields as problem:
            raise BrokenLine(f"line {self.number:,}: {'; '.join(map(_describe, problem.errors))}") from None


class BrokenLine(Exception):
    """It is no invoice; the message names the line, and field and rule."""


class Checked(NamedTuple):
    """The file as a whole; `broken` says what is wrong with the first of the broken lines."""

    whole: Part
    broken: Sequence[str]
    broken_lines: int


class Batch(NamedTuple):
    """Lines in a row, at least one; `invoices` are those that are not blank, with their bodies."""

    lines: Sequence[Line]
    invoices: Sequence[tuple[Line, dict[str, Any]]]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [body for _, body in self.invoices]

    @property
    def end(self) -> Part:
        return self.lines[-1].part

    def up_to(self, invoice: int) -> Batch:
        """The lines before that of one of its invoices, counted from 0; there may be none."""
        stop = self.invoices[invoice][0]
        return Batch([line for line in self.lines if line.end < stop.end], self.invoices[:invoice])


class InvoiceFile:
    """Open for one import at a time, in any process; ImportRefused for a second one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Of the path: the file itself may be replaced by another, which has the same record.
        self._lock_path = path.with_name(f".{path.name}.importing")
        self._lock = self._take_lock()
        self._file: IO[bytes] = path.open("rb")

    def close(self) -> None:
        self._file.close()
        self._lock_path.unlink(missing_ok=True)
        self._lock.close()

    def _take_lock(self) -> IO[bytes]:
        while True:
            lock: IO[bytes] = self._lock_path.open("ab")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                raise ImportRefused(f"another import of {self._path} is running: let it end") from None
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock.fileno()), self._lock_path.stat()):
                    return lock
            lock.close()  # who held it deleted it meanwhile

    def check(self, done: Part, on_progress: OnProgress) -> Checked:
        """Read what lies behind the part that is done, whose digest is compared; progress is in bytes.

        ImportRefused if that part is not there as it was.
        """
        size = os.fstat(self._file.fileno()).st_size
        last: Line | None = None
        broken: list[str] = []
        broken_lines = 0
        for line in self._lines_behind(done):
            try:
                line.read()
            except BrokenLine as problem:
                broken_lines += 1
                if len(broken) < MOST_BROKEN_LINES:
                    broken.append(str(problem))
            if line.number % LARGEST_BATCH == 0:
                on_progress(line.end, size)
            last = line
        return Checked(last.part if last else done, broken, broken_lines)

    def batches_behind(self, done: Part) -> Iterator[Batch]:
        """Of `LARGEST_BATCH` lines each; raises BrokenLine at one that was changed since it was checked."""
        lines: list[Line] = []
        invoices: list[tuple[Line, dict[str, Any]]] = []
        for line in self._lines_behind(done):
            lines.append(line)
            body = line.read()
            if body is not None:
                invoices.append((line, body))
            if len(lines) == LARGEST_BATCH:
                yield Batch(lines, invoices)
                lines, invoices = [], []
        if lines:
            yield Batch(lines, invoices)

    def _lines_behind(self, done: Part) -> Iterator[Line]:
        found, ended = self._pass_over(done)
        number, end = done.lines, done.bytes
        while raw := self._file.readline(LARGEST_BODY_BYTES + len(_BYTE_ORDER_MARK) + len(b"\r\n")):
            number += ended
            piece = raw
            found.update(piece)
            end += len(piece)
            while not piece.endswith(b"\n") and (piece := self._file.readline(_CHUNK_BYTES)):
                found.update(piece)
                end += len(piece)
            yield Line(number, raw, end, found.copy())
            ended = True

    def _pass_over(self, done: Part) -> tuple[Hash, bool]:
        """The hash of the part that is done, and whether its last line has an end; the file stands behind it then."""
        self._file.seek(0)
        found, left, chunk = hashlib.sha256(), done.bytes, b"\n"
        while left and (read := self._file.read(min(left, _CHUNK_BYTES))):
            found.update(read)
            left -= len(read)
            chunk = read
        ended = chunk.endswith(b"\n")
        if left or found.hexdigest() != done.digest or not (ended or self._only_lacks_its_end()):
            raise ImportRefused(
                f"{self._path}: what was imported of it before, up to line {done.lines:,}, is not as it was: put it "
                "back, with what is new behind it or in a file of its own"
            )
        return found, ended

    def _only_lacks_its_end(self) -> bool:
        """Whether nothing was written behind the last line but its end, and perhaps more lines."""
        here = self._file.tell()
        rest = self._file.readline(3)
        self._file.seek(here)
        return rest in {b"", b"\n", b"\r\n"}


def _describe(error: FieldError) -> str:
    field = error.pointer.removeprefix("#").removeprefix("/")
    return f"{field}: {error.detail}" if field else error.detail
