"""What a run stores in the audit log, and what waits where it cannot.

The state folder holds the key that signs, what this machine remembers of each log, and the spool:
entries that could not be stored, each a file. A failing audit log never stops a run, so whatever
goes wrong is returned in words and not raised.
"""

from __future__ import annotations

import getpass
import hashlib
import hmac
import json
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import SecretStr

from ulasis_backup.config import Config
from ulasis_backup.errors import UlasisError
from ulasis_backup.model import AuditAnchor
from ulasis_backup.operations.context import now, stamp
from ulasis_backup.repository import audit, auditfile
from ulasis_backup.repository.audit import Memory, Stored, Writer
from ulasis_backup.repository.auditfile import Body, Change, Event, Head, OpenRun, Process, Who
from ulasis_backup.repository.repository import REPOSITORY_FILE, Repository
from ulasis_backup.settings import SECRETS, Settings
from ulasis_backup.statefile import locked, replace_file
from ulasis_backup.streams.keys import recipient
from ulasis_backup.streams.signing import Signer, former_path, read_signer, signer_in

NOBODY = 2**32 - 1
"""What Linux says of a process that no login began."""
LOCK_SECONDS = 5.0
MOST_OPEN = 20
"""Interrupted runs that one run tells of; the next ones tell of the rest."""
MOST_WAITING = 10_000
"""Entries that wait at the most, as where a repository is read only for good."""
KEY_FILE = "audit-key"
HIDDEN = frozenset(
    {*SECRETS, *(name for name in Settings.model_fields if name.startswith("backup_hook_"))}
)
"""Settings of which only that they changed is told: a hook's command line may hold a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of an entry: the anchor of it where it is stored, what went wrong in words."""

    anchor: AuditAnchor | None = None
    problem: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Journal:
    """The audit log of this machine in one repository, as the settings say."""

    config: Config
    repository: Repository

    @property
    def host(self) -> str:
        """Return the name under which this machine has its log."""
        return auditfile.host_name(self.config.settings.backup_audit_host or socket.gethostname())

    @property
    def key_file(self) -> Path:
        """Return where the key that signs lies."""
        return self.config.settings.backup_audit_key_file or self.config.state_folder / KEY_FILE

    @property
    def _place(self) -> Path:
        words = (self.config.place, self.host)
        name = hashlib.sha256("\0".join(words).encode("utf-8", "replace")).hexdigest()[:12]
        return self.config.state_folder / f"audit-{name}"

    @property
    def state_file(self) -> Path:
        """Return the file in which the log's last entry is remembered."""
        return self._place.with_suffix(".json")

    @property
    def spool(self) -> Path:
        """Return the folder of what waits to be stored."""
        return self._place.with_suffix(".spool")

    def memory(self) -> Memory:
        """Return what this machine remembers of the log."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            found = json.loads(self.state_file.read_text("utf-8"))
            head = Head(seq=int(found["seq"]), digest=str(found["digest"]))
            return Memory(head=head, key=str(found["key"]))
        return Memory()

    def remember(self, stored: Stored, seen: Memory) -> str:
        """Remember an entry, unless another process has stored a later one; return what failed.

        What is remembered goes back only where what was *seen* before was found to be gone.
        """
        head = stored.entry.head
        body = {"seq": head.seq, "digest": head.digest, "key": stored.memory.key}
        try:
            with locked(self._place.with_suffix(".lock"), seconds=LOCK_SECONDS):
                before = self.memory().head
                if before is None or before.seq < head.seq or before == seen.head:
                    replace_file(self.state_file, json.dumps(body))
        except OSError as error:
            return words_of(error)
        return ""

    def waiting(self) -> tuple[Path, ...]:
        """Return the files of entries that wait to be stored, oldest first."""
        with suppress(OSError):
            return tuple(sorted(self.spool.glob("*.json")))
        return ()

    def exists(self) -> bool:
        """Tell whether there is a repository to store entries in. Raises StorageError."""
        return self.repository.storage.stat(REPOSITORY_FILE) is not None

    def signer(self) -> Signer:
        """Return the key that signs; made at the first use. Raises SettingsError, OSError."""
        return signer_in(self.key_file)

    def writer(self) -> Writer:
        """Return what it takes to write. Raises StorageError, SettingsError, OSError."""
        return Writer(
            repository=self.repository,
            host=self.host,
            signer=self.signer(),
            data_key=audit.writing_key(self.repository, self.host),
            clock=lambda: stamp(now()),
            former=self._former,
        )

    def begin(self, body: Body) -> Told:
        """Store that a run begins, what waits, and which runs were cut off; see ``tell``."""
        return self._tell(body, first=True)

    def tell(self, body: Body) -> Told:
        """Store *body*, or let it wait where that is not possible now. Raises nothing of ours."""
        return self._tell(body, first=False)

    def catch_up(self, run: str) -> AuditAnchor | None:
        """Store what waits; return the anchor of the begin of *run* if it was among that."""
        with suppress(UlasisError, OSError):
            if self.waiting() and self.exists():
                return self._flush(self.writer()).get(run)
        return None

    def _tell(self, body: Body, *, first: bool) -> Told:
        try:
            if not self.exists():
                # Nothing of ours may lie where there is no repository, as before `init`.
                return self._wait(body)
            writer = self.writer()
            self._flush(writer)
            if first:
                self._tell_of_the_dead(writer, body)
            stored, problem = self._store(writer, body)
        except (UlasisError, OSError) as error:
            return self._wait(body, error)
        return _told(stored, problem)

    def _store(self, writer: Writer, body: Body) -> tuple[Stored | None, str]:
        seen = self.memory()
        stored = audit.append(writer, body, seen)
        return stored, self.remember(stored, seen) if stored else ""

    def _wait(self, body: Body, error: UlasisError | OSError | None = None) -> Told:
        why = "" if error is None else words_of(error)
        failed = self._spool(body)
        if failed:
            message = f"this is not in the audit log: {why or failed}"
            hint = (
                f"let this user write to {self.config.state_folder}, or set BACKUP_STATE_DIR; "
                "BACKUP_AUDIT=off keeps no log"
            )
            return Told(problem=message, hint=hint)
        if not why:
            return Told()
        hint = "it waits in BACKUP_STATE_DIR, and the next run stores it"
        return Told(problem=f"the audit log cannot be written now: {why}", hint=hint)

    def _spool(self, body: Body) -> str:
        """Let *body* wait; return what kept it from that."""
        if len(self.waiting()) >= MOST_WAITING:
            return f"{MOST_WAITING} entries wait already"
        name = f"{time.time_ns():020}-{os.urandom(4).hex()}.json"
        try:
            replace_file(self.spool / name, json.dumps(auditfile.body_to_json(body)))
        except OSError as error:
            return words_of(error)
        return ""

    def _flush(self, writer: Writer) -> dict[str, AuditAnchor]:
        """Store what waits, one process at a time; return where runs began that it tells of."""
        begun: dict[str, AuditAnchor] = {}
        if not self.waiting():
            return begun
        # Who finds another one at it leaves it to that one.
        with suppress(TimeoutError), locked(self.spool.with_suffix(".flush"), seconds=0):
            for path in self.waiting():
                body = _spooled(path)
                if body is None:
                    continue
                stored, _ = self._store(writer, replace(body, late=True))
                path.unlink(missing_ok=True)
                if stored and body.event is Event.BEGAN:
                    begun[body.run] = _anchor(stored)
        return begun

    def _tell_of_the_dead(self, writer: Writer, body: Body) -> None:
        tail = audit.tail_of(self.repository, writer.host, self.memory())
        longest = timedelta(hours=self.config.settings.backup_grace_hours)
        gone = [one for one in tail.open if is_gone(one, body.process, now(), longest=longest)]
        for one in gone[:MOST_OPEN]:
            told = replace(
                body, event=Event.INTERRUPTED, run=one.run, command=one.command, arguments=(),
                changes=(), outcome="cut off before it could say how it ended",
                messages=(f"begun at {one.at} by process {one.process.pid}, which is gone",),
            )  # fmt: skip
            self._store(writer, told)

    def _former(self, fingerprint: str) -> Signer | None:
        with suppress(UlasisError, OSError):
            return read_signer(former_path(self.key_file, fingerprint))
        return None


def _told(stored: Stored | None, problem: str) -> Told:
    if stored is None:
        return Told()
    if stored.missing is None:
        said = f"the end of the audit log cannot be remembered: {problem}" if problem else ""
        hint = "let this user write to BACKUP_STATE_DIR" if problem else ""
        return Told(anchor=_anchor(stored), problem=said, hint=hint)
    lost = (
        f"entry {stored.missing.seq} of the audit log, which this machine has stored, is gone: the "
        "log was cut off, replaced or put back"
    )
    return Told(anchor=_anchor(stored), problem=lost, hint="`ulasis-backup audit verify`")


def words_of(error: UlasisError | OSError) -> str:
    """Return what went wrong, in words."""
    if isinstance(error, UlasisError):
        return error.message
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def who_runs() -> Who:
    """Return who runs this process."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = ""
    login: int | None = None
    with suppress(OSError, ValueError):
        found = int(Path("/proc/self/loginuid").read_text("utf-8"))
        login = None if found == NOBODY else found
    return Who(
        user=auditfile.text_of(user), uid=os.getuid(), login_uid=login,
        sudo_user=auditfile.text_of(os.environ.get("SUDO_USER", "")),
    )  # fmt: skip


