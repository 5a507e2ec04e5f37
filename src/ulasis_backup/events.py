"""What the operations tell whoever listens: progress bars, logs, metrics, the audit log.

An operation calls its ``observe`` function with one of these values; it never prints or logs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseBegan:
    """A part of an operation began.

    ``total`` is the expected number of plain bytes (an estimate where ``exact`` is false),
    0 when the phase has no measurable length.
    """

    name: str
    subject: str = ""
    total: int = 0
    exact: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BytesMoved:
    """``done`` bytes of the current phase have passed (counted from the start of the phase)."""

    done: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseEnded:
    """The current phase is over; ``facts`` are worth a line in a log."""

    name: str
    facts: tuple[tuple[str, str | int | float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something a person should know although the operation goes on."""

    message: str
    hint: str = ""


Event = PhaseBegan | BytesMoved | PhaseEnded | Notice
Observe = Callable[[Event], None]


def ignore(_: Event) -> None:
    """Observe nothing: the observer of those who do not care."""
