"""What may leave this machine in an alert: no secret, and no value out of a row."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydantic import SecretStr

from ulasis_backup.model import printable
from ulasis_backup.settings import SECRETS, Settings

MOST_CHARACTERS = 3000
HIDDEN = "…"
_QUOTED = r"'(?:[^'\\]|\\.|'')*'?"
_VALUES = re.compile(rf"(?i)\b(entry|values?:?|near|text|literal)(\s+){_QUOTED}")
"""Where servers quote what stands in rows: ``Duplicate entry 'a@b.c' for key``, ``Incorrect
integer value: 'x' for column``, ``syntax to use near '…'``."""
_KEYS = re.compile(
    r"(?s)(first column |from key |to key )(?:(?!first column |from key ).)*?"
    r"(?=: (?:[0-9a-f]{12}|no row|nothing) in the backup)"
)
"""Where we name the row or the range of keys that differs."""
_FROM_KEY = re.compile(r"(?s)(, from key ).{0,400}(?=: )")
"""Where we name the range that cannot be read; a key may hold a colon, too."""
_LOGIN_IN_URL = re.compile(r"([a-z][a-z0-9+.-]*://)[^\s/@]+@")
_SHORTEST_SECRET = 4


def discreet(text: str, secrets: Iterable[str]) -> str:
    """Return *text* without *secrets*, logins in addresses, values of rows, control characters."""
    for secret in sorted(secrets, key=len, reverse=True):
        # A secret of a letter or two would tear every word apart, and show by the gaps.
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, HIDDEN)
    text = _VALUES.sub(rf"\1\2'{HIDDEN}'", _LOGIN_IN_URL.sub(rf"\1{HIDDEN}@", text))
    text = printable(_KEYS.sub(rf"\1{HIDDEN}", _FROM_KEY.sub(rf"\1{HIDDEN}", text)))
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + HIDDEN


def secrets_of(settings: Settings) -> tuple[str, ...]:
    """Return every secret in *settings*, in plain."""
    found = (getattr(settings, name) for name in SECRETS)
    return tuple(
        value.get_secret_value()
        for value in found
        if isinstance(value, SecretStr) and value.get_secret_value()
    )
