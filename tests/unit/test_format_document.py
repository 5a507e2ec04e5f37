"""docs/format.md against the code: fields, numbers and sums that could drift apart."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
import os
import re
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from support.auditing import filled
from support.manifests import KEY, Wanted, put_backup
from support.memory import MemoryStorage
from ulasis_backup import model
from ulasis_backup.methods import index, records
from ulasis_backup.methods.index import Begin, Range, TableHead, TableRows
from ulasis_backup.methods.rows import INLINE
from ulasis_backup.model import DatabaseOptions, Verdict
from ulasis_backup.mysql.columns import Column, RowSource
from ulasis_backup.mysql.definitions import ORDER, TABLE, Definition, digest_bytes
from ulasis_backup.mysql.keys import Key, KeyColumn
from ulasis_backup.repository import auditfile, chains, objectfile, objectreader, proofs, repository
from ulasis_backup.repository.manifest import Details, Header
from ulasis_backup.repository.proofs import Check, Proof
from ulasis_backup.repository.repository import Repository
from ulasis_backup.streams import delta

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DOCUMENT = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
COLUMN = Column(name="a", kind="int", select="`a`", literal="number")
HEAD = TableHead(source=RowSource(database="d", table="t", columns=(COLUMN,)), key=None)
PART = Range(rows=1, bytes=6, fingerprint="0" * 64, inline=b"\x02\0\0\0\x011")
DEFINITION = Definition(kind=TABLE, name="t", text=b"CREATE TABLE `t`")


def section(title: str) -> str:
    """Return the part of the document below the heading *title*, to the next one of its rank."""
    (found,) = re.findall(rf"(?ms)^(##+) {re.escape(title)}$\n(.*?)(?=^\1 |\Z)", DOCUMENT)
    return str(found[1])


def row(title: str, first: str) -> str:
    """Return the row of a table in *title* that begins with *first*."""
    (line,) = (line for line in section(title).splitlines() if line.startswith(f"| `{first}`"))
    return line


def names(text: str) -> set[str]:
    return set(re.findall(r"`([a-z_]+)`", text))


RECORDS = {
    "begin": index.begin_record(
        Begin(databases=("d",), epoch="e", epoch_key="", flavour="mariadb", version="1")
    ).removeprefix(records.MAGIC),
    "database": index.database_record(
        "d", DatabaseOptions(character_set="utf8mb4", collation="utf8mb4_bin")
    ),
    "definition": index.definition_record("d", DEFINITION),
    "table": index.table_record(HEAD),
    "range": index.range_record(PART),
    "table-end": index.table_end_record(TableRows(head=HEAD, ranges=(PART,))),
    "end": index.end_record(1, 1),
}


@pytest.mark.parametrize("kind", sorted(RECORDS))
def test_every_field_of_a_record_is_documented(kind: str) -> None:
    found = json.loads(RECORDS[kind].split(b"\n")[0])
    assert found.pop("record") == kind
    found.pop("blob", None)
    assert set(found) <= names(row("The index of a rows backup", kind)), found


@pytest.mark.parametrize("value", [Column, KeyColumn, Key])
def test_every_field_of_columns_and_keys_is_documented(value: type) -> None:
    wanted = {field.name for field in dataclasses.fields(value)}
    assert all(re.search(rf'[`"]{name}[`"]', section("Rows")) for name in wanted)


@pytest.mark.parametrize("value", [Details, Header])
def test_every_field_of_the_manifest_is_documented(value: type) -> None:
    fields = {field.name for field in dataclasses.fields(value)}
    assert fields <= names(section("Manifest"))


def test_every_field_of_an_entry_of_the_audit_log_is_documented(tmp_path: Path) -> None:
    sealed, plain = (filled(tmp_path / name, key=key) for name, key in (("a", KEY), ("b", None)))
    written = [json.loads(raw.data) for raw in (*sealed.raws(), *plain.raws())]
    said = {field for entry in written for field in entry}
    facts = {field.name for field in dataclasses.fields(auditfile.Facts)}
    page = (Path(__file__).parents[2] / "docs/reference/audit.md").read_text(encoding="utf-8")
    body = {field.name for field in dataclasses.fields(auditfile.Body)} - {"padding"}

    assert said | facts | {"padding"} <= names(section("Audit log"))
    assert body <= names(page)
    assert {"`began`", "`ended`", "`interrupted`"} <= {f"`{event}`" for event in auditfile.Event}
    assert all(f"`{kind}`" in section("Audit log") for kind in auditfile.Kind)


def test_an_entry_of_the_audit_log_is_checked_as_the_document_says(tmp_path: Path) -> None:
    scribe = filled(tmp_path)
    first, second = (raw.data for raw in scribe.raws()[:2])
    entry = json.loads(second)
    public = bytes.fromhex(json.loads(first)["facts"]["public"])
    signature = bytes.fromhex(entry.pop("signature"))
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    data_key = json.loads((scribe.folder / "keys" / f"{entry['body_key']}.json").read_bytes())
    secret = aes_key_unwrap(KEY, bytes.fromhex(data_key["keys"][0]["wrapped"]))
    info = f"ulasis-backup/1/{entry['body_key']}/audit/body".encode()
    subkey = HKDF(SHA256(), 32, salt=None, info=info).derive(secret)
    sealed = base64.b64decode(entry["body_encrypted"])

    assert entry["previous"] == hashlib.sha256(first).hexdigest()
    assert entry["key"] == hashlib.sha256(public).hexdigest()[:32]
    Ed25519PublicKey.from_public_bytes(public).verify(
        signature, b"ulasis-backup/1/audit\0" + text.encode()
    )
    body = json.loads(AESGCM(subkey).decrypt(sealed[:12], sealed[12:], None))
    assert (body["event"], body["command"]) == ("began", "backup")
    assert (len(sealed) - 12 - 16) % 512 == 0


@pytest.mark.parametrize(
    ("first", "value"),
    [
        ("tables", model.TableSummary),
        ("objects", model.ObjectSummary),
        ("left_out", model.LeftOut),
        ("text_losses", model.TextLoss),
        ("shared", model.Shared),
        ("database_options", model.DatabaseOptions),
    ],
)
def test_every_field_of_what_the_details_list_is_documented(first: str, value: type) -> None:
    wanted = {field.name for field in dataclasses.fields(value)}
    assert wanted == set(re.findall(r'"([a-z_]+)"', row("Manifest", first)))


def test_the_numbers_of_the_document_are_those_of_the_code() -> None:
    text = section("The index of a rows backup") + section("Objects")
    for said, number in (
        ("at most 4 MiB long", records.LONGEST_LINE == 4 << 20),
        ("at most 2^30", records.LONGEST_BLOB == 1 << 30),
        ("at most 16 KiB", INLINE == 16 << 10),
        ("at most ten links", chains.MOST_LINKS == 10),
        ("readers follow 64", objectreader.DEEPEST == 64),
        ("behind six links", chains.DAYS == 6),
        ("more than a quarter", chains.WORTH == 4),
        ("up to 2^27 bytes", delta.LARGEST_WINDOW_LOG == 27),
        ("at most 2 GiB", objectfile.MOST_PLAIN == 2 << 30),
    ):
        assert said in " ".join(text.split())
        assert number, said
    assert records.MAGIC.decode().strip() in text


def test_definitions_stand_in_the_order_that_the_document_says() -> None:
    said = " ".join(section("Definitions").split())
    order = ["sequence", TABLE, *(str(kind) for kind in ORDER)]
    plural = ", ".join(f"{kind}s" for kind in order).replace("bodys", "bodies")
    assert f"{plural}." in said or f"{plural};" in said


def test_a_definition_is_digested_as_the_document_says() -> None:
    extra = {"table": "é", "timing": "BEFORE", "order": "2", "created": "5"}
    definition = Definition(
        kind="trigger", name="t", text=b"CREATE \xff", sql_mode="M", charset_client="latin1",
        collation_connection="c", database_collation="d", time_zone="z", extra=extra,
    )  # fmt: skip
    assert digest_bytes(definition) == (
        b"7:trigger,1:t,1:M,6:latin1,1:c,1:d,1:z,2:\xc3\xa9,6:BEFORE,0:,1:2,0:,8:CREATE \xff,"
    )


def test_the_end_of_a_table_digests_its_ranges_as_the_document_says() -> None:
    table = TableRows(head=HEAD, ranges=(PART, PART))
    assert table.digest == hashlib.sha256(bytes(64)).hexdigest()


def test_a_difference_of_the_widest_window_is_read_without_further_options() -> None:
    base, data = os.urandom(66 << 20), b"new"
    data += base[: 60 << 20]
    frame = delta.compress_delta(data, base)
    assert frame is not None
    assert len(frame) < 10_000
    prefix = zstd.ZstdDict(base, is_raw=True).as_prefix
    assert zstd.decompress(frame, zstd_dict=prefix) == data


def test_a_proof_has_the_fields_that_are_written_down_and_can_be_checked_by_the_document() -> None:
    shelf = Repository(MemoryStorage(), KEY)
    name = put_backup(shelf, Wanted(key=KEY))
    manifest = repository.load(shelf, name)
    proof = Proof(
        backup=manifest.header.id, manifest=manifest.digest, check=Check.VERIFY,
        verdict=Verdict.FAILED, started_at="2026-11-22T02:00:00+00:00",
        finished_at="2026-11-22T02:00:00+00:00", host="h", tool="t", reason="r",
    )  # fmt: skip
    proofs.record(shelf, manifest, proof)
    (blob,) = shelf.storage.list(f"proofs/{manifest.header.id}")
    body = json.loads(b"".join(shelf.storage.open(blob.name)))
    # By the document alone from here on.
    keys = json.loads(b"".join(shelf.storage.open(name.manifest)))["keys"]
    secret = aes_key_unwrap(KEY, bytes.fromhex(keys[0]["wrapped"]))

    def subkey(role: str) -> bytes:
        info = f"ulasis-backup/1/{manifest.header.id}/{role}".encode()
        return HKDF(SHA256(), 32, salt=None, info=info).derive(secret)

    mac = body.pop("mac")
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hmac.digest(subkey("proof"), text.encode(), "sha256").hex() == mac
    sealed = base64.b64decode(body["details_encrypted"])
    opened = AESGCM(subkey("proof/details")).decrypt(sealed[:12], sealed[12:], None)
    assert len(opened) % 256 == 0
    details = json.loads(opened)
    assert details["reason"] == "r"
    first = {line.split("|")[1] for line in section("Proofs").splitlines() if line.startswith("| ")}
    written_down = {field for cell in first for field in names(cell)}
    assert written_down == set(body) | set(details) | {"mac", "details"}
    assert row("Proofs", "sha256")
