"""How far a file is imported: a small file beside it, `FILE.imported`, always whole and always on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from customers.invoice_file import ImportRefused, Part
from eventlog.position import Position
from eventlog.whole_file import replace_file


class BegunBatch(msgspec.Struct, frozen=True):
    """May be in the log or not, as the command with this key; `end` is the file up to its last line."""

    key: str
    end: Part


class ImportRecord(msgspec.Struct, frozen=True):
    """`done` is in log `log_id`, up to `position`; what was `begun` is not, or lies behind that position."""

    log_id: str
    position: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,20}-[0-9]{1,20}$")]
    done: Part
    begun: BegunBatch | None = None

    @property
    def reached(self) -> Position:
        return Position.parse(self.position)


class ImportRecordFile:
    """Written by the one import that has the file open."""

    def __init__(self, imported: Path) -> None:
        self.path = imported.with_name(f"{imported.name}.imported")

    def read(self) -> ImportRecord | None:
        """None if there is none yet; ImportRefused if it cannot be understood."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=ImportRecord)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as problem:
            raise ImportRefused(
                f"{self.path}, which says how far the import is, cannot be read ({problem}): put it back; delete it "
                "only if nothing was imported, or what was is cut out of the file"
            ) from problem

    def write(self, record: ImportRecord) -> None:
        """Whatever ends this process, there is the record of before or this one."""
        replace_file(self.path, msgspec.json.format(msgspec.json.encode(record)))
