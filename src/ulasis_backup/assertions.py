"""What a restored database must answer: a query of the user's, and what is expected of its value.

Written by hand in the settings, asked in the scratch server of a test restore.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Number = int | float
_AGE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(second|minute|hour|day|week)s?\s*")
EXPECTATIONS = ("equals", "at_least", "at_most", "between", "younger_than")
LONGEST_SHOWN = 80


class Assertion(BaseModel):
    """A query and what its value, the first column of its only row, must be.

    ``younger_than`` holds the value, a moment in UTC, against that of the backup. ``database``
    is where the query runs; empty: in the first of the backup, and only there is it asked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, strict=True)

    name: str = Field(min_length=1)
    sql: str = Field(min_length=1)
    database: str = ""
    equals: int | float | str | None = None
    at_least: Number | None = None
    at_most: Number | None = None
    between: tuple[Number, Number] | None = None
    younger_than: str | None = None

    @field_validator("between", mode="before")
    @classmethod
    def _pair(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("younger_than")
    @classmethod
    def _span(cls, value: str | None) -> str | None:
        if value is not None and not _AGE.fullmatch(value):
            msg = 'a span of time is needed, such as "1 day" or "90 minutes"'
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _one(self) -> Assertion:
        if len([name for name in EXPECTATIONS if getattr(self, name) is not None]) != 1:
            msg = f"exactly one of {', '.join(EXPECTATIONS)} is needed"
            raise ValueError(msg)
        return self

    @property
    def expected(self) -> str:
        """Return what is expected, for people."""
        if self.between is not None:
            return f"between {self.between[0]} and {self.between[1]}"
        name = next(name for name in EXPECTATIONS if getattr(self, name) is not None)
        return f"{name.replace('_', ' ')} {getattr(self, name)}"

    def holds(self, value: object, *, made_at: datetime) -> bool:
        """Tell whether *value*, of the query, is as expected of a backup *made_at* that moment."""
        if self.younger_than is not None:
            moment = _moment(value)
            return moment is not None and made_at - moment < _span_of(self.younger_than)
        if isinstance(self.equals, str):
            return shown(value, most=None) == self.equals
        number = _number(value)
        if number is None:
            return False
        if self.equals is not None:
            return number == _exact(self.equals)
        low, high = self.between or (self.at_least, self.at_most)
        return (low is None or _exact(low) <= number) and (high is None or number <= _exact(high))


def shown(value: object, *, most: int | None = LONGEST_SHOWN) -> str:
    """Return *value* as text, at most so many letters of it."""
    if isinstance(value, bytes):
        text = value.decode("utf-8", "backslashreplace")
    else:
        text = "NULL" if value is None else str(value)
    return text if most is None or len(text) <= most else text[:most] + "…"


def _number(value: object) -> Decimal | None:
    try:
        return Decimal(shown(value, most=None).strip())
    except InvalidOperation:
        return None


def _exact(value: Number) -> Decimal:
    return Decimal(str(value))


def _moment(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    try:
        found = datetime.fromisoformat(shown(value, most=None).strip())
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _span_of(text: str) -> timedelta:
    match = _AGE.fullmatch(text)
    if match is None:
        msg = "the span was checked when the settings were read"
        raise ValueError(msg)
    return timedelta(**{f"{match[2]}s": float(match[1])})
