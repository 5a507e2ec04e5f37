"""Backups to be proven, and a scratch server that is used again for each test restore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from support.server import Command
from ulasis_backup.app import build
from ulasis_backup.config import read_config
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import connect, quote
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.scratch_world import Programs
from ulasis_backup.operations.test_restore import Outcome, ProofRequest, try_restore
from ulasis_backup.repository.names import PayloadName, parse_payload
from ulasis_backup.repository.proofs import Proof, history
from ulasis_backup.repository.repository import load_trusted


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A backup, the server it is proven on, and what lay in the repository at first."""

    context: Context
    name: PayloadName
    ground: ScratchServer
    files: dict[Path, bytes]

    @property
    def proofs(self) -> tuple[Proof, ...]:
        """Return the proofs of the backup, oldest first."""
        repository = self.context.repository
        return history(repository, load_trusted(repository, self.name)).proofs

    def mend(self) -> None:
        for path, data in self.files.items():
            path.write_bytes(data)

    def tested(self, **settings: object) -> Outcome:
        """Test-restore it, with some settings changed, on the server that runs already."""
        config = self.context.config
        changed = config.settings.model_copy(update=settings)
        context = replace(self.context, config=replace(config, settings=changed))
        return try_restore(context, self.name, self.request)

    @property
    def request(self) -> ProofRequest:
        return ProofRequest(start=self._start)

    @contextmanager
    def _start(self, _: Programs, __: int) -> Iterator[ScratchServer]:
        """Give the same server each time, as empty as a new one."""
        with connect(self.ground.login) as server:
            server.run("SET foreign_key_checks = 0")
            for name in self.context.config.databases:
                server.run(f"DROP DATABASE IF EXISTS {quote(name)}")
            for (user,) in server.query("SELECT User FROM mysql.user WHERE User LIKE 'clerk%'"):
                server.run("DROP USER %s@localhost", (user,))
        yield self.ground


def bench(command: Command, ground: ScratchServer) -> Bench:
    name = parse_payload(command.backup())
    assert name
    config = read_config(flags={}, environment=command.settings, folder=command.home)
    files = {path: path.read_bytes() for path in command.folder.glob("*") if path.is_file()}
    return Bench(context=build(config, lambda _: None), name=name, ground=ground, files=files)
