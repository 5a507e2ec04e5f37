"""Manifests: what is written is read; what was changed is refused."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.manifests import DETAILS, KEY, header, read, written
from ulasis_backup.errors import (
    AuthenticationFailed,
    IntegrityError,
    UlasisError,
    UnknownFormat,
    WrongKey,
)
from ulasis_backup.model import AuditAnchor
from ulasis_backup.repository import canonical
from ulasis_backup.repository import manifest as manifests
from ulasis_backup.repository.repository import key_copy
from ulasis_backup.streams.keys import new_data_key, wrap

ID = "shop-backup-2026-11-22T020000Z-4f1c"
UNSIGNED = written(header(ID), None)
SIGNED = written(header(ID), new_data_key(ID))
ENCRYPTED = written(header(ID, cipher="aes-256-cbc"), new_data_key(ID))
ALL = {"unsigned": (UNSIGNED, None), "signed": (SIGNED, KEY), "encrypted": (ENCRYPTED, KEY)}
# With its quotation mark, for three letters happen to stand in base64.
SECRETS = ("orders", "totals", '"db1', "binlog", "mariadb-dump", "utf8mb4_bin", "00" * 32)


def changed(data: bytes, **fields: object) -> bytes:
    """Return manifest *data* with other *fields*; None takes one away."""
    body = json.loads(data) | fields
    return canonical.to_bytes({name: value for name, value in body.items() if value is not None})


@pytest.mark.parametrize("which", ALL)
def test_what_was_written_is_read(which: str) -> None:
    data, key = ALL[which]
    found = read(data, key)
    cipher = "aes-256-cbc" if which == "encrypted" else None
    assert found.header == header(ID, cipher=cipher)
    assert found.details == DETAILS
    assert found.signed is (which != "unsigned")
    assert found.encrypted is (which == "encrypted")


@pytest.mark.parametrize("which", ALL)
def test_an_anchor_of_the_audit_log_is_kept_and_under_the_mac(which: str) -> None:
    data, key = ALL[which]
    anchor = AuditAnchor(host="db1", seq=7, digest="ab" * 32, key="cd" * 16)
    cipher = "aes-256-cbc" if which == "encrypted" else None
    anchored = written(
        dataclasses.replace(header(ID, cipher=cipher), audit=anchor),
        None if which == "unsigned" else new_data_key(ID),
    )  # fmt: skip
    other = changed(anchored, audit={"host": "db1", "seq": 8, "digest": "ab" * 32, "key": "cd"})

    assert read(anchored, key).header.audit == anchor
    with pytest.raises(IntegrityError):
        read(other, key)
    with pytest.raises(IntegrityError):
        read(changed(anchored, audit=None), key)
    # Without an anchor the manifest is what versions without the log write and read.
    assert b'"audit"' not in data
    assert read(data, key).header.audit is None


@pytest.mark.parametrize("which", ALL)
def test_every_single_flipped_byte_is_refused(which: str) -> None:
    data, key = ALL[which]
    for index in range(len(data)):
        flipped = bytearray(data)
        flipped[index] ^= 1 + index % 255
        with pytest.raises(UlasisError) as refused:
            read(bytes(flipped), key)
        assert isinstance(refused.value, IntegrityError | UnknownFormat)


@pytest.mark.parametrize("which", ALL)
def test_every_cut_is_refused(which: str) -> None:
    data, key = ALL[which]
    for length in range(0, len(data), 7):
        with pytest.raises(IntegrityError):
            read(data[:length], key)


def test_nothing_of_the_database_can_be_read_in_an_encrypted_manifest() -> None:
    for secret in SECRETS:
        assert secret.encode() not in ENCRYPTED
    found = read(ENCRYPTED)
    assert found.details is None
    with pytest.raises(WrongKey):
        manifests.need_key(found)


def test_a_signed_manifest_without_its_mac_is_refused() -> None:
    for data in (SIGNED, ENCRYPTED):
        with pytest.raises(IntegrityError):
            read(changed(data, mac=None), KEY)
        with pytest.raises(IntegrityError):
            read(changed(data, mac=None, keys=None, keys_mac=None), KEY)


def test_a_mac_that_is_no_text_is_refused() -> None:
    macs: tuple[object, ...] = (1, True, [], {}, "", "é", "00" * 32)
    for mac in macs:
        with pytest.raises(IntegrityError):
            read(changed(SIGNED, mac=mac), KEY)
        with pytest.raises(IntegrityError):
            read(changed(SIGNED, keys_mac=mac), KEY)


def test_a_signed_manifest_turned_into_an_unsigned_one_shows_that_it_is_unsigned() -> None:
    # Whoever can write can do this; a configured key then refuses it (see the repository).
    downgraded = read(UNSIGNED, KEY)
    assert downgraded.signed is False
    assert downgraded.data_key is None


def test_replaced_wrapped_keys_are_refused() -> None:
    theirs = json.loads(written(header(ID), new_data_key(ID)))
    with pytest.raises(AuthenticationFailed):
        read(changed(SIGNED, keys=theirs["keys"], keys_mac=theirs["keys_mac"]), KEY)
    with pytest.raises(AuthenticationFailed):
        read(changed(SIGNED, keys=theirs["keys"]), KEY)
    with pytest.raises(WrongKey):
        read(changed(SIGNED, keys=[]), KEY)


def test_wrapped_keys_can_be_replaced_without_touching_the_rest() -> None:
    data_key = new_data_key(ID)
    data, other = written(header(ID), data_key), os.urandom(32)
    rotated = changed(data, **manifests.serialise_keys((wrap(data_key, other),), data_key))
    assert read(rotated, other).details == DETAILS
    assert read(rotated, other).digest == read(data, KEY).digest
    with pytest.raises(WrongKey):
        read(rotated, KEY)


@pytest.mark.parametrize("which", ["signed", "encrypted"])
def test_another_key_is_the_wrong_key(which: str) -> None:
    with pytest.raises(WrongKey):
        read(ALL[which][0], os.urandom(32))


@pytest.mark.parametrize("number", [0, -1, 1.0, "1", None, True, [1]])
def test_a_format_that_is_no_known_number_is_malformed(number: object) -> None:
    with pytest.raises(IntegrityError):
        read(changed(UNSIGNED, format=number))


def test_a_newer_format_is_unknown_and_nothing_else_of_it_is_read() -> None:
    with pytest.raises(UnknownFormat, match="format 2"):
        read(canonical.to_bytes({"format": 2, "anything": ["new"]}))


@pytest.mark.parametrize(
    "fields",
    [
        {"extra": 1},
        {"sequence": "1"},
        {"sequence": 1.5},
        {"partial": 0},
        {"kind": "strange"},
        {"databases": "shop"},
        {"stored": {"bytes": 1}},
        {"stored": None},
        {"id": None},
        {"server": {"flavour": "oracle", "version": "1"}},
        {"details": None},
        {"details": []},
        {"details": {"tables": []}},
        {"details_encrypted": "AAAA"},
        {"keys": {}},
        {"keys": [{"recipient": 1, "wrapped": 2}]},
    ],
)
def test_fields_of_the_wrong_shape_are_refused(fields: dict[str, Any]) -> None:
    body = json.loads(changed(UNSIGNED, **fields))
    body.pop("sha256")
    # With the right digest, so that the shape alone is looked at.
    data = canonical.to_bytes(body)
    body["sha256"] = _sha256(data)
    with pytest.raises(IntegrityError):
        read(canonical.to_bytes(body))


def _sha256(data: bytes) -> str:
    import hashlib  # noqa: PLC0415 (one use)

    return hashlib.sha256(data).hexdigest()


@given(
    value=st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text(), max_size=4)
)
def test_no_json_makes_the_reader_stumble(value: dict[str, object]) -> None:
    for extra in ({}, {"format": 1}, {"format": 1, "mac": ""}):
        with pytest.raises(UlasisError):
            read(canonical.to_bytes(value | extra), KEY)


def test_the_spare_key_copy_opens_for_its_backup_alone() -> None:
    data_key = new_data_key(ID)
    copy = key_copy((wrap(data_key, KEY),), data_key)
    opened = manifests.parse_key_copy(copy, name="keys/x.json", backup_id=ID, key=KEY)
    assert opened == data_key
    other = "shop-backup-2026-11-23T020000Z-4f1c"
    with pytest.raises(AuthenticationFailed):
        manifests.parse_key_copy(copy, name="keys/x.json", backup_id=other, key=KEY)
    with pytest.raises(WrongKey):
        manifests.parse_key_copy(copy, name="keys/x.json", backup_id=ID, key=os.urandom(32))


def test_a_changed_spare_key_copy_is_refused() -> None:
    data_key = new_data_key(ID)
    copy = key_copy((wrap(data_key, KEY),), data_key)
    begin = copy.index(b'"keys":')
    for index in range(begin, len(copy)):
        flipped = bytearray(copy)
        flipped[index] ^= 1
        with pytest.raises(IntegrityError):
            manifests.parse_key_copy(bytes(flipped), name="x", backup_id=ID, key=KEY)
