"""What a method gives to a backup: a stream of plain bytes, and afterwards what it contained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ulasis_backup.model import (
    LeftOut,
    ObjectSummary,
    Position,
    Shared,
    TableSummary,
    TextLoss,
    Witness,
)
from ulasis_backup.repository.manifest import Plain
from ulasis_backup.streams.pipeline import Chunks


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """What a finished capture contained, and what has to be said about it.

    ``known`` are those of the ``fallbacks`` that the last backup was made with, too: they are
    recorded again, and not told every night.
    """

    program: str
    plain: Plain
    tables: tuple[TableSummary, ...]
    objects: tuple[ObjectSummary, ...]
    position: Position | None
    left_out: tuple[LeftOut, ...]
    text_losses: tuple[TextLoss, ...]
    fallbacks: tuple[str, ...]
    warnings: tuple[str, ...]
    shared: Shared | None = None
    known: tuple[str, ...] = ()
    witness: tuple[Witness, ...] = ()


class Capture(Protocol):
    """One database being read at one moment."""

    def chunks(self) -> Chunks:
        """Yield the plain bytes; whatever makes them unfit for a backup raises at the end."""
        ...

    def captured(self) -> Captured:
        """Return what was read, once ``chunks`` has ended without an error."""
        ...
