"""What an object is stored as a difference of: a pure decision."""

from __future__ import annotations

from dataclasses import dataclass

DAY = "day"
WEEK = "week"
Chain = tuple[tuple[str, str], ...]
"""The objects that one builds on, next one first, each with the kind of the link to it."""

DAYS = 6
"""Links of a day behind each other, at most; the next one leads back over all of them."""

MOST_LINKS = 10
WORTH = 4
"""A difference must be at least so many times smaller than a whole object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Where a piece of plain bytes lies.

    ``chain`` lists the objects that the object *name* builds on. ``stored`` are its bytes as a
    file, ``full`` those of the whole object at the end of the chain (its own without a chain).
    """

    fingerprint: str
    name: str
    chain: Chain
    stored: int
    full: int

    @property
    def objects(self) -> tuple[str, ...]:
        """Return the names of all objects that are needed to read this one."""
        return (self.name, *(name for name, _ in self.chain))


def choose_base(before: Stored | None) -> Chain:
    """Return the chain for the successor of *before*; empty: store it whole.

    The first object of the chain is its base: the object before, or, when six links of a day
    have come together, the one that lies behind them. Then those six need not be read for it.
    """
    if before is None:
        return ()
    chain: Chain = ((before.name, DAY), *before.chain)
    if [kind for _, kind in before.chain[:DAYS]] == [DAY] * DAYS:
        chain = ((before.chain[DAYS - 1][0], WEEK), *before.chain[DAYS:])
    return chain if len(chain) <= MOST_LINKS else ()


def worth_it(stored: int, full: int) -> bool:
    """Tell whether a difference of *stored* bytes is worth its link; whole objects have *full*."""
    return stored * WORTH <= full