def this_process() -> Process:
    """Return what tells this process from every other, as far as the system says it."""
    boot = space = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
        space = str(Path("/proc/self/ns/pid").readlink())
    return Process(pid=os.getpid(), started=_started(os.getpid()), boot=boot, space=space)


def is_gone(run: OpenRun, here: Process, moment: datetime, *, longest: timedelta) -> bool:
    """Tell whether the process of *run* cannot live any more, seen from the process *here*.

    Where it cannot be seen, as from another container, it is believed to live for *longest*.
    """
    there = run.process
    if there.boot and here.boot and there.boot != here.boot:
        return True
    if here.started and there.started and there.space == here.space:
        return _started(there.pid) != there.started
    return moment - datetime.fromisoformat(run.at) > longest


def changed_settings(journal: Journal, overridden: Mapping[str, object]) -> tuple[Change, ...]:
    """Return which settings differ from those of the last run that was recorded here.

    Those of the command line (*overridden*) hold for one run, and its arguments name them.
    """
    before = _noted(journal)
    after = _values(journal)
    return tuple(
        Change(setting=name.upper(), before=_shown(name, before[name]), after=_shown(name, value))
        for name, value in after.items()
        if name in before and name not in overridden and before[name] != value
    )


def note_settings(journal: Journal, overridden: Mapping[str, object]) -> None:
    """Remember the settings for the next run. Raises nothing of ours."""
    before, values = _noted(journal), _values(journal)
    kept = {name: before[name] for name in overridden if name in before}
    left = {name: value for name, value in values.items() if name not in overridden}
    with suppress(OSError):
        if before != kept | left:
            replace_file(_noted_path(journal), json.dumps(kept | left))


