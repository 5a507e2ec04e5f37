"""Connections to a server: guarded sessions, flavour and version, one name lock per database."""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.constants import CR, ER

from ulasis_backup.errors import (
    Busy,
    LoginRefused,
    PrivilegeMissing,
    ServerError,
    ServerUnreachable,
    ServerUnsuitable,
)
from ulasis_backup.model import Flavour, Login, ServerVersion

if TYPE_CHECKING:
    from typing_extensions import Buffer

Row = tuple[Any, ...]
Connector = Callable[..., Any]
"""What makes a connection of PyMySQL's, or of a child of its class."""

LONG = 86_400
"""Seconds: time-outs of our sessions, far above anything a backup waits for."""

CONNECT_SECONDS = 10
LOGIN_ERRORS = frozenset({ER.ACCESS_DENIED_ERROR, 1698, 1820, 1862, 3118, 3159, 4151})
TLS_ERROR = 2026
SYSTEM_DATABASES = frozenset({"information_schema", "performance_schema", "mysql", "sys"})

SESSION = {
    "sql_mode": "",
    "tx_isolation": "REPEATABLE-READ",
    "sql_select_limit": 18_446_744_073_709_551_615,
    "net_read_timeout": LONG,
    "net_write_timeout": LONG,
    "wait_timeout": LONG,
    "time_zone": "+00:00",
    "sql_quote_show_create": 1,
    # Sorting by the first bytes of a key alone would put ranges of it out of order. Longer than any
    # key with its weights, and short enough that long texts can be sorted by at all (1038).
    "max_sort_length": 64 << 10,
    "sort_buffer_size": 4 << 20,
}
"""What every session of ours sets and reads back: a server's defaults must not bend results."""

MYSQL_SESSION = {
    # Else a condition with a date that the table does hold may be an error (1525).
    "sql_mode": "ALLOW_INVALID_DATES",
    # Keys that the server added by itself are part of the table; hidden they would not be read.
    "show_gipk_in_create_table_and_information_schema": 1,
}
"""What MySQL needs otherwise, where it has such a variable."""

LENIENT = "ulasis-utf8"
"""UTF-8 in which bytes that are none survive as surrogates: SHOW CREATE gives the text of old
routines and of introducers as it was typed, whatever charset the session asks for."""


def _lenient_codec(name: str) -> codecs.CodecInfo | None:
    if name != LENIENT.replace("-", "_"):
        return None

    def encode(text: str, _errors: str = "") -> tuple[bytes, int]:
        return text.encode("utf-8", "surrogateescape"), len(text)

    def decode(data: Buffer, _errors: str = "") -> tuple[str, int]:
        return bytes(data).decode("utf-8", "surrogateescape"), len(bytes(data))

    return codecs.CodecInfo(encode, decode, name=LENIENT)


codecs.register(_lenient_codec)


@dataclass(frozen=True, slots=True)
class Server:
    """An open connection to a server, as one login."""

    connection: pymysql.connections.Connection[pymysql.cursors.Cursor]
    login: Login
    version: ServerVersion
    has_tls: bool

    @property
    def is_mariadb(self) -> bool:
        """Tell whether the server is a MariaDB."""
        return self.version.flavour is Flavour.MARIADB

    def query(self, sql: str, arguments: Sequence[object] | None = None) -> list[Row]:
        """Run *sql* and return all rows. Raises ServerError and its children."""
        with translated(self.login), self.connection.cursor() as cursor:
            cursor.execute(sql, arguments)
            return list(cursor.fetchall())

    def value(self, sql: str, arguments: Sequence[object] | None = None) -> Any:  # noqa: ANN401
        """Run *sql* and return the first column of its first row, or None."""
        rows = self.query(sql, arguments)
        return rows[0][0] if rows else None

    def run(self, sql: str, arguments: Sequence[object] | None = None) -> None:
        """Run *sql* for its effect."""
        self.query(sql, arguments)

    def run_bytes(self, sql: bytes) -> list[dict[str, Any]]:
        """Run *sql*, sent as it is, and return each row by column, all text as bytes."""
        self.connection.use_unicode = False
        try:
            with translated(self.login), self.connection.cursor() as cursor:
                cursor.execute(sql)  # type: ignore[call-overload]  # it takes bytes too
                names = [str(column[0]) for column in cursor.description or ()]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        finally:
            self.connection.use_unicode = True


