"""A context over a repository in memory, and proofs made by hand: for tests without a server."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import SecretStr

from support.manifests import KEY, Wanted, put_backup
from support.memory import MemoryStorage
from ulasis_backup.config import make_config
from ulasis_backup.events import ignore
from ulasis_backup.model import Kind, Verdict
from ulasis_backup.operations.context import Context
from ulasis_backup.repository import proofs, runs
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.repository.proofs import Check, Proof
from ulasis_backup.repository.repository import Repository, load
from ulasis_backup.settings import Settings


def context_at(folder: Path, **settings: object) -> Context:
    """Return a context of database ``shop`` whose repository is in memory."""
    given = {
        "backup_dir": folder, "db_name": "shop", "backup_server_name": "db1:3306",
        "backup_encryption_key": SecretStr(KEY.hex()), "backup_state_dir": folder / "state",
        **settings,
    }  # fmt: skip
    config = make_config(Settings.model_validate(given))
    return Context(config=config, repository=Repository(MemoryStorage(), KEY), observe=ignore)


def put(context: Context, days: int = 0, kind: Kind = Kind.MANUAL) -> PayloadName:
    """Put a backup without real contents, *days* after the first morning."""
    return put_wanted(context, Wanted(days=days, key=KEY, kind=kind))


def put_wanted(context: Context, wanted: Wanted) -> PayloadName:
    """Put a backup without real contents, and record that its run succeeded."""
    name = put_backup(context.repository, wanted)
    header = load(context.repository, name).header if wanted.key == KEY else None
    if header:
        runs.succeed(
            context.repository.storage, header.series, at=header.started_at, backup_id=header.id
        )
    return name


def check(
    context: Context, name: PayloadName, verdict: Verdict, at: datetime, *, seconds: float = 10.0
) -> None:
    """Record what a check found out; PROVEN is found by a test restore, else by verify."""
    manifest = load(context.repository, name)
    test = verdict is Verdict.PROVEN
    record = Proof(
        backup=manifest.header.id,
        manifest=manifest.digest,
        check=Check.TEST_RESTORE if test else Check.VERIFY,
        verdict=verdict,
        started_at=at.isoformat(),
        finished_at=at.isoformat(),
        host="h",
        tool="t",
        reason="a byte is wrong" if verdict is Verdict.FAILED else "",
        phases={"load": seconds} if test else {},
        bytes=10,
    )
    proofs.record(context.repository, manifest, record)