def _values(journal: Journal) -> dict[str, str]:
    """Return every setting as text; of secrets what tells them apart and nothing else."""
    settings = journal.config.settings
    found = {name: _value(settings, name) for name in Settings.model_fields}
    key = journal.repository.key
    found["backup_encryption_key"] = recipient(key) if key else ""
    with suppress(UlasisError, OSError):
        private = journal.signer().private.private_bytes_raw()
        for name in HIDDEN:
            if name != "backup_encryption_key" and found[name]:
                text = f"{name}\0{found[name]}".encode("utf-8", "replace")
                found[name] = hmac.digest(private, text, "sha256").hex()
        return found
    # Without the key nothing may be kept of a secret.
    return {name: value for name, value in found.items() if name not in HIDDEN}


def _value(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else auditfile.text_of(str(value))


def _shown(name: str, value: str) -> str:
    if name == "backup_encryption_key":
        return value or "none"
    return ("changed" if value else "none") if name in HIDDEN else value


def _noted(journal: Journal) -> dict[str, str]:
    with suppress(OSError, ValueError, AttributeError):
        found = json.loads(_noted_path(journal).read_text("utf-8"))
        return {str(name): str(value) for name, value in found.items()}
    return {}


def _noted_path(journal: Journal) -> Path:
    """Return where settings are remembered: for each settings file, or each set of places."""
    config = journal.config
    words = "\0".join(config.sources) or config.state_id
    name = hashlib.sha256(words.encode("utf-8", "replace")).hexdigest()[:12]
    return config.state_folder / f"audit-settings-{name}.json"


def _anchor(stored: Stored) -> AuditAnchor:
    entry = stored.entry
    return AuditAnchor(host=entry.host, seq=entry.seq, digest=entry.digest, key=entry.key)


def _spooled(path: Path) -> Body | None:
    try:
        return auditfile.body_from_json(json.loads(path.read_text("utf-8")), name=path.name)
    except (OSError, ValueError, UlasisError):
        return None


def _started(pid: int) -> str:
    """Return when a process began, in ticks since boot; empty for one that is not there."""
    with suppress(OSError, IndexError, UnicodeDecodeError):
        said = Path(f"/proc/{pid}/stat").read_bytes()
        # The name of the program may hold anything; behind its bracket come plain numbers.
        fields = said.rpartition(b")")[2].split()
        # A zombie has ended: only its parent has not looked yet.
        return "" if fields[0] == b"Z" else fields[19].decode()
    return ""