NOT_COMMITTED = (
    "rows that the server would not take: a duplicate key, or no room left. Look for room in its "
    "datadir and tmpdir; if there is enough, `ulasis-backup verify` this backup, or use another"
)
"""What MariaDB calls an error of COMMIT (1180) says nothing of its cause."""


class QueryFailed(ServerError):
    """A statement failed; ``number`` is the server's error number."""

    def __init__(self, message: str, *, hint: str = "", number: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.number = number


class DatabaseDenied(QueryFailed):
    """The login has no right, or lacks the one needed, on a whole database (error 1044)."""

    exit_code = PrivilegeMissing.exit_code


@contextlib.contextmanager
def connect(
    login: Login,
    *,
    database: str | None = None,
    connector: Connector = pymysql.connect,
) -> Iterator[Server]:
    """Open a guarded session as *login*, and close it.

    *connector* makes the connection; another one may be able to do more. Raises
    ServerUnreachable, LoginRefused, ServerUnsuitable.
    """
    with translated(login):
        connection = connector(**_arguments(login, database))
        connection.encoding = LENIENT
    try:
        with translated(login):
            server = _guarded(connection, login)
        yield server
    finally:
        with contextlib.suppress(pymysql.Error, OSError):
            connection.close()


def quote(name: str) -> str:
    """Return *name* as an SQL identifier."""
    return "`" + name.replace("`", "``") + "`"


def quote_bytes(name: str) -> bytes:
    """Return ``quote(name)`` as it stands in a dump."""
    return quote(name).encode("utf-8", "surrogateescape")


@contextlib.contextmanager
def locked(server: Server, database: str) -> Iterator[None]:
    """Keep other backups and restores of *database* on this server away; raises Busy.

    The lock belongs to the session: it is gone with us, however we end.
    """
    name = "ulasis-backup:" + hashlib.sha256(database.encode()).hexdigest()[:32]
    if server.value("SELECT GET_LOCK(%s, 0)", (name,)) != 1:
        message = f"another backup or restore of {database} is running on this server"
        raise Busy(message, hint="wait until it is done; it shows in SHOW PROCESSLIST")
    try:
        yield
    finally:
        with contextlib.suppress(ServerError):
            server.run("SELECT RELEASE_LOCK(%s)", (name,))


def databases(server: Server) -> tuple[str, ...]:
    """Return the names of all databases that are not the server's own."""
    rows = server.query("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA ORDER BY 1")
    return tuple(name for (name,) in rows if name.lower() not in SYSTEM_DATABASES)


def server_id(server: Server) -> str:
    """Return what tells this server from others in one word; empty where it has no such id."""
    wanted = "server_uid" if server.is_mariadb else "server_uuid"
    rows = server.query(f"SHOW GLOBAL VARIABLES LIKE '{wanted}'")
    return str(rows[0][1]) if rows else ""


def _arguments(login: Login, database: str | None) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "user": login.user,
        # As bytes: PyMySQL would encode text as latin1, the client programs send UTF-8.
        "password": login.password.reveal().encode(),
        "database": database,
        "charset": "utf8mb4",
        "autocommit": True,
        "connect_timeout": CONNECT_SECONDS,
        "local_infile": False,
    }
    if login.by_socket:
        return arguments | {"unix_socket": login.socket, "ssl_disabled": True}
    return arguments | {"host": login.host, "port": login.port} | _tls(login)


def _tls(login: Login) -> dict[str, Any]:
    if not login.ssl_require:
        return {"ssl_disabled": True}
    try:
        context = ssl.create_default_context(cafile=login.ssl_ca or None)
    except (OSError, ssl.SSLError) as error:
        message = f"DB_SSL_CA: cannot use {login.ssl_ca}: {error}"
        raise ServerUnreachable(message, hint="give the path of a CA file in PEM") from None
    if not login.ssl_ca:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return {"ssl": context}


