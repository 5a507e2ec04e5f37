"""Objects, indexes and manifests that somebody changed: refused before a server is reached."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from support.server import Command, checksums, command_for, fresh_database, make_orders, run_all
from ulasis_backup.app import build
from ulasis_backup.config import read_config
from ulasis_backup.errors import (
    AuthenticationFailed,
    BackupNotFound,
    BlobMissing,
    IntegrityError,
    UlasisError,
    WrongKey,
)
from ulasis_backup.methods.index import Index, Range
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.indexes import load_index
from ulasis_backup.operations.ranges import RangeReader
from ulasis_backup.operations.verify import verify
from ulasis_backup.repository import manifest as manifests
from ulasis_backup.repository import objectfile, payload, repository
from ulasis_backup.repository.names import PayloadName, parse_payload
from ulasis_backup.repository.objectfile import Epoch
from ulasis_backup.streams.pipeline import flow

pytestmark = [pytest.mark.server, pytest.mark.timeout(240)]

KEY = "00112233445566778899aabbccddeeff" * 2
OTHER_KEY = "ff112233445566778899aabbccddeeff" * 2
FORMS: dict[str, dict[str, str]] = {
    "encrypted": {"BACKUP_ENCRYPTION_KEY": KEY},
    "signed": {"BACKUP_ENCRYPTION_KEY": KEY, "BACKUP_ENCRYPTION_ENABLED": "false"},
    "plain": {},
}
DIGEST, AUTHENTIC = IntegrityError.exit_code, AuthenticationFailed.exit_code
MISSING = BlobMissing.exit_code
LONG = (
    "CREATE TABLE {0} (id INT PRIMARY KEY, word VARCHAR(20), noise VARCHAR(200))",
    "INSERT INTO {0} SELECT seq, 'wordy', SHA2(CONCAT('{0}', seq), 512) FROM seq_1_to_300",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    """A repository: two backups of one database, and one of another, in an epoch of its own.

    Table ``changed`` is a whole object in the old backup and a difference in the new one; table
    ``kept`` is the same object in both.
    """

    command: Command
    database: str
    old: PayloadName
    new: PayloadName
    foreign: PayloadName
    files: dict[str, bytes]

    @property
    def context(self) -> Context:
        config = read_config(flags={}, environment=self.command.settings, folder=self.command.home)
        return build(config, lambda _: None)

    def path(self, name: object) -> Path:
        return self.command.folder / str(name)

    def index(self, name: PayloadName) -> Index:
        return load_index(self.context, name)

    def range_of(self, name: PayloadName, table: str) -> Range:
        """Return the only range of *table*."""
        tables = {rows.head.source.table: rows for rows in self.index(name).tables}
        (part,) = tables[table].ranges
        return part

    def object(self, name: PayloadName, table: str) -> Path:
        """Return the file of the object of *table*."""
        found = self.range_of(name, table).name
        return self.path(objectfile.path_of(self.index(name).begin.epoch, found))

    def mend(self) -> None:
        for path in self.command.folder.rglob("*"):
            if path.is_file() and str(path.relative_to(self.command.folder)) not in self.files:
                path.unlink()
        for name, data in self.files.items():
            path = self.path(name)
            if not path.exists() or path.read_bytes() != data:
                path.write_bytes(data)


@pytest.fixture(scope="module")
def filled(scratch: ScratchServer) -> Iterator[tuple[str, str]]:
    """Return a database with tables large enough for objects, and another one like it."""
    with (
        fresh_database(scratch.login, "vault") as one,
        fresh_database(scratch.login, "other") as two,
        connect(scratch.login) as server,
    ):
        for name in (one, two):
            make_orders(server, name, rows=30)
            tables = [sql.format(table) for table in ("changed", "kept") for sql in LONG]
            run_all(server, name, tables)
        yield one, two


def make_vault(
    scratch: ScratchServer, databases: tuple[str, str], home: Path, **settings: str
) -> Vault:
    database, other = databases
    command = command_for(scratch.login, home, database, BACKUP_METHOD="rows", **settings)
    old = command.backup()
    with connect(scratch.login) as server:
        run_all(server, database, ["UPDATE changed SET word = word + 1 WHERE id = 7"])
        run_all(server, database, ["UPDATE changed SET word = UUID_SHORT() % 100 WHERE id = 8"])
    new = command.backup()
    foreign = command.having(DB_NAME=other).backup()
    names = [parse_payload(name) for name in (old, new, foreign)]
    files = {
        str(path.relative_to(command.folder)): path.read_bytes()
        for path in command.folder.rglob("*")
        if path.is_file()
    }
    parsed = [name for name in names if name]
    return Vault(
        command=command, database=database, old=parsed[0], new=parsed[1], foreign=parsed[2],
        files=files,
    )  # fmt: skip


@pytest.fixture(scope="module")
def safe(
    scratch: ScratchServer, filled: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Vault:
    return make_vault(scratch, filled, tmp_path_factory.mktemp("safe"), **FORMS["encrypted"])


@pytest.fixture
def vault(safe: Vault) -> Iterator[Vault]:
    """Return the encrypted vault; what a test does to it is undone."""
    yield safe
    safe.mend()


@pytest.fixture(scope="module", params=FORMS)
def any_vault(
    request: pytest.FixtureRequest,
    scratch: ScratchServer,
    filled: tuple[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Vault:
    """Return a vault of each form."""
    home = tmp_path_factory.mktemp("vault")
    return make_vault(scratch, filled, home, **FORMS[request.param])


def refusal(vault: Vault, name: PayloadName) -> int:
    """Return the exit code with which *name* is refused; 0 if it is not."""
    try:
        verify(vault.context, name)
    except UlasisError as error:
        return error.exit_code
    finally:
        vault.mend()
    return 0


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :]


def test_the_vault_is_what_the_tests_need(any_vault: Vault) -> None:
    changed = any_vault.range_of(any_vault.new, "changed")
    base = any_vault.range_of(any_vault.old, "changed")
    assert [name for name, _ in changed.chain] == [base.name]
    assert base.chain == ()
    kept = any_vault.range_of(any_vault.old, "kept")
    assert kept.name == any_vault.range_of(any_vault.new, "kept").name
    assert (
        any_vault.index(any_vault.foreign).begin.epoch != any_vault.index(any_vault.new).begin.epoch
    )
    assert [refusal(any_vault, name) for name in (any_vault.old, any_vault.new)] == [0, 0]


@pytest.mark.parametrize("which", [("new", "changed"), ("old", "changed"), ("new", "kept")])
def test_changed_bytes_of_an_object_are_found(any_vault: Vault, which: tuple[str, str]) -> None:
    path = any_vault.object(getattr(any_vault, which[0]), which[1])
    data = path.read_bytes()
    places = {*range(40), *range(0, len(data), max(1, len(data) // 40)), len(data) - 1}
    wrong = []
    for place in sorted(place for place in places if place < len(data)):
        path.write_bytes(flipped(data, place))
        if refusal(any_vault, any_vault.new) not in (DIGEST, AUTHENTIC):
            wrong.append(place)
    assert wrong == []


def test_an_object_cut_or_lengthened_anywhere_is_found(any_vault: Vault) -> None:
    for table in ("changed", "kept"):
        path = any_vault.object(any_vault.new, table)
        data = path.read_bytes()
        lengths = {0, 1, 5, 6, 10, 18, 28, len(data) // 2, len(data) - 16, len(data) - 1}
        for length in lengths:
            path.write_bytes(data[:length])
            assert refusal(any_vault, any_vault.new) in (DIGEST, AUTHENTIC), length
        for more in (b"\0", bytes(16), data):
            path.write_bytes(data + more)
            assert refusal(any_vault, any_vault.new) in (DIGEST, AUTHENTIC)


# Deeds: each with the codes that refuse it.


def _lose(vault: Vault) -> None:
    vault.object(vault.new, "kept").unlink()


def _lose_the_base(vault: Vault) -> None:
    vault.object(vault.old, "changed").unlink()


def _swap(vault: Vault) -> None:
    one, two = vault.object(vault.new, "kept"), vault.object(vault.old, "changed")
    one_data, two_data = one.read_bytes(), two.read_bytes()
    one.write_bytes(two_data)
    two.write_bytes(one_data)


def _put_the_base_for_the_difference(vault: Vault) -> None:
    base = vault.object(vault.old, "changed").read_bytes()
    vault.object(vault.new, "changed").write_bytes(base)


def _put_an_object_of_another_epoch_there(vault: Vault) -> None:
    foreign = vault.object(vault.foreign, "kept").read_bytes()
    vault.object(vault.new, "kept").write_bytes(foreign)


def _put_another_base_there(vault: Vault) -> None:
    kept = vault.object(vault.new, "kept").read_bytes()
    vault.object(vault.old, "changed").write_bytes(kept)


def _empty(vault: Vault) -> None:
    vault.object(vault.new, "kept").write_bytes(b"")


def _put_an_unencrypted_object_there(vault: Vault, table: str = "kept") -> None:
    """Write a well-formed object of the same name, with rows that say something else."""
    index, part = vault.index(vault.new), vault.range_of(vault.new, table)
    rows = RangeReader(vault.context, index).read(part).replace(b"wordy", b"false")
    bare = Epoch(id=index.begin.epoch, key=None)
    sealed = objectfile.seal(bare, part.name, objectfile.encode(rows))
    vault.object(vault.new, table).write_bytes(sealed)


def _swap_payloads(vault: Vault) -> None:
    vault.path(vault.new).write_bytes(vault.files[str(vault.old)])
    vault.path(vault.old).write_bytes(vault.files[str(vault.new)])


def _swap_manifests(vault: Vault) -> None:
    vault.path(vault.new.manifest).write_bytes(vault.files[vault.old.manifest])
    vault.path(vault.old.manifest).write_bytes(vault.files[vault.new.manifest])


def _flip_the_index(vault: Vault) -> None:
    path = vault.path(vault.new)
    path.write_bytes(flipped(path.read_bytes(), 500))


def _flip_the_manifest(vault: Vault) -> None:
    path = vault.path(vault.new.manifest)
    path.write_bytes(path.read_bytes().replace(b'"kind":"manual"', b'"kind":"safety"'))


def _put_the_older_index_there(vault: Vault) -> None:
    vault.path(vault.new).write_bytes(vault.files[str(vault.old)])


def _put_the_older_backup_there(vault: Vault) -> None:
    vault.path(vault.new).write_bytes(vault.files[str(vault.old)])
    vault.path(vault.new.manifest).write_bytes(vault.files[vault.old.manifest])


def _put_an_unencrypted_backup_there(vault: Vault) -> None:
    """Write a whole backup of the same name, well-formed, but neither encrypted nor signed."""
    context = vault.context
    manifest = repository.load_trusted(context.repository, vault.new)
    assert manifest.details
    plain = b"".join(payload.open_plain(context.repository.storage, manifest))
    stages = replace(manifest.header.stages, cipher=None)
    written = payload.writing_stages(stages, threads=1, data_key=None)
    stored = b"".join(flow(iter([plain]), *written))
    size = replace(
        manifest.header.stored, bytes=len(stored), sha256=hashlib.sha256(stored).hexdigest()
    )
    header = replace(manifest.header, stages=stages, stored=size)
    vault.path(vault.new).write_bytes(stored)
    vault.path(vault.new.manifest).write_bytes(
        manifests.serialise(header, manifest.details, keys=(), data_key=None)
    )


def _lose_the_manifest(vault: Vault) -> None:
    vault.path(vault.new.manifest).unlink()


def _nothing(_: Vault) -> None:
    pass


Deed = Callable[[Vault], None]
OF_OBJECTS: dict[str, tuple[Deed, tuple[int, ...]]] = {
    "missing object": (_lose, (MISSING,)),
    "missing base": (_lose_the_base, (MISSING,)),
    "swapped objects": (_swap, (DIGEST, AUTHENTIC)),
    "base instead of the difference": (_put_the_base_for_the_difference, (DIGEST, AUTHENTIC)),
    "object of another epoch": (_put_an_object_of_another_epoch_there, (DIGEST, AUTHENTIC)),
    "another base": (_put_another_base_there, (DIGEST, AUTHENTIC)),
    "empty object": (_empty, (DIGEST,)),
    "unencrypted object": (_put_an_unencrypted_object_there, (DIGEST, AUTHENTIC)),
}
DEEDS: dict[str, tuple[Deed, tuple[int, ...], dict[str, str | None]]] = {
    **{name: (*OF_OBJECTS[name], {}) for name in OF_OBJECTS},
    "swapped payloads": (_swap_payloads, (AUTHENTIC,), {}),
    "swapped manifests": (_swap_manifests, (AUTHENTIC,), {}),
    "changed byte in the index": (_flip_the_index, (AUTHENTIC,), {}),
    "edited manifest": (_flip_the_manifest, (AUTHENTIC,), {}),
    "older index": (_put_the_older_index_there, (AUTHENTIC,), {}),
    "older backup under a newer name": (_put_the_older_backup_there, (AUTHENTIC,), {}),
    "unencrypted backup": (_put_an_unencrypted_backup_there, (AUTHENTIC,), {}),
    "missing manifest": (_lose_the_manifest, (BackupNotFound.exit_code,), {}),
    "wrong key": (_nothing, (WrongKey.exit_code,), {"BACKUP_ENCRYPTION_KEY": OTHER_KEY}),
    "no key": (_nothing, (WrongKey.exit_code,), {"BACKUP_ENCRYPTION_KEY": None}),
}


@pytest.mark.parametrize("deed", OF_OBJECTS)
def test_objects_that_are_not_what_was_stored_are_found(any_vault: Vault, deed: str) -> None:
    act, codes = OF_OBJECTS[deed]
    act(any_vault)
    assert refusal(any_vault, any_vault.new) in codes


@pytest.mark.parametrize("deed", DEEDS)
def test_verify_and_restore_refuse_before_they_reach_a_server(
    vault: Vault, server: Server, logged: Callable[[], int], deed: str
) -> None:
    act, codes, settings = DEEDS[deed]
    before = checksums(server, vault.database)
    act(vault)
    command = vault.command.having(**settings)
    sessions = logged()
    restore = ["restore", str(vault.new), "--yes", "--skip-pre-restore-backup", "--in-place"]
    some = ["--tables", "kept,changed"] if deed in OF_OBJECTS else []
    # What the restore finds damaged it sets aside; then verify finds it missing (24).
    done = [command.run(*restore, *some), command.run("verify", str(vault.new))]
    assert logged() == sessions
    for one, expected in zip(done, (codes, (*codes, 24)), strict=True):
        assert one.code in expected, one.said
        assert "\nHINT: " in one.err
        assert "Traceback" not in one.said
    assert checksums(server, vault.database) == before


def test_a_whole_restore_refuses_too(vault: Vault, logged: Callable[[], int]) -> None:
    _put_an_unencrypted_object_there(vault)
    sessions = logged()
    restore = ["restore", str(vault.new), "--yes", "--skip-pre-restore-backup"]
    done = vault.command.run(*restore, "--in-place")
    assert done.code in (DIGEST, AUTHENTIC), done.said
    assert logged() == sessions


def test_what_is_found_while_loading_beside_is_not_loaded_and_nothing_else_is_touched(
    vault: Vault, server: Server
) -> None:
    _put_an_unencrypted_object_there(vault)
    before = checksums(server, vault.database)
    done = vault.command.run("restore", str(vault.new), "--yes", "--skip-pre-restore-backup")
    assert done.code in (DIGEST, AUTHENTIC), done.said
    assert "nothing live was touched" in done.err
    assert checksums(server, vault.database) == before
    schemas = [str(name) for (name,) in server.query("SHOW DATABASES")]
    assert not [name for name in schemas if name.startswith(f"{vault.database}__")]


def test_verify_all_names_every_backup_that_a_lost_object_hits(vault: Vault) -> None:
    vault.object(vault.new, "kept").unlink()
    done = vault.command.run("--json", "verify-all")
    assert done.code == MISSING, done.said
    assert done.json["failed"] == 2


def test_damage_heals_at_the_next_backup_and_older_backups_with_it(vault: Vault) -> None:
    lost, broken = vault.object(vault.old, "kept"), vault.object(vault.new, "changed")
    lost.unlink()
    broken.write_bytes(flipped(broken.read_bytes(), 60))
    assert vault.command.run("--json", "verify-all").json["failed"] == 2
    made = vault.command.ok("backup")["backups"][0]
    assert made["shared"]["new_objects"] == 2
    document = vault.command.ok("verify-all")
    assert (document["failed"], len(document["backups"])) == (0, 4)


def test_what_no_longer_is_in_the_database_stays_lost_and_is_said(vault: Vault) -> None:
    """The base of a difference: the new backup heals, the old one has rows that are nowhere."""
    vault.object(vault.old, "changed").unlink()
    vault.command.ok("backup")
    done = vault.command.run("--json", "verify-all")
    assert done.json["failed"] == 1
    assert vault.command.run("verify", str(vault.old)).code == MISSING
    vault.command.ok("verify", str(vault.new))


# What an encrypted repository tells a stranger.


def test_an_encrypted_repository_names_no_table_and_no_word(vault: Vault, server: Server) -> None:
    everything = b"".join(vault.files.values()) + "".join(vault.files).encode()
    names = ["customers", "zebras", "totals", "on_order", "nightly", "stripes", "wordy", "noise"]
    names += ["changed", socket.gethostname() + ":", "CREATE TABLE", "epoch_key", "sequence_"]
    names += [vault.command.settings["DB_SOCKET"]]
    host = str(server.value("SELECT @@hostname"))
    names += [host] if len(host) > 3 else []
    for name in names:
        assert name.encode() not in everything, name


def test_an_encrypted_repository_holds_no_digest_that_could_be_guessed(vault: Vault) -> None:
    everything = b"".join(vault.files.values()) + "".join(vault.files).encode()
    index = vault.index(vault.new)
    reader = RangeReader(vault.context, index)
    keys = bytes.fromhex(index.begin.epoch_key)
    assert keys not in everything
    assert keys.hex().encode() not in everything
    for table in index.tables:
        for part in table.ranges:
            for bare in (reader.read(part), *([part.inline] if part.inline else [])):
                digest = hashlib.sha256(bare)
                assert digest.digest() not in everything
                assert digest.hexdigest().encode() not in everything


def test_equal_tables_of_two_epochs_have_different_names(vault: Vault) -> None:
    ours, theirs = vault.range_of(vault.new, "kept"), vault.range_of(vault.foreign, "kept")
    context = vault.context
    one = RangeReader(context, vault.index(vault.new)).read(ours)
    two = RangeReader(context, vault.index(vault.foreign)).read(theirs)
    assert one == two
    assert ours.fingerprint != theirs.fingerprint
