"""Frozen values that every layer may use: servers, positions, tables, objects, verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Flavour(StrEnum):
    """Which family of server or client program."""

    MARIADB = "mariadb"
    MYSQL = "mysql"


class Kind(StrEnum):
    """Why a backup was made."""

    SCHEDULED = "scheduled"
    MANUAL = "manual"
    SAFETY = "safety"


class Verdict(StrEnum):
    """What is known about a backup; see promise 2 of the design."""

    PROVEN = "proven"
    INTACT = "intact"
    INTACT_UNSIGNED = "intact (unsigned)"
    UNCHECKED = "unchecked"
    FAILED = "failed"
    COULD_NOT_CHECK = "could-not-check"


class ObjectKind(StrEnum):
    """The kinds of objects of a database. Tables are told apart by their engine and rows."""

    TABLE = "table"
    VIEW = "view"
    TRIGGER = "trigger"
    PROCEDURE = "procedure"
    FUNCTION = "function"
    PACKAGE = "package"
    PACKAGE_BODY = "package body"
    EVENT = "event"
    SEQUENCE = "sequence"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerVersion:
    """Flavour and version of a server, e.g. MariaDB ``10.11.19-MariaDB-0+deb12u1``."""

    flavour: Flavour
    version: str

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Return major, minor and patch as numbers, for comparisons."""
        head = self.version.split("-", 1)[0].split(".")
        parts = [int("".join(c for c in part if c.isdigit()) or 0) for part in head[:3]]
        major, minor, patch = (*parts, 0, 0, 0)[:3]
        return major, minor, patch

    @property
    def series(self) -> str:
        """Return what must be equal for dumps to be comparable, e.g. ``mariadb 10.11``."""
        major, minor, _ = self.numbers
        return f"{self.flavour} {major}.{minor}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where in the binlog a backup stands: file, offset in bytes, GTID set (may be empty)."""

    file: str
    offset: int
    gtid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSummary:
    """One table of a backup.

    ``bytes`` counts the plain bytes of its rows in the dump. ``definition`` and ``rows_digest``
    are hexadecimal digests (keyed when the backup is encrypted); the AUTO_INCREMENT position is
    kept apart because it moves without a row changing. ``rows`` is None where the dump's format
    does not allow counting. ``database`` is empty where the backup is of one database by ``sql``.
    """

    name: str
    rows: int | None
    bytes: int
    definition: str
    rows_digest: str
    auto_increment: int | None = None
    database: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSummary:
    """A view, trigger, routine, event or sequence of a backup, with the digest of its text.

    ``position`` is the text that sets a sequence to its position, empty for other kinds.
    """

    kind: ObjectKind
    name: str
    digest: str
    position: str = ""
    database: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """An object that is not in the backup's payload, why, and its definition if there is one.

    ``asked`` tells that somebody wanted it so; else the server itself could not read it.
    """

    kind: ObjectKind
    name: str
    reason: str
    definition: str = ""
    database: str = ""
    asked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLoss:
    """What the text of an ``sql`` backup cannot hold: ``what`` is lost in ``values`` values.

    ``values`` is None where it could not be counted.
    """

    table: str
    column: str
    what: str
    values: int | None
    database: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """What the server itself showed of an object while a dump was made, beside what is in the dump.

    ``digest`` is of the definition, empty where it changed meanwhile; ``counter`` is between what
    the AUTO_INCREMENT of a table, or a sequence, was before and after.
    """

    kind: str
    name: str
    digest: str
    counter: tuple[int, int] | None = None
    database: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The size of some bytes and their digest in hexadecimal."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """The objects that a ``rows`` backup needs, bases of deltas included, and those it added.

    ``bytes`` and ``new_bytes`` are stored bytes; the payload, the index, is not among them.
    """

    objects: int
    bytes: int
    new_objects: int
    new_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditAnchor:
    """An entry of the audit log that a manifest names: whose log, its number, the SHA-256 of it.

    ``key`` is the fingerprint of the key that signed the entry.
    """

    host: str
    seq: int
    digest: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseOptions:
    """What ``CREATE DATABASE`` would say."""

    character_set: str
    collation: str
    comment: str = ""


def printable(text: str) -> str:
    """Return *text* without what would steer a terminal: names come from other people's data."""
    return "".join(
        character if character.isprintable() or character == "\n" else f"\\x{ord(character):02x}"
        for character in text
    )


class Secret:
    """A password or key that shows itself only when asked by name.

    Neither ``repr``, ``str``, formatting, nor a traceback of locals prints it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How to reach a server, and as whom.

    With ``socket`` set and ``host`` ``localhost`` the socket is used, otherwise TCP.
    ``role`` names the pair of settings for messages (``DB_USER`` or ``DB_RESTORE_USER``).
    """

    host: str
    port: int
    user: str
    password: Secret
    socket: str = ""
    ssl_require: bool = False
    ssl_ca: str = ""
    role: str = "DB_USER"

    @property
    def by_socket(self) -> bool:
        """Tell whether the Unix socket is used."""
        return bool(self.socket) and self.host == "localhost"

    @property
    def endpoint(self) -> str:
        """Return the address for messages: ``/run/mysqld/mysqld.sock`` or ``db1:3306``."""
        return self.socket if self.by_socket else f"{self.host}:{self.port}"
