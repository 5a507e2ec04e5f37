"""The error tree: what can go wrong, its exit code, and what to do next.

::

    UlasisError 1
    ├── SettingsError 2             a flag, a variable or a file says something unusable
    ├── ServerError 10              the database server or a client program
    │   ├── ServerUnreachable 11
    │   ├── LoginRefused 12
    │   ├── PrivilegeMissing 13
    │   ├── ProgramMissing 14
    │   ├── ServerUnsuitable 15     a global setting would cut or bend the dump
    │   ├── DumpFailed 16
    │   ├── SchemaChanged 17        DDL ran while the dump was read
    │   ├── LoadFailed 18
    │   └── ScratchServerFailed 19
    ├── StorageError 20
    │   ├── StorageDenied 21
    │   ├── StorageFull 22
    │   ├── NameTaken 23
    │   └── BlobMissing 24
    ├── RepositoryError 30
    │   ├── BackupNotFound 31
    │   ├── AmbiguousName 32
    │   └── UnknownFormat 33        written by a newer version
    ├── IntegrityError 40           bytes are not what was written (digest)
    │   ├── AuthenticationFailed 41
    │   ├── WrongKey 42
    │   └── NotEqual 44             restored, but not equal to the backup
    ├── Refused 50                  refused for safety
    │   ├── ConfirmationNeeded 51
    │   ├── Busy 52                 another run works on the same database, or others its tables
    │   └── SwapIncomplete 53       a database is between its old and its new state
    ├── CouldNotCheck 60
    ├── FollowUpFailed 61           the backup is made, what follows it failed
    └── ObjectsLeftOut 62           the backup is made, without objects the server cannot read

The codes are stable: scripts and monitors may rely on them. 43 is kept for binlog gaps.
"""

from __future__ import annotations

from typing import ClassVar


class UlasisError(Exception):
    """Something a person has to know: one sentence, and a hint that says what to do next."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SettingsError(UlasisError):
    """A flag, an environment variable or a settings file says something unusable."""

    exit_code = 2


class ServerError(UlasisError):
    """The database server or a client program reported an error."""

    exit_code = 10


class ServerUnreachable(ServerError):
    """No connection to the server could be made, or it was lost."""

    exit_code = 11


class LoginRefused(ServerError):
    """The server refused user name, password or TLS."""

    exit_code = 12


class PrivilegeMissing(ServerError):
    """The login lacks rights without which the work would be incomplete."""

    exit_code = 13


class ProgramMissing(ServerError):
    """A client or server program is not installed."""

    exit_code = 14


class ServerUnsuitable(ServerError):
    """A server setting would silently cut or bend what is read or written."""

    exit_code = 15


class DumpFailed(ServerError):
    """The dump program failed, or what it wrote is not a complete dump."""

    exit_code = 16


class SchemaChanged(ServerError):
    """Tables were altered, dropped, truncated or swapped while they were dumped."""

    exit_code = 17


class LoadFailed(ServerError):
    """Loading a backup into a server failed."""

    exit_code = 18


class ScratchServerFailed(ServerError):
    """A scratch server could not be initialised or started."""

    exit_code = 19


class StorageError(UlasisError):
    """The storage reported an error."""

    exit_code = 20


class StorageDenied(StorageError):
    """The storage may not be read or written by us."""

    exit_code = 21


class StorageFull(StorageError):
    """There is no room left (disk full, quota, file size limit)."""

    exit_code = 22


class NameTaken(StorageError):
    """A blob of this name exists already; blobs are never overwritten."""

    exit_code = 23


class BlobMissing(StorageError):
    """A blob that must exist does not."""

    exit_code = 24


class RepositoryError(UlasisError):
    """The repository cannot be used as it is."""

    exit_code = 30


class BackupNotFound(RepositoryError):
    """No backup answers to the given name."""

    exit_code = 31


class AmbiguousName(RepositoryError):
    """More than one backup answers to the given name."""

    exit_code = 32


class UnknownFormat(RepositoryError):
    """A newer version wrote this; reading or writing it would be guessing."""

    exit_code = 33


class IntegrityError(UlasisError):
    """Stored bytes are not what was written: damaged, truncated, malformed."""

    exit_code = 40


class AuthenticationFailed(IntegrityError):
    """Stored bytes are not authentic: changed, swapped, downgraded, or never signed."""

    exit_code = 41


class WrongKey(IntegrityError):
    """The configured key is not the one that the backup was made with, or there is none."""

    exit_code = 42


class NotEqual(IntegrityError):
    """What a server holds after a restore is not what the backup holds."""

    exit_code = 44


class Refused(UlasisError):
    """Doing this could lose data, so it was not done."""

    exit_code = 50


class ConfirmationNeeded(Refused):
    """Live data would be replaced and nobody said yes."""

    exit_code = 51


class Busy(Refused):
    """Another backup or restore of the same database is running, or its tables are in use."""

    exit_code = 52


class SwapIncomplete(Refused):
    """A restore has moved tables, and has neither been finished nor taken back."""

    exit_code = 53


class CouldNotCheck(UlasisError):
    """A check could not be carried out; that is neither OK nor failed."""

    exit_code = 60


class FollowUpFailed(UlasisError):
    """The backup is made and listed, but something that follows it failed."""

    exit_code = 61


class ObjectsLeftOut(UlasisError):
    """The backup is made and listed, but objects that the server cannot read are not in it."""

    exit_code = 62


INTERRUPTED = 130
TERMINATED = 143
UNEXPECTED = 1


def all_errors() -> tuple[type[UlasisError], ...]:
    """Return every class of the tree, parents before children."""

    def walk(error: type[UlasisError]) -> tuple[type[UlasisError], ...]:
        below = (found for child in error.__subclasses__() for found in walk(child))
        return (error, *below)

    return walk(UlasisError)