def _guarded(
    connection: pymysql.connections.Connection[pymysql.cursors.Cursor], login: Login
) -> Server:
    # What the server says in its greeting could be a proxy's idea.
    with connection.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        version = _version(str((cursor.fetchone() or ("",))[0]))
    has_tls = not login.by_socket and login.ssl_require
    server = Server(connection, login, version, has_tls)
    names = dict(SESSION)
    if not server.is_mariadb:
        names |= {name: value for name, value in MYSQL_SESSION.items()
                  if _has_variable(server, name)}  # fmt: skip
    if not _has_variable(server, "tx_isolation"):
        names = {name.replace("tx_", "transaction_"): value for name, value in names.items()}
    endless = "max_statement_time" if server.is_mariadb else "max_execution_time"
    names[endless] = 0
    for name, value in names.items():
        server.run(f"SET SESSION {name} = %s", (value,))
    read = server.query("SELECT " + ", ".join(f"@@SESSION.{name}" for name in names))[0]
    for (name, value), found in zip(names.items(), read, strict=True):
        if not _same(found, value):
            message = f"the server keeps {name} at {found!r} for our session; {value!r} is needed"
            raise ServerUnsuitable(message, hint="check proxies and init_connect of the server")
    if has_tls and not server.query("SHOW STATUS LIKE 'Ssl_cipher'")[0][1]:
        message = f"the connection to {login.endpoint} is not encrypted"
        raise LoginRefused(message, hint="switch TLS on in the server, or unset DB_SSL_REQUIRE")
    return server


def _same(found: object, value: object) -> bool:
    """Compare a variable's value as read with the one set; numbers come in several types."""
    if isinstance(value, int) and isinstance(found, int | float | Decimal):
        return found == value
    return str(found) == str(value)


def _has_variable(server: Server, name: str) -> bool:
    return bool(server.query("SHOW SESSION VARIABLES LIKE %s", (name,)))


def _version(text: str) -> ServerVersion:
    # Old MariaDB servers put "5.5.5-" first, for the sake of replicas.
    text = text.removeprefix("5.5.5-") if "mariadb" in text.lower() else text
    flavour = Flavour.MARIADB if "mariadb" in text.lower() else Flavour.MYSQL
    return ServerVersion(flavour=flavour, version=text)


@contextlib.contextmanager
def translated(login: Login) -> Iterator[None]:
    """Turn errors of the driver into ours; none of them shows the password."""
    try:
        yield
    except pymysql.err.MySQLError as error:
        raise _translate(error, login) from None
    except (OSError, socket.gaierror) as error:
        message = f"cannot reach the server at {login.endpoint}: {error}"
        raise ServerUnreachable(message, hint=_unreachable_hint(login)) from None
    except RuntimeError as error:
        # PyMySQL says so when an authentication plugin needs a package or TLS.
        message = f"cannot log in as {login.user} at {login.endpoint}: {error}"
        raise LoginRefused(message, hint="set DB_SSL_REQUIRE=true, or use a socket") from None


def _translate(error: pymysql.err.MySQLError, login: Login) -> ServerError:
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    if number in LOGIN_ERRORS:
        hint = f"check {login.role} and its password; `ulasis-backup check` tests the login"
        return LoginRefused(f"the server at {login.endpoint} says: {text}", hint=hint)
    if number == ER.DBACCESS_DENIED_ERROR:
        hint = "a right on that database is missing; `ulasis-backup check` prints the GRANT"
        return DatabaseDenied(f"the server says: {text} (1044)", hint=hint, number=number)
    if number == TLS_ERROR:
        hint = "switch TLS on in the server, check DB_SSL_CA, or unset DB_SSL_REQUIRE"
        return LoginRefused(f"no TLS with the server at {login.endpoint}: {text}", hint=hint)
    lost = {CR.CR_SERVER_LOST, CR.CR_SERVER_GONE_ERROR, CR.CR_CONN_HOST_ERROR}
    if number in lost or isinstance(error, pymysql.err.InterfaceError):
        message = f"no connection to the server at {login.endpoint}: {text}"
        return ServerUnreachable(message, hint=_unreachable_hint(login))
    hint = "see the server's documentation of this error number"
    return QueryFailed(f"the server says: {text} ({number})", hint=hint, number=number)


def _unreachable_hint(login: Login) -> str:
    names = "DB_SOCKET" if login.by_socket else "DB_HOST and DB_PORT"
    hint = f"is the server running? check {names}"
    if login.host == "localhost" and not login.socket:
        hint += "; a server without TCP needs DB_SOCKET, e.g. /run/mysqld/mysqld.sock"
    return hint
