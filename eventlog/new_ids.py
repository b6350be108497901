"""Ids that the log gives as it appends; until then a decision has provisional ones."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Final, NamedTuple

LARGEST_ID: Final = 2**53 - 1  # scripts count in doubles
_PROVISIONAL_DIGITS = 6  # that tell the new ids of one decision apart, behind twelve that nobody can guess


class NewIds(NamedTuple):
    """Ids that the log gives in the step that appends: the next of `counter`, in a row, without gaps.

    The k-th is written as `provisional(k)` in the events, guards, touches and result of the decision, and is
    replaced there. Where it was decided, no id between `above` and `below` was in use.
    """

    counter: str
    digits: str
    how_many: int
    above: int
    below: int

    @classmethod
    def between(cls, counter: str, above: int, below: int, how_many: int = 1) -> NewIds:
        if how_many > 10**_PROVISIONAL_DIGITS:
            raise ValueError(
                f"{how_many} new ids at once: at most {10**_PROVISIONAL_DIGITS} can be told apart"
            )
        return cls(counter, str(10**11 + secrets.randbelow(9 * 10**11)), how_many, above, below)

    def given_from(self, first: int) -> Callable[[str], str]:
        """Texts with `first` in place of `provisional(0)`, and so on: what publish.lua does where nothing is signed."""
        provisional = re.compile(f"{self.digits}([0-9]{{{_PROVISIONAL_DIGITS}}})")
        return lambda text: provisional.sub(lambda found: str(first + int(found[1])), text)

    def provisional(self, number: int = 0) -> int:
        """Of 18 digits; which is higher than any that `IDS_FOLLOWED_BELOW` follows."""
        return int(f"{self.digits}{number:0{_PROVISIONAL_DIGITS}}")
