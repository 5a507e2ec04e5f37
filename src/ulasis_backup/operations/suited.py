"""What objects need of a target beside rights: settings it must know, names it must keep apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ulasis_backup.errors import ServerUnsuitable
from ulasis_backup.methods.definers import Traits
from ulasis_backup.model import ObjectKind
from ulasis_backup.mysql.server import QueryFailed, Server
from ulasis_backup.operations.source import Source

MOST_NAMES = 5
UNKNOWN_MODE, UNKNOWN_ZONE = 1231, 1298
ZONES_HINT = {
    True: "mariadb-tzinfo-to-sql /usr/share/zoneinfo | mariadb mysql",
    False: "mysql_tzinfo_to_sql /usr/share/zoneinfo | mysql mysql",
}
STORED_LOWER = 1
"""lower_case_table_names: names are kept in lower case; with 2 they are only compared so."""


def refuse_unknown_settings(server: Server, traits: tuple[Traits, ...]) -> None:
    """Raise ServerUnsuitable for a sql_mode or time zone that *server* does not know.

    Tried in our own session, which is put back; nothing else sees it.
    """
    modes = _unknown(server, "sql_mode", {t.sql_mode for t in traits}, UNKNOWN_MODE)
    if modes:
        what = "; ".join(f"{mode}: {_labels(traits, mode=mode)}" for mode in modes)
        message = f"the target does not know the sql_mode of objects of the backup: {what}"
        hint = "create them again without it on the source, or restore on a server that knows it"
        raise ServerUnsuitable(message, hint=hint)
    zones = _unknown(server, "time_zone", {t.time_zone for t in traits}, UNKNOWN_ZONE)
    if zones:
        what = "; ".join(f"{zone}: {_labels(traits, zone=zone)}" for zone in zones)
        message = f"the target does not know the time zone of events of the backup: {what}"
        hint = f"load its time zone tables, as an administrator: {ZONES_HINT[server.is_mariadb]}"
        raise ServerUnsuitable(message, hint=hint)


def _unknown(server: Server, variable: str, values: set[str], number: int) -> list[str]:
    before = server.value(f"SELECT @@SESSION.{variable}")
    unknown = []
    try:
        for value in sorted(values - {""}):
            try:
                server.run(f"SET SESSION {variable} = %s", (value,))
            except QueryFailed as error:
                if error.number != number:
                    raise
                unknown.append(value)
    finally:
        server.run(f"SET SESSION {variable} = %s", (before,))
    return unknown


def _labels(traits: tuple[Traits, ...], *, mode: str = "", zone: str = "") -> str:
    labels = [
        t.label for t in traits if (mode and t.sql_mode == mode) or (zone and t.time_zone == zone)
    ]
    return _few(labels)


def refuse_changed_names(server: Server, source: Source, target: str) -> None:
    """Raise ServerUnsuitable for names that *server* would change, or take for the same.

    That is with lower_case_table_names 1 or 2; it concerns databases, tables, views, triggers.
    """
    setting = int(server.value("SELECT @@lower_case_table_names"))
    if not setting:
        return
    doubled = list(_doubled(source))
    if doubled:
        message = (
            f"the target has lower_case_table_names = {setting}; these names would be one there: "
            f"{_few(doubled)}"
        )
        raise ServerUnsuitable(message, hint="restore on a server with lower_case_table_names = 0")
    if setting != STORED_LOWER:
        return
    changed = [name for name in [f"database {target}", *_names(source)] if _capital(name)]
    if changed:
        message = (
            "the target has lower_case_table_names = 1 and would give other names to "
            f"{_few(changed)}"
        )
        hint = "restore on a server with lower_case_table_names = 0"
        if _capital(target):
            hint = f"restore into --target-database {target.lower()}; else {hint}"
        raise ServerUnsuitable(message, hint=hint)


def _names(source: Source) -> Iterator[str]:
    yield from (f"table {table.name}" for table in source.contents.tables)
    kinds = (ObjectKind.VIEW, ObjectKind.SEQUENCE)
    yield from (f"{o.kind} {o.name}" for o in source.contents.objects if o.kind in kinds)


def _doubled(source: Source) -> Iterator[str]:
    """Yield pairs of tables, or of triggers, that differ in case alone."""
    triggers = [f"trigger {o.name}" for o in source.contents.objects if o.kind == "trigger"]
    for names in (list(_names(source)), triggers):
        seen: dict[str, str] = {}
        for label in names:
            other = seen.setdefault(label.split(" ", 1)[1].lower(), label)
            if other != label:
                yield f"{other} and {label}"


def _capital(label: str) -> bool:
    name = label.split(" ", 1)[-1]
    return name != name.lower()


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - MOST_NAMES} more" if len(listed) > MOST_NAMES else ""
    return ", ".join(listed[:MOST_NAMES]) + more
