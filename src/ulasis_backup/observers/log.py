"""Log lines on standard error, one event a line, made to be grepped.

``2026-11-22T02:00:14Z INFO     backup ended  backup=… seconds=13.9``
"""

from __future__ import annotations

import sys
import time
from typing import Literal

import structlog

from ulasis_backup.events import Event, Notice, Observe, PhaseBegan, PhaseEnded
from ulasis_backup.model import printable

EVERY_SECONDS = 30
LEVELS = {-1: 40, 0: 30, 1: 20, 2: 10}
"""Least level that is shown, by verbosity: ``-q`` errors, default warnings, ``-v``, ``-vv``."""


def configure(verbosity: int, form: Literal["text", "json"]) -> None:
    """Send log lines of at least the level of *verbosity* (-1 to 2) to standard error."""
    render = structlog.processors.JSONRenderer(ensure_ascii=False) if form == "json" else _line
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%SZ", utc=True),
            _level_first,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[max(-1, min(2, verbosity))]),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


def log_events() -> Observe:
    """Return an observer that logs phases at INFO, long ones repeatedly, notices at WARNING."""
    logger = structlog.get_logger()
    phase, said = PhaseBegan(name=""), time.monotonic()

    def observe(event: Event) -> None:
        nonlocal phase, said
        if isinstance(event, PhaseBegan):
            phase, said = event, time.monotonic()
            logger.info("began", phase=event.name, subject=event.subject)
        elif isinstance(event, PhaseEnded):
            logger.info("ended", phase=event.name, **dict(event.facts))
        elif isinstance(event, Notice):
            logger.warning(event.message, **({"hint": event.hint} if event.hint else {}))
        elif time.monotonic() - said > EVERY_SECONDS:
            said = time.monotonic()
            logger.info("goes on", phase=phase.name, bytes=event.done, of=phase.total)

    return observe


def log_error(message: str, hint: str, exit_code: int) -> None:
    """Write the line that a monitor greps for, in the format that was configured."""
    structlog.get_logger().error(message, exit_code=exit_code, hint=hint)


def _level_first(
    _logger: object, name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    event["level"] = name.upper()
    return event


def _line(_logger: object, _name: str, event: structlog.typing.EventDict) -> str:
    """Render time, level and message first, then the facts as ``name=value``."""
    time, level, message = event.pop("timestamp"), event.pop("level"), event.pop("event")
    hint = event.pop("hint", "")
    facts = " ".join(f"{name}={_value(value)}" for name, value in event.items())
    parts = [f"{time} {level:<8} {_one_line(message)}"]
    parts += [facts] if facts else []
    parts += [f"HINT: {_one_line(hint)}"] if hint else []
    return "  ".join(parts)


def _value(value: object) -> str:
    text = _one_line(str(value))
    return f'"{text}"' if " " in text else text


def _one_line(text: str) -> str:
    joined = " / ".join(line.strip() for line in str(text).splitlines() if line.strip())
    return printable(joined)
