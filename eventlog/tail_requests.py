"""What a command asks of the running tail, which alone writes the projection: small files it picks up."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path


class RequestKind(StrEnum):
    """Each asks with one number."""

    ACKNOWLEDGE = "acknowledge"  # mark what is parked up to this sequence as seen
    SWITCH = "switch"  # serve the generation of this number
    REPAIR = "repair"  # the same, whatever the checkpoint of what is served says: it is wrong


class TailRequest:
    """One of a kind at a time; a later one replaces an earlier one that was not taken yet."""

    def __init__(self, home: Path, kind: RequestKind) -> None:
        self._left = home / f"{kind}.request"
        self._taken = self._left.with_suffix(".taken")
        self._refusal = self._left.with_suffix(".refused")

    def leave(self, number: int) -> None:
        """Ask for it; what was answered to an earlier one is forgotten."""
        self._refusal.unlink(missing_ok=True)
        unfinished = self._left.with_suffix(".unfinished")
        unfinished.write_text(str(number), "ascii")
        unfinished.replace(self._left)

    def withdraw(self) -> None:
        """No longer ask for it. Who has taken it looks at `is_taken` just before it is done."""
        self._left.unlink(missing_ok=True)
        self._taken.unlink(missing_ok=True)

    def is_waiting(self) -> bool:
        """Whether something was asked that is not done yet."""
        return self._left.exists() or self.is_taken()

    def is_taken(self) -> bool:
        """Whether somebody has begun with it, and whoever asked has not withdrawn it."""
        return self._taken.exists()

    def take(self) -> int | None:
        """The number asked with, to be finished; also one that a killed tail had taken. None: nothing is asked.

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
            self.finish()
            return None

    def finish(self, refusal: str = "") -> None:
        """It is done, or refused for a reason that whoever asked can read."""
        if refusal:
            unfinished = self._refusal.with_suffix(".unfinished-refusal")
            unfinished.write_text(refusal, "utf-8")
            unfinished.replace(self._refusal)
        else:
            self._refusal.unlink(missing_ok=True)  # of one that was asked before
        self._taken.unlink(missing_ok=True)

    def refusal(self) -> str:
        """Why the last one was not done; empty if it was."""
        try:
            return self._refusal.read_text("utf-8")
        except FileNotFoundError:
            return ""
