"""An entry of the audit log as a file: what is in the open, what is sealed, and the signature.

In the open: whose log, the number, when it was stored, what kind, the SHA-256 of the entry before
it, which key signed. ``body``, which says who did what, is encrypted and padded where the
repository has a key. The signature covers the stored form, so that it can be checked without the
key that reads. docs/format.md describes every field.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ulasis_backup.errors import IntegrityError, UnknownFormat
from ulasis_backup.repository import canonical, sealed
from ulasis_backup.repository.canonical import Json
from ulasis_backup.streams.keys import DataKey
from ulasis_backup.streams.signing import PUBLIC_BYTES, Signer, fingerprint_of, is_signed

_T = TypeVar("_T")

FOLDER = "audit"
FORMAT = 1
MOST_BYTES = 1 << 20
MOST_TEXT = 1000
PADDED_TO = 512
"""Encrypted bodies are a multiple of so many bytes, so that their size names no command."""
DOMAIN = b"ulasis-backup/1/audit\0"
"""Stands before what is signed, so that no signature fits anything but an entry."""
BODY_ROLE = "audit/body"
DIGITS = 12
HINT = "somebody changed it, or the disk did; compare with a copy of the repository"
_HOST = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
_NAME = re.compile(rf"{FOLDER}/(?P<host>[^/]+)/(?P<seq>\d{{{DIGITS}}})\.json")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Kind(StrEnum):
    """What an entry is: about a run, or about the log itself."""

    RUN = "run"
    KEY = "key"
    TRIMMED = "trimmed"
    LOST = "lost"


class Event(StrEnum):
    """What an entry of a run tells."""

    BEGAN = "began"
    ENDED = "ended"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """An entry by its number and the SHA-256 of its bytes."""

    seq: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Who ran the command: as which user, and who had logged in or used sudo, if that is known."""

    user: str
    uid: int | None = None
    login_uid: int | None = None
    sudo_user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What tells a process from every other: number, start, boot, and whose numbers they are."""

    pid: int
    started: str = ""
    boot: str = ""
    space: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """A run that has begun and not ended, as far as the log says. ``seq`` is where it began."""

    run: str
    seq: int
    command: str
    at: str
    process: Process


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A setting that is not what it was in the run before; of secrets only that it changed."""

    setting: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A backup that a run made, and the digest of its manifest."""

    backup: str
    manifest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What an entry says of a run.

    ``at`` is when it happened, ``late`` whether it could be stored only afterwards. ``of`` is the
    number of the entry with which the run began, 0 where it has none. ``open`` are the runs that
    have not ended after this entry, so that nobody needs to read the whole log for them.
    """

    event: Event
    run: str
    at: str
    command: str
    who: Who
    process: Process
    tool: str
    arguments: tuple[str, ...] = ()
    repository: str = ""
    server: str = ""
    login: str = ""
    databases: tuple[str, ...] = ()
    backups: tuple[str, ...] = ()
    made: tuple[Made, ...] = ()
    changes: tuple[Change, ...] = ()
    code: int | None = None
    outcome: str = ""
    messages: tuple[str, ...] = ()
    seconds: float = 0.0
    of: int = 0
    late: bool = False
    open: tuple[OpenRun, ...] = ()
    padding: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What an entry says of the log itself.

    KEY: ``public``, a key that signs from now on. TRIMMED: ``first`` is the oldest entry that
    stays, ``previous`` what it names as the one before it, ``gone`` how many were removed,
    ``publics`` the keys that they told of. LOST: ``lost`` and ``digest`` are the entry that this
    machine had stored and did not find any more.
    """

    public: str = ""
    first: int = 0
    previous: str = ""
    gone: int = 0
    publics: tuple[str, ...] = ()
    lost: int = 0
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry as it is stored; nothing in it is believed before its signature was checked.

    Of ``facts``, ``body``, ``sealed`` exactly one is there. ``digest`` is the SHA-256 of its bytes.
    """

    host: str
    seq: int
    at: str
    kind: Kind
    previous: str
    key: str
    signature: str = ""
    facts: Facts | None = None
    body: Body | None = None
    sealed: str = ""
    sealed_with: str = ""
    digest: str = ""
    signed: bytes = field(default=b"", repr=False)

    @property
    def head(self) -> Head:
        """Return the entry's number and digest."""
        return Head(seq=self.seq, digest=self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """What every entry has in the open."""

    format: int
    host: str
    seq: int
    at: str
    kind: Kind
    previous: str
    key: str


_OPEN = TypeAdapter(_Open)
_BODY = TypeAdapter(Body)
_FACTS = TypeAdapter(Facts)
_OPEN_FIELDS = frozenset(_Open.__dataclass_fields__)
_CONTENTS = (
    frozenset({"facts"}), frozenset({"body"}), frozenset({"body_encrypted", "body_key"}),
)  # fmt: skip


def folder_of(host: str) -> str:
    """Return the folder of a host's log."""
    return f"{FOLDER}/{host}"


def path_of(host: str, seq: int) -> str:
    """Return the name of an entry."""
    return f"{folder_of(host)}/{seq:0{DIGITS}}.json"


def parse_path(path: str) -> tuple[str, int] | None:
    """Return host and number of the entry named *path*, None for another name."""
    match = _NAME.fullmatch(path)
    return (match["host"], int(match["seq"])) if match else None


def host_name(text: str) -> str:
    """Return *text*, the name of a machine, as the name of a folder; different ones differ."""
    plain = text.lower()
    if _HOST.fullmatch(plain):
        return plain
    safe = re.sub(r"[^a-z0-9._-]+", "-", plain).strip(".-_")[:60] or "host"
    return f"{safe}-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:8]}"


def digest_of(data: bytes) -> str:
    """Return the digest by which the next entry names the one with these bytes."""
    return hashlib.sha256(data).hexdigest()


def serialise(entry: Entry, signer: Signer, data_key: DataKey | None = None) -> bytes:
    """Return the bytes of *entry*, signed; its body is sealed where there is a *data_key*."""
    said: Json = {
        "format": FORMAT, "host": entry.host, "seq": entry.seq, "at": entry.at,
        "kind": str(entry.kind), "previous": entry.previous, "key": signer.fingerprint,
    }  # fmt: skip
    if entry.facts is not None:
        said["facts"] = _plain(asdict(entry.facts))
    elif entry.body is not None:
        said |= _contents(entry.body, data_key)
    signature = signer.sign(DOMAIN + canonical.to_bytes(said))
    return canonical.to_bytes(said | {"signature": signature})


def parse(data: bytes, *, name: str) -> Entry:
    """Return the entry in *data*; *name* is for messages. Its signature is not checked yet.

    Raises IntegrityError, UnknownFormat.
    """
    if len(data) > MOST_BYTES:
        raise _malformed(name)
    said = canonical.from_bytes(data, name=name)
    version = said.get("format")
    if isinstance(version, int) and version > FORMAT:
        message = f"{name} was written by a newer version"
        raise UnknownFormat(message, hint="use a newer version of ulasis-backup")
    signature = said.pop("signature", None)
    contents = {key: value for key, value in said.items() if key not in _OPEN_FIELDS}
    head = _loaded(_OPEN, {key: said[key] for key in said if key in _OPEN_FIELDS}, name)
    expected = set(contents) in _CONTENTS and ("facts" in contents) == (head.kind is not Kind.RUN)
    if not expected or not isinstance(signature, str) or not _makes_sense(head):
        raise _malformed(name)
    sealed_text, sealed_with = contents.get("body_encrypted", ""), contents.get("body_key", "")
    if not isinstance(sealed_text, str) or not isinstance(sealed_with, str):
        raise _malformed(name)
    return Entry(
        host=head.host, seq=head.seq, at=head.at, kind=head.kind, previous=head.previous,
        key=head.key, signature=signature, sealed=sealed_text, sealed_with=sealed_with,
        facts=_loaded(_FACTS, contents["facts"], name) if "facts" in contents else None,
        body=_loaded(_BODY, contents["body"], name) if "body" in contents else None,
        digest=digest_of(data), signed=DOMAIN + canonical.to_bytes(said),
    )  # fmt: skip


def unseal(entry: Entry, data_key: DataKey) -> Body:
    """Return the body of *entry*. Raises AuthenticationFailed, IntegrityError."""
    name = path_of(entry.host, entry.seq)
    if entry.body is not None:
        return entry.body
    return _loaded(_BODY, sealed.unseal(entry.sealed, data_key, BODY_ROLE, name=name), name)


def is_authentic(entry: Entry, publics: Mapping[str, bytes]) -> bool:
    """Tell whether *entry* is signed by the key that it names, which *publics* knows."""
    public = publics.get(entry.key)
    return public is not None and is_signed(entry.signed, entry.signature, public)


def publics_in(entry: Entry) -> dict[str, bytes]:
    """Return the public keys that *entry* tells of, by fingerprint."""
    texts = (entry.facts.public, *entry.facts.publics) if entry.facts else ()
    found: dict[str, bytes] = {}
    for text in texts:
        if re.fullmatch(rf"[0-9a-f]{{{2 * PUBLIC_BYTES}}}", text):
            public = bytes.fromhex(text)
            found[fingerprint_of(public)] = public
    return found


def body_to_json(body: Body) -> Json:
    """Return *body* as it waits in the spool."""
    found: Json = _plain(asdict(body))
    return found


def body_from_json(value: Json, *, name: str) -> Body:
    """Return what ``body_to_json`` was given. Raises IntegrityError."""
    return _loaded(_BODY, value, name)


def text_of(text: str) -> str:
    """Return *text* as it can be stored: arguments may hold bytes that are no characters."""
    short = text if len(text) <= MOST_TEXT else text[:MOST_TEXT] + "…"
    return short.encode("utf-8", "backslashreplace").decode()


def _contents(body: Body, data_key: DataKey | None) -> Json:
    plain = body_to_json(body)
    if data_key is None:
        return {"body": plain}
    missing = -len(canonical.to_bytes(plain)) % PADDED_TO
    padded = plain | {"padding": " " * missing}
    return {
        "body_encrypted": sealed.seal(padded, data_key, BODY_ROLE),
        "body_key": data_key.backup_id,
    }


def _plain(value: Any) -> Any:  # noqa: ANN401 (JSON)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


def _makes_sense(head: _Open) -> bool:
    first = head.seq == 1 and head.previous == ""
    return (
        head.format == FORMAT
        and head.seq >= 1
        and (first or _DIGEST.fullmatch(head.previous) is not None)
        and _is_moment(head.at)
    )


def _is_moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _loaded(adapter: TypeAdapter[_T], value: object, name: str) -> _T:
    try:
        return adapter.validate_json(canonical.to_bytes(value), strict=True)  # type: ignore[arg-type]
    except (ValidationError, ValueError, TypeError):
        raise _malformed(name) from None


def _malformed(name: str) -> IntegrityError:
    return IntegrityError(f"{name} is malformed", hint=HINT)
