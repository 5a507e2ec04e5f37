"""Canonical JSON: one value, one text. UTF-8, sorted keys, no spaces.

Text that does not serialise back to the same bytes, has a key twice, or is too large is refused
before anything in it is used.
"""

from __future__ import annotations

import json
from typing import Any

from ulasis_backup.errors import IntegrityError

MOST_BYTES = 64 << 20
Json = dict[str, Any]
HINT = "it is damaged or not ours; use another backup, or a copy of this one"


def to_bytes(value: Json) -> bytes:
    """Return the one text of *value*."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8", "surrogatepass")


def from_bytes(data: bytes, *, name: str) -> Json:
    """Return the object in *data*; *name* is for messages. Raises IntegrityError."""
    if len(data) > MOST_BYTES:
        raise IntegrityError(f"{name} is larger than {MOST_BYTES} bytes", hint=HINT)
    try:
        value = json.loads(
            data.decode("utf-8", "surrogatepass"), object_pairs_hook=_once, parse_constant=_refuse
        )
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{name} is not canonical JSON: {error}", hint=HINT) from None
    if not isinstance(value, dict) or to_bytes(value) != data:
        raise IntegrityError(f"{name} is not canonical JSON", hint=HINT)
    return value


def _once(pairs: list[tuple[str, Any]]) -> Json:
    value = dict(pairs)
    if len(value) != len(pairs):
        msg = "a key stands twice"
        raise ValueError(msg)
    return value


def _refuse(constant: str) -> None:
    msg = f"{constant} is not a number"
    raise ValueError(msg)
