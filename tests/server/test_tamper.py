"""Bytes that somebody changed: refused, with the right code, before anything reaches a server."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from support.server import (
    Command,
    checksums,
    command_for,
    fresh_database,
    make_orders,
    run_all,
)
from ulasis_backup.app import build
from ulasis_backup.config import read_config
from ulasis_backup.errors import (
    AuthenticationFailed,
    BackupNotFound,
    BlobMissing,
    IntegrityError,
    UlasisError,
    UnknownFormat,
    WrongKey,
)
from ulasis_backup.methods.contents import read_contents
from ulasis_backup.methods.sections import split
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.verify import verify
from ulasis_backup.repository import canonical, payload, repository
from ulasis_backup.repository import manifest as manifests
from ulasis_backup.repository.manifest import Stages
from ulasis_backup.repository.names import PayloadName, parse_payload
from ulasis_backup.streams.compression import Compression, compress
from ulasis_backup.streams.encryption import HEADER_BYTES, TAG_BYTES
from ulasis_backup.streams.pipeline import flow

pytestmark = pytest.mark.server

KEY = "00112233445566778899aabbccddeeff" * 2
OTHER_KEY = "ff112233445566778899aabbccddeeff" * 2
FORMS = {
    "gzip-cbc": {"BACKUP_COMPRESSION": "gzip", "BACKUP_ENCRYPTION_KEY": KEY},
    "zstd-gcm": {
        "BACKUP_COMPRESSION": "zstd",
        "BACKUP_ENCRYPTION_KEY": KEY,
        "BACKUP_ENCRYPTION_CIPHER": "aes-256-gcm",
    },
    "none-signed": {
        "BACKUP_COMPRESSION": "none",
        "BACKUP_ENCRYPTION_KEY": KEY,
        "BACKUP_ENCRYPTION_ENABLED": "false",
    },
    "gzip-plain": {"BACKUP_COMPRESSION": "gzip"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    """A repository with two backups of one database; ``files`` is what lay in it at first."""

    command: Command
    database: str
    old: PayloadName
    new: PayloadName
    files: dict[str, bytes]

    @property
    def context(self) -> Context:
        config = read_config(flags={}, environment=self.command.settings, folder=self.command.home)
        return build(config, lambda _: None)

    def path(self, name: object) -> Path:
        return self.command.folder / str(name)

    def mend(self) -> None:
        for name, data in self.files.items():
            path = self.path(name)
            if not path.exists() or path.read_bytes() != data:
                path.write_bytes(data)


def _make_vault(scratch: ScratchServer, database: str, home: Path, **settings: str) -> Vault:
    command = command_for(scratch.login, home, database, **settings)
    old, new = parse_payload(command.backup()), parse_payload(command.backup())
    assert old
    assert new
    files = {
        str(path.relative_to(command.folder)): path.read_bytes()
        for path in command.folder.rglob("*")
        if path.is_file()
    }
    return Vault(command=command, database=database, old=old, new=new, files=files)


@pytest.fixture(scope="module")
def filled(scratch: ScratchServer) -> Iterator[str]:
    """Return a database whose dump is larger than two blocks of the compressor."""
    with fresh_database(scratch.login, "vault") as name:
        with connect(scratch.login) as server:
            make_orders(server, name, rows=50)
            long = "INSERT INTO customers SELECT seq, 'many', REPEAT('wordy ', 4000)"
            run_all(server, name, (f"{long} FROM seq_1000_to_1100",))
        yield name


@pytest.fixture(scope="module")
def safe(scratch: ScratchServer, filled: str, tmp_path_factory: pytest.TempPathFactory) -> Vault:
    """Return an encrypted vault."""
    home = tmp_path_factory.mktemp("safe")
    return _make_vault(scratch, filled, home, **FORMS["gzip-cbc"])


@pytest.fixture
def vault(safe: Vault) -> Iterator[Vault]:
    """Return the encrypted vault; what a test does to it is undone."""
    yield safe
    safe.mend()


@pytest.fixture(scope="module", params=FORMS)
def any_vault(
    request: pytest.FixtureRequest,
    scratch: ScratchServer,
    filled: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Vault:
    """Return a vault of each form."""
    home = tmp_path_factory.mktemp("vault")
    return _make_vault(scratch, filled, home, **FORMS[request.param])


def _refusal(context: Context, name: PayloadName) -> int:
    """Return the exit code with which *name* is refused; 0 if it is not."""
    try:
        verify(context, name)
    except UlasisError as error:
        return error.exit_code
    return 0


def _loading(context: Context, name: PayloadName) -> int:
    try:
        repository.load_trusted(context.repository, name)
    except UlasisError as error:
        return error.exit_code
    return 0


def test_every_changed_byte_of_a_manifest_is_found(any_vault: Vault) -> None:
    path, context = any_vault.path(any_vault.new.manifest), any_vault.context
    data = path.read_bytes()
    wrong = []
    for place in range(len(data)):
        mask = (0x01, 0x20, 0x80)[place % 3]
        path.write_bytes(_flipped(data, place, mask))
        if _loading(context, any_vault.new) not in (40, 41, 42, 33):
            wrong.append((place, mask, data[max(0, place - 20) : place + 20]))
    path.write_bytes(data)
    assert wrong == []
    assert _refusal(context, any_vault.new) == 0


def test_changed_bytes_of_a_payload_are_found(any_vault: Vault) -> None:
    path, context = any_vault.path(any_vault.new), any_vault.context
    data = path.read_bytes()
    ends = {*range(32), *range(250, 290), *range(len(data) - 40, len(data))}
    places = sorted(ends | set(range(0, len(data), max(1, len(data) // 150))))
    wrong = []
    for place in places:
        path.write_bytes(_flipped(data, place, 1 << (place % 8)))
        if _refusal(context, any_vault.new) not in (40, 41):
            wrong.append(place)
    path.write_bytes(data)
    assert wrong == []


def test_a_payload_cut_anywhere_is_found(any_vault: Vault) -> None:
    path, context = any_vault.path(any_vault.new), any_vault.context
    data = path.read_bytes()
    edges = {0, 1, HEADER_BYTES, HEADER_BYTES + 16, len(data) - TAG_BYTES, len(data) - 1}
    edges |= _inner_ends(any_vault)
    lengths = {edge + shift for edge in edges for shift in (-1, 0, 1)}
    lengths |= set(range(0, len(data), max(1, len(data) // 40)))
    wrong = []
    for length in sorted(length for length in lengths if 0 <= length < len(data)):
        path.write_bytes(data[:length])
        if _refusal(context, any_vault.new) not in (40, 41):
            wrong.append(length)
    path.write_bytes(data)
    assert wrong == []


def _inner_ends(vault: Vault) -> set[int]:
    """Return where the compressed blocks end in the payload, as if it were not encrypted."""
    context = vault.context
    manifest = repository.load_trusted(context.repository, vault.new)
    plain = b"".join(payload.open_plain(context.repository.storage, manifest))
    kind = Compression(manifest.header.stages.compression)
    stage = compress(kind, level=manifest.header.stages.compression_level, threads=1)
    start = HEADER_BYTES if manifest.encrypted else 0
    ends = {start}
    for block in stage(iter([plain])):
        start += len(block)
        ends.add(start)
    return ends


@pytest.mark.parametrize("more", [b"\0", b"\n", bytes(16), bytes(100_000)])
def test_bytes_behind_a_payload_are_found(any_vault: Vault, more: bytes) -> None:
    path = any_vault.path(any_vault.new)
    data = path.read_bytes()
    for addition in (more, data):
        path.write_bytes(data + addition)
        assert _refusal(any_vault.context, any_vault.new) in (40, 41)
    path.write_bytes(data)


def test_a_cut_manifest_is_found(any_vault: Vault) -> None:
    path, context = any_vault.path(any_vault.new.manifest), any_vault.context
    data = path.read_bytes()
    codes = set()
    for length in range(0, len(data), 11):
        path.write_bytes(data[:length])
        codes.add(_loading(context, any_vault.new))
    path.write_bytes(data + b"\n")
    codes.add(_loading(context, any_vault.new))
    path.write_bytes(data)
    assert codes == {40}


def test_every_changed_byte_of_a_spare_key_is_found(vault: Vault) -> None:
    path, context = vault.path(vault.new.key_copy), vault.context
    data = path.read_bytes()
    manifest = repository.load_trusted(context.repository, vault.new)
    wrong = []
    for place in range(len(data)):
        path.write_bytes(_flipped(data, place, 1))
        if not repository.check_key_copy(context.repository, manifest, vault.new):
            wrong.append(place)
    path.write_bytes(data)
    assert wrong == []
    assert repository.check_key_copy(context.repository, manifest, vault.new) == ""


def _flipped(data: bytes, place: int, mask: int) -> bytes:
    return data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]


# Through the command: each deed, and the code with which it is refused.


def _flip_payload(vault: Vault) -> None:
    path = vault.path(vault.new)
    path.write_bytes(_flipped(path.read_bytes(), 3000, 1))


def _cut_payload(vault: Vault) -> None:
    path = vault.path(vault.new)
    path.write_bytes(path.read_bytes()[:-48])


def _lengthen_payload(vault: Vault) -> None:
    with vault.path(vault.new).open("ab") as file:
        file.write(bytes(16))


def _remove_payload(vault: Vault) -> None:
    vault.path(vault.new).unlink()


def _swap_payloads(vault: Vault) -> None:
    vault.path(vault.new).write_bytes(vault.files[str(vault.old)])
    vault.path(vault.old).write_bytes(vault.files[str(vault.new)])


def _swap_manifests(vault: Vault) -> None:
    vault.path(vault.new.manifest).write_bytes(vault.files[vault.old.manifest])
    vault.path(vault.old.manifest).write_bytes(vault.files[vault.new.manifest])


def _put_the_old_backup_under_the_new_name(vault: Vault) -> None:
    vault.path(vault.new).write_bytes(vault.files[str(vault.old)])
    vault.path(vault.new.manifest).write_bytes(vault.files[vault.old.manifest])
    vault.path(vault.new.key_copy).write_bytes(vault.files[vault.old.key_copy])


def _put_an_unencrypted_backup_there(vault: Vault) -> None:
    context = vault.context
    manifest = repository.load_trusted(context.repository, vault.new)
    assert manifest.details
    plain = b"".join(payload.open_plain(context.repository.storage, manifest))
    stages = replace(manifest.header.stages, cipher=None)
    _write_unsigned(vault, plain.replace(b"wordy", b"false"), stages, manifest)


def _write_unsigned(
    vault: Vault, plain: bytes, stages: Stages, manifest: manifests.Manifest
) -> None:
    stored = b"".join(
        flow(iter([plain]), *payload.writing_stages(stages, threads=1, data_key=None))
    )
    contents = read_contents(split(iter([plain])), None).result()
    size = replace(
        manifest.header.stored, bytes=len(stored), sha256=hashlib.sha256(stored).hexdigest()
    )
    header = replace(manifest.header, stages=stages, stored=size)
    assert manifest.details
    details = replace(
        manifest.details, plain=contents.plain, tables=contents.tables, objects=contents.objects
    )
    vault.path(vault.new).write_bytes(stored)
    vault.path(vault.new.manifest).write_bytes(
        manifests.serialise(header, details, keys=(), data_key=None)
    )


def _put_an_unsigned_manifest_there(vault: Vault) -> None:
    manifest = repository.load_trusted(vault.context.repository, vault.new)
    assert manifest.details
    unsigned = manifests.serialise(manifest.header, manifest.details, keys=(), data_key=None)
    vault.path(vault.new.manifest).write_bytes(unsigned)


def _put_the_keys_of_the_other_backup_there(vault: Vault) -> None:
    other = json.loads(vault.files[vault.old.manifest])
    _edit(vault, vault.new.manifest, keys=other["keys"], keys_mac=other["keys_mac"])


def _take_the_mac_away(vault: Vault) -> None:
    body = json.loads(vault.files[vault.new.manifest])
    del body["mac"]
    vault.path(vault.new.manifest).write_bytes(canonical.to_bytes(body))


def _edit_the_note(vault: Vault) -> None:
    _edit(vault, vault.new.manifest, note="all is well")


def _edit_the_format(vault: Vault) -> None:
    _edit(vault, vault.new.manifest, format=2)


def _require_a_feature(vault: Vault) -> None:
    _edit(vault, "repository.json", features=["dedup"])


def _raise_the_repository_format(vault: Vault) -> None:
    _edit(vault, "repository.json", format=2)


def _remove_manifest(vault: Vault) -> None:
    vault.path(vault.new.manifest).unlink()


def _empty_manifest(vault: Vault) -> None:
    vault.path(vault.new.manifest).write_bytes(b"")


def _edit(vault: Vault, name: str, **fields: Any) -> None:  # noqa: ANN401 (JSON)
    body = json.loads(vault.files[name]) | fields
    vault.path(name).write_bytes(canonical.to_bytes(body))


def _nothing(_: Vault) -> None:
    pass


AUTHENTIC, INTEGRITY = AuthenticationFailed.exit_code, IntegrityError.exit_code
DEEDS: dict[str, tuple[Callable[[Vault], None], int, dict[str, str | None]]] = {
    "changed byte in the payload": (_flip_payload, AUTHENTIC, {}),
    "shortened payload": (_cut_payload, AUTHENTIC, {}),
    "lengthened payload": (_lengthen_payload, AUTHENTIC, {}),
    "missing payload": (_remove_payload, BlobMissing.exit_code, {}),
    "swapped payloads": (_swap_payloads, AUTHENTIC, {}),
    "swapped manifests": (_swap_manifests, AUTHENTIC, {}),
    "old backup under a newer name": (_put_the_old_backup_under_the_new_name, AUTHENTIC, {}),
    "unencrypted backup instead": (_put_an_unencrypted_backup_there, AUTHENTIC, {}),
    "unsigned manifest instead": (_put_an_unsigned_manifest_there, AUTHENTIC, {}),
    "keys of another backup": (_put_the_keys_of_the_other_backup_there, AUTHENTIC, {}),
    "missing mac": (_take_the_mac_away, INTEGRITY, {}),
    "edited note": (_edit_the_note, AUTHENTIC, {}),
    "format of the future": (_edit_the_format, UnknownFormat.exit_code, {}),
    "feature of the future": (_require_a_feature, UnknownFormat.exit_code, {}),
    "repository of the future": (_raise_the_repository_format, UnknownFormat.exit_code, {}),
    "missing manifest": (_remove_manifest, BackupNotFound.exit_code, {}),
    "empty manifest": (_empty_manifest, INTEGRITY, {}),
    "wrong key": (_nothing, WrongKey.exit_code, {"BACKUP_ENCRYPTION_KEY": OTHER_KEY}),
    "no key": (_nothing, WrongKey.exit_code, {"BACKUP_ENCRYPTION_KEY": None}),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_verify_and_restore_refuse_before_they_reach_a_server(
    vault: Vault, server: Server, logged: Callable[[], int], deed: str
) -> None:
    act, code, settings = DEEDS[deed]
    before = checksums(server, vault.database)
    act(vault)
    command = vault.command.having(**settings)
    sessions = logged()
    verified = command.run("verify", str(vault.new))
    restored = command.run("restore", str(vault.new), "--yes", "--skip-pre-restore-backup")
    assert logged() == sessions
    assert (verified.code, restored.code) == (code, code), verified.said + restored.said
    assert "\nHINT: " in verified.err
    assert "\nHINT: " in restored.err
    assert checksums(server, vault.database) == before


def test_the_untouched_vault_is_intact(vault: Vault) -> None:
    assert vault.command.ok("verify-all")["failed"] == 0
    document = vault.command.ok("list")
    assert [entry["problem"] for entry in document["backups"]] == [None, None]
    assert document["doubts"] == []


def test_verify_all_and_list_show_a_swap(vault: Vault) -> None:
    _swap_payloads(vault)
    done = vault.command.run("--json", "verify-all")
    assert done.code == AUTHENTIC
    assert done.json["failed"] == 2


def test_list_never_hides_the_good_behind_the_bad(vault: Vault) -> None:
    _empty_manifest(vault)
    document = vault.command.ok("list")
    assert [entry["backup"] for entry in document["backups"]] == [str(vault.old)]
    assert vault.new.manifest in [entry["name"] for entry in document["others"]]
    done = vault.command.run("--json", "verify-all")
    assert done.code == INTEGRITY
    assert done.json["failed"] == 1


def test_a_backup_taken_out_of_the_middle_is_doubted(vault: Vault) -> None:
    third = vault.command.backup()
    _remove_manifest(vault)
    _remove_payload(vault)
    document = vault.command.ok("list")
    parsed = parse_payload(third)
    assert parsed
    for name in (third, parsed.manifest, parsed.key_copy):
        vault.path(name).unlink()
    assert len(document["doubts"]) == 1


def test_swapped_spare_keys_are_noticed_and_open_nothing(vault: Vault, server: Server) -> None:
    before = checksums(server, vault.database)
    vault.path(vault.new.key_copy).write_bytes(vault.files[vault.old.key_copy])
    done = vault.command.run("--json", "verify", str(vault.new))
    assert (done.code, done.json["verdict"], len(done.json["warnings"])) == (0, "intact", 1)
    assert "key copy" in done.err, "nobody reads a note in a document"
    assert vault.path(vault.new.key_copy).read_bytes() == vault.files[vault.new.key_copy], "mended"
    assert vault.command.ok("verify", str(vault.new))["warnings"] == []
    vault.path(vault.new.key_copy).write_bytes(vault.files[vault.old.key_copy])
    _remove_manifest(vault)
    done = vault.command.run("restore", "--orphan", str(vault.new), "--yes")
    assert done.code in (AUTHENTIC, WrongKey.exit_code), done.said
    assert checksums(server, vault.database) == before


def test_an_orphan_that_was_changed_or_has_no_key_is_refused(vault: Vault, server: Server) -> None:
    before = checksums(server, vault.database)
    _remove_manifest(vault)
    _flip_payload(vault)
    orphan = ("restore", "--orphan", str(vault.new), "--yes", "--skip-pre-restore-backup")
    assert vault.command.run(*orphan).code == AUTHENTIC
    vault.mend()
    _remove_manifest(vault)
    for key in (OTHER_KEY, None):
        done = vault.command.having(BACKUP_ENCRYPTION_KEY=key).run(*orphan)
        assert done.code == WrongKey.exit_code, done.said
    assert checksums(server, vault.database) == before


# What an encrypted repository tells a stranger.


def test_an_encrypted_repository_names_no_table_and_no_host(vault: Vault, server: Server) -> None:
    everything = b"".join(vault.files.values()) + "".join(vault.files).encode()
    names = ["customers", "orders", "zebras", "totals", "on_order", "nightly", "stripes", "wordy"]
    names += [socket.gethostname() + ":", vault.command.settings["DB_SOCKET"], "CREATE TABLE"]
    host = str(server.value("SELECT @@hostname"))
    names += [host] if len(host) > 3 else []
    for name in names:
        assert name.encode() not in everything, name


def test_an_encrypted_repository_holds_no_digest_that_could_be_guessed(vault: Vault) -> None:
    context = vault.context
    manifest = repository.load_trusted(context.repository, vault.new)
    plain = b"".join(payload.open_plain(context.repository.storage, manifest))
    guessed = read_contents(split(iter([plain])), None).result()
    digests = {hashlib.sha256(plain).hexdigest(), guessed.plain.digest}
    for table in guessed.tables:
        digests |= {table.definition, table.rows_digest}
    digests |= {entry.digest for entry in guessed.objects}
    digests |= {hashlib.sha256(piece.data).hexdigest() for piece in split(iter([plain]))}
    everything = b"".join(vault.files.values())
    for digest in digests:
        assert digest.encode() not in everything
        assert bytes.fromhex(digest) not in everything
    assert manifest.details
    assert manifest.details.plain.digest not in digests
    assert not {table.rows_digest for table in manifest.details.tables} & digests


def test_two_backups_of_the_same_data_have_nothing_in_common(vault: Vault) -> None:
    old, new = vault.files[str(vault.old)], vault.files[str(vault.new)]
    body = range(HEADER_BYTES, min(len(old), len(new)) - 16, 16)
    blocks = {old[place : place + 16] for place in body}
    assert not blocks & {new[place : place + 16] for place in body}
