"""Sessions prepared for a while: in a database, with other settings, and put back after."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping

from ulasis_backup.mysql.server import QueryFailed, Server, quote

Value = str | int | None

ELSEWHERE = "information_schema"
"""Where a session goes that was in no database before: SHOW CREATE VIEW shows the same in both."""


@contextlib.contextmanager
def prepared(
    server: Server,
    database: str,
    settings: Mapping[str, Value],
    *,
    wished: Mapping[str, Value] | None = None,
) -> Iterator[None]:
    """Work in *database* with *settings*, and with *wished* where the server has and allows them.

    Everything is put back after. Raises QueryFailed, e.g. for an unknown time zone.
    """
    wished = wished or {}
    home = server.value("SELECT DATABASE()")
    before = _values(server, [*settings, *wished])
    changed = {name: before.get(name, "") for name in settings}
    try:
        server.run(f"USE {quote(database)}")
        for name, value in wished.items():
            if name in before and before[name] != _shown(value):
                with contextlib.suppress(QueryFailed):
                    _set(server, {name: value})
                    changed[name] = before[name]
        _set(server, settings)
        yield
    finally:
        _put_back(server, changed, home)


def literal(value: Value) -> str:
    """Return *value* as SQL; text must be free of backslashes."""
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


def _values(server: Server, names: Iterable[str]) -> dict[str, str]:
    listed = ", ".join(f"'{name}'" for name in names)
    rows = server.query(f"SHOW SESSION VARIABLES WHERE Variable_name IN ({listed})")
    return {str(name): str(value) for name, value in rows}


def _shown(value: Value) -> str:
    """Return *value* as SHOW VARIABLES would."""
    return {0: "OFF", 1: "ON"}.get(value, str(value)) if isinstance(value, int) else value or ""


def _set(server: Server, settings: Mapping[str, Value]) -> None:
    assigned = ", ".join(f"{name} = {literal(value)}" for name, value in settings.items())
    server.run(f"SET SESSION {assigned}")


def _put_back(server: Server, changed: Mapping[str, str], home: str | None) -> None:
    # First what is ASCII throughout, for the session may be in any character set.
    if "timestamp" in changed:
        # What is shown of it is the clock; to set that would stop it.
        server.run("SET SESSION timestamp = DEFAULT")
    values: dict[str, Value] = {k: v for k, v in changed.items() if k != "timestamp"}
    if values.get("character_set_results") == "":
        values["character_set_results"] = None
    _set(server, values)
    try:
        server.run(f"USE {quote(home or ELSEWHERE)}")
    except QueryFailed:
        server.run(f"USE {ELSEWHERE}")
