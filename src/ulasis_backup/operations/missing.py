"""Rights that are missing in several places, named in one refusal: not one for each run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

from ulasis_backup.errors import PrivilegeMissing, UlasisError

ASK = "run as an administrator: "


def refuse_together(looks: Iterable[Callable[[], object]]) -> None:
    """Raise one PrivilegeMissing for all that *looks* raise; other errors are left to others."""
    found: dict[str, str] = {}
    for look in looks:
        with suppress(UlasisError):
            try:
                look()
            except PrivilegeMissing as error:
                found.setdefault(error.message, error.hint)
    if found:
        hints = dict.fromkeys(hint.removeprefix(ASK) for hint in found.values())
        raise PrivilegeMissing("; ".join(found), hint=ASK + " ".join(hints))
