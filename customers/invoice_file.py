"""A file of invoices, one a line, each as a body of POST /invoices; knows nothing of the log."""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, NamedTuple, cast

import msgspec

from customers.commands import InvoiceBody
from customers.schemas import LARGEST_BATCH, CreateInvoiceBody
from eventlog.errors import EventLogError
from shared.field_error import FieldError
from shared.quick_json import QuickReader
from shared.strict_json import LARGEST_BODY_BYTES, BrokenFields, InvalidJson, check_object, parse_json

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

MOST_BROKEN_LINES: Final = 10  # named; the others are counted
_CHUNK_BYTES: Final = 1 << 20
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"  # some programs begin a file with it
_LONGEST_LINE: Final = LARGEST_BODY_BYTES + len(_BYTE_ORDER_MARK) + len(b"\r\n")  # what is longer is cut

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
    """`raw` may be cut where it is far too long."""

    number: int
    raw: bytes

    def read(self) -> InvoiceBody | None:
        """The checked body; None if it is blank. Raises BrokenLine."""
        raw = self.raw.removeprefix(_BYTE_ORDER_MARK) if self.number == 1 else self.raw
        if len(raw.removesuffix(b"\n").removesuffix(b"\r")) > LARGEST_BODY_BYTES:
            raise BrokenLine(f"line {self.number:,} is longer than {LARGEST_BODY_BYTES:,} bytes")
        if not raw.strip():
            return None
        try:
            return cast("InvoiceBody", check_object(_INVOICE.schema, parse_json(raw.strip())))
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


class Lines(NamedTuple):
    """Up to `LARGEST_BATCH` of them in a row, at least one; only the last may be cut.

    `first` is the number of the first; `bytes_before` and `hash_before` are of what stands in front of it, and `end`
    is the file up to the end of the last.
    """

    first: int
    raw: Sequence[bytes]
    bytes_before: int
    hash_before: Hash
    end: Part

    def each(self) -> Iterator[Line]:
        return map(Line, itertools.count(self.first), self.raw)

    def read_quickly(self) -> list[InvoiceBody] | None:
        """The body of each; None where one is blank or may be broken."""
        if max(map(len, self.raw)) > LARGEST_BODY_BYTES:
            return None
        content = b"".join(self.raw)
        if self.first == 1:
            content = content.removeprefix(_BYTE_ORDER_MARK)
        return cast("list[InvoiceBody] | None", _INVOICE.read_lines(content, len(self.raw)))


class Batch(NamedTuple):
    """Lines in a row; those that are not blank are `invoices`, on the lines with these `numbers`."""

    lines: Lines
    numbers: Sequence[int]
    invoices: Sequence[InvoiceBody]
    end: Part

    @classmethod
    def of(cls, lines: Lines) -> Batch:
        """Of all of them; raises BrokenLine."""
        quickly = lines.read_quickly()
        if quickly is not None:
            return cls(lines, range(lines.first, lines.first + len(quickly)), quickly, lines.end)
        read = [(line.number, line.read()) for line in lines.each()]
        found = [(number, body) for number, body in read if body is not None]
        return cls(lines, [number for number, _ in found], [body for _, body in found], lines.end)

    def up_to(self, invoice: int) -> Batch:
        """What stands before the line of one of its invoices, counted from 0; there may be nothing."""
        count = self.numbers[invoice] - self.lines.first
        content = b"".join(self.lines.raw[:count])
        hash_up_to = self.lines.hash_before.copy()
        hash_up_to.update(content)
        end = Part(self.numbers[invoice] - 1, self.lines.bytes_before + len(content), hash_up_to.hexdigest())
        return Batch(self.lines, self.numbers[:invoice], self.invoices[:invoice], end)


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
        whole = done
        broken: list[str] = []
        broken_lines = 0
        for lines in self._lines_behind(done):
            if lines.read_quickly() is None:
                for line in lines.each():
                    try:
                        line.read()
                    except BrokenLine as problem:
                        broken_lines += 1
                        if len(broken) < MOST_BROKEN_LINES:
                            broken.append(str(problem))
            whole = lines.end
            on_progress(whole.bytes, size)
        return Checked(whole, broken, broken_lines)

    def batches_behind(self, done: Part) -> Iterator[Batch]:
        """Of `LARGEST_BATCH` lines each; raises BrokenLine at one that was changed since it was checked."""
        return map(Batch.of, self._lines_behind(done))

    def _lines_behind(self, done: Part) -> Iterator[Lines]:
        found, ended = self._pass_over(done)
        number, end = done.lines, done.bytes
        while raw := list(self._read_lines()):
            first, bytes_before, hash_before = number + ended, end, found.copy()
            for piece in (b"".join(raw), *self._rest_of(raw[-1])):
                found.update(piece)
                end += len(piece)
            number, ended = first + len(raw) - 1, True
            yield Lines(first, raw, bytes_before, hash_before, Part(number, end, found.hexdigest()))

    def _read_lines(self) -> Iterator[bytes]:
        """Up to `LARGEST_BATCH`; the last may be cut, or have no end."""
        for _ in range(LARGEST_BATCH):
            line = self._file.readline(_LONGEST_LINE)
            if line:
                yield line
            if not line.endswith(b"\n"):
                return

    def _rest_of(self, line: bytes) -> Iterator[bytes]:
        while not line.endswith(b"\n") and (line := self._file.readline(_CHUNK_BYTES)):
            yield line

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
