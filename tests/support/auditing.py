"""Audit logs made by hand, for tests that need no command and no server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ulasis_backup.repository import audit, auditfile
from ulasis_backup.repository.audit import Memory, Stored, Writer
from ulasis_backup.repository.auditfile import Body, Entry, Event, Process, Who
from ulasis_backup.repository.auditverify import Finding, Grade, Known, Raw, check_log
from ulasis_backup.repository.repository import Repository
from ulasis_backup.storage.local import LocalStorage
from ulasis_backup.streams.signing import Signer

KEY = bytes(range(32))
BEGIN = datetime(2026, 11, 25, 2, tzinfo=UTC)


def new_signer() -> Signer:
    return Signer(Ed25519PrivateKey.generate())


def body(event: Event, run: str, command: str = "backup", **more: Any) -> Body:  # noqa: ANN401
    return Body(
        event=event, run=run, at=BEGIN.isoformat(), command=command, tool="ulasis-backup 0",
        who=Who(user="anna", uid=1000), process=Process(pid=1), databases=("shop",), **more,
    )  # fmt: skip


@dataclass(slots=True)
class Scribe:
    """Writes the log of *host* in the folder *place*, an entry a minute."""

    place: Path
    host: str = "db1"
    key: bytes | None = KEY
    signer: Signer = field(default_factory=new_signer)
    memory: Memory = field(default_factory=Memory)
    clock: datetime = BEGIN
    former: dict[str, Signer] = field(default_factory=dict)

    @property
    def shelf(self) -> Repository:
        return Repository(LocalStorage(self.place), self.key)

    @property
    def folder(self) -> Path:
        return self.place / "audit" / self.host

    def writer(self) -> Writer:
        return Writer(
            repository=self.shelf, host=self.host, signer=self.signer,
            data_key=audit.writing_key(self.shelf, self.host), clock=self._now,
            former=self.former.get,
        )  # fmt: skip

    def write(self, said: Body) -> Stored | None:
        stored = audit.append(self.writer(), said, self.memory)
        if stored:
            self.memory = stored.memory
        return stored

    def run(self, command: str = "backup", run: str = "") -> None:
        """Write that a command began and ended."""
        run = run or os.urandom(4).hex()
        self.write(body(Event.BEGAN, run, command))
        self.write(body(Event.ENDED, run, command, code=0, outcome="ok"))

    def path(self, seq: int) -> Path:
        return self.place / auditfile.path_of(self.host, seq)

    def numbers(self) -> list[int]:
        return audit.numbers_of(self.shelf.storage, self.host)

    def raws(self) -> list[Raw]:
        return [Raw(seq=seq, data=self.path(seq).read_bytes()) for seq in self.numbers()]

    def entries(self) -> list[Entry]:
        return [auditfile.parse(raw.data, name=str(raw.seq)) for raw in self.raws()]

    def known(self, seq: int, *, by: str = "a manifest", at: str = "") -> Known:
        digest = auditfile.digest_of(self.path(seq).read_bytes())
        return Known(host=self.host, seq=seq, digest=digest, by=by, at=at)

    def remembered(self) -> Known:
        assert self.memory.head
        head = self.memory.head
        return Known(host=self.host, seq=head.seq, digest=head.digest, by="this machine")

    def wrong(self, *known: Known, pins: frozenset[str] = frozenset()) -> list[Finding]:
        """Return what `audit verify` would call wrong; what this machine remembers is known."""
        everything = (self.remembered(), *known)
        report = check_log(self.host, self.raws(), known=everything, pins=pins)
        return [found for found in report.findings if found.grade is Grade.WRONG]

    def change(self, seq: int, /, **fields: object) -> None:
        """Change fields of an entry, and leave the signature as it was."""
        said = json.loads(self.path(seq).read_bytes()) | fields
        self.put(seq, said)

    def raw(self, seq: int) -> Any:  # noqa: ANN401 (JSON)
        return json.loads(self.path(seq).read_bytes())

    def put(self, seq: int, said: dict[str, object]) -> None:
        text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        self.path(seq).write_text(text)

    def rehash(self, first: int) -> None:
        """Let every entry from *first* on name the one before it as that is now."""
        for seq in (seq for seq in self.numbers() if seq >= first):
            digest = auditfile.digest_of(self.path(seq - 1).read_bytes())
            self.change(seq, previous=digest)

    def other(self, **changes: Any) -> Scribe:  # noqa: ANN401
        """Return somebody else who writes in the same repository."""
        return replace(self, **{"signer": new_signer(), "memory": Memory(), **changes})

    def _now(self) -> str:
        self.clock += timedelta(minutes=1)
        return self.clock.isoformat()


def filled(place: Path, *, runs: int = 4, **more: Any) -> Scribe:  # noqa: ANN401
    """Return who has written of *runs* runs: entry 1 tells the key, then two for each."""
    scribe = Scribe(place, **more)
    for _ in range(runs):
        scribe.run()
    return scribe


def bodies(scribe: Scribe) -> Iterator[Body]:
    keys = audit.Keys(scribe.shelf)
    for entry in scribe.entries():
        if entry.kind is auditfile.Kind.RUN:
            yield keys.body_of(entry)
