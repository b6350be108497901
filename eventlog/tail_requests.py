"""What a command asks of the running tail, which alone writes the projection: small files it picks up."""

from __future__ import annotations

from pathlib import Path

_ACKNOWLEDGE = "acknowledge.request"


class TailRequests:
    """One request of a kind at a time; a later one replaces an earlier one that was not taken yet."""

    def __init__(self, directory: Path) -> None:
        self._left = directory / _ACKNOWLEDGE
        self._taken = self._left.with_suffix(".taken")

    def leave_acknowledge(self, up_to_sequence: int) -> None:
        """Ask that what is parked up to a sequence be marked as seen."""
        unfinished = self._left.with_suffix(".unfinished")
        unfinished.write_text(str(up_to_sequence), "ascii")
        unfinished.replace(self._left)

    def is_waiting(self) -> bool:
        """Whether something was asked that is not done yet."""
        return self._left.exists() or self._taken.exists()

    def take_acknowledge(self) -> int | None:
        """The sequence asked for, to be finished; also one that a killed tail had taken. None: nothing is asked.

        Moved aside first, so that one left meanwhile is not finished with it.
        """
        if not self._taken.exists():
            try:
                self._left.replace(self._taken)
            except FileNotFoundError:
                return None
        try:
            return int(self._taken.read_text("ascii"))
        except ValueError:
            self.finish_acknowledge()
            return None

    def finish_acknowledge(self) -> None:
        self._taken.unlink(missing_ok=True)
