"""What a command asks of the running tail, which alone writes the projection: small files it picks up."""

from __future__ import annotations

from pathlib import Path

_ACKNOWLEDGE = "acknowledge.request"


class TailRequests:
    """One request of a kind at a time; a later one replaces an earlier one not yet carried out."""

    def __init__(self, directory: Path) -> None:
        self._acknowledge = directory / _ACKNOWLEDGE

    def leave_acknowledge(self, up_to_sequence: int) -> None:
        """Ask that what is parked up to a sequence be marked as seen."""
        unfinished = self._acknowledge.with_suffix(".unfinished")
        unfinished.write_text(str(up_to_sequence), "ascii")
        unfinished.replace(self._acknowledge)

    def wanted_acknowledge(self) -> int | None:
        """The sequence asked for; None if nothing is asked, or nothing that can be read."""
        try:
            return int(self._acknowledge.read_text("ascii"))
        except FileNotFoundError:
            return None
        except ValueError:
            self.finish_acknowledge()
            return None

    def finish_acknowledge(self) -> None:
        self._acknowledge.unlink(missing_ok=True)
