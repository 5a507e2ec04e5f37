"""One object as a file: sealed and opened again, or refused."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.objects import changed, rows
from ulasis_backup.errors import AuthenticationFailed, IntegrityError, UlasisError, UnknownFormat
from ulasis_backup.repository import objectfile
from ulasis_backup.repository.objectfile import Content, Encoding, Epoch, new_epoch
from ulasis_backup.streams import delta

KEYED = new_epoch(key=True)
OPEN = new_epoch(key=False)
BASE = rows(1)


def made(epoch: Epoch, data: bytes, base: bytes | None = None) -> tuple[str, Content, bytes]:
    """Return name, content and file of an object that holds *data*."""
    name = objectfile.new_name(objectfile.fingerprint(epoch, data))
    frame = delta.compress_delta(data, base) if base else None
    base_name = objectfile.new_name(objectfile.fingerprint(epoch, base)) if base and frame else ""
    content = objectfile.encode(data, frame, base_name)
    return name, content, objectfile.seal(epoch, name, content)


def opened(epoch: Epoch, name: str, file: bytes, base: bytes | None = None) -> bytes:
    return objectfile.decode(epoch, name, objectfile.unseal(epoch, name, file), base)


def seal_open(name: str, body: bytes, version: int = 1, flags: int = 0) -> bytes:
    """Return an unencrypted file with a right checksum, whatever *body* says."""
    header = b"ULBO" + bytes([version, flags])
    return header + zlib.crc32(header + name.encode() + body).to_bytes(4, "little") + body


@given(data=st.binary(max_size=2000), keyed=st.booleans())
def test_whole_objects_come_back(data: bytes, keyed: bool) -> None:  # noqa: FBT001 (drawn)
    epoch = KEYED if keyed else OPEN
    name, content, file = made(epoch, data * 3)
    assert content.encoding in (Encoding.RAW, Encoding.ZSTD)
    assert opened(epoch, name, file) == data * 3
    assert objectfile.NAME.fullmatch(name)


@given(seed=st.integers(), count=st.integers(1, 300), keyed=st.booleans())
def test_differences_come_back_with_their_base(seed: int, count: int, keyed: bool) -> None:  # noqa: FBT001 (drawn)
    epoch = KEYED if keyed else OPEN
    data = changed(BASE, seed, count)
    name, content, file = made(epoch, data, BASE)
    assert content.encoding is Encoding.DELTA
    assert opened(epoch, name, file, BASE) == data


def test_what_cannot_be_compressed_is_kept_raw_and_what_can_is_not() -> None:
    assert made(OPEN, b"")[1].encoding is Encoding.RAW
    assert made(OPEN, KEYED.subkey("random"))[1].encoding is Encoding.RAW
    assert made(OPEN, bytes(1000))[1].encoding is Encoding.ZSTD


@pytest.mark.parametrize("epoch", [KEYED, OPEN], ids=["keyed", "open"])
@pytest.mark.parametrize("base", [None, BASE], ids=["whole", "delta"])
def test_any_changed_bit_is_refused(epoch: Epoch, base: bytes | None) -> None:
    name, _, file = made(epoch, changed(BASE, 2), base)
    for place in range(0, len(file), max(1, len(file) // 400)):
        for bit in (1, 0x80):
            wrong = bytearray(file)
            wrong[place] ^= bit
            with pytest.raises(IntegrityError) as refused:
                opened(epoch, name, bytes(wrong), base)
            assert refused.value.hint


@pytest.mark.parametrize("epoch", [KEYED, OPEN], ids=["keyed", "open"])
def test_cut_and_lengthened_files_are_refused(epoch: Epoch) -> None:
    name, _, file = made(epoch, BASE)
    for length in [*range(60), *range(60, len(file), 97), len(file) - 1]:
        with pytest.raises(IntegrityError):
            opened(epoch, name, file[:length])
    for more in (b"\0", file, bytes(100)):
        with pytest.raises(IntegrityError):
            opened(epoch, name, file + more)


@pytest.mark.parametrize("epoch", [KEYED, OPEN], ids=["keyed", "open"])
def test_an_object_under_the_name_of_another_is_refused(epoch: Epoch) -> None:
    _, _, file = made(epoch, BASE)
    other, _, _ = made(epoch, rows(7))
    twin, _, _ = made(epoch, BASE)
    for name in (other, twin):
        with pytest.raises(IntegrityError):
            opened(epoch, name, file)


def test_an_object_of_another_epoch_is_refused() -> None:
    name, _, file = made(KEYED, BASE)
    same_key = Epoch(id=OPEN.id, key=KEYED.key)
    for epoch in (new_epoch(key=True), same_key):
        with pytest.raises(AuthenticationFailed):
            opened(epoch, name, file)
    with pytest.raises(IntegrityError):
        opened(OPEN, name, file)


def test_an_unencrypted_object_in_an_encrypted_epoch_is_not_authentic() -> None:
    name, content, _ = made(KEYED, BASE)
    forged = objectfile.seal(Epoch(id=KEYED.id, key=None), name, content)
    with pytest.raises(AuthenticationFailed):
        opened(KEYED, name, forged)


def test_fingerprints_depend_on_the_key_and_without_one_are_sha_256() -> None:
    assert objectfile.fingerprint(KEYED, b"") != objectfile.fingerprint(OPEN, b"")
    assert objectfile.fingerprint(KEYED, b"") != objectfile.fingerprint(new_epoch(key=True), b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert objectfile.fingerprint(OPEN, b"") == empty


def test_the_key_of_an_epoch_is_not_shown() -> None:
    assert KEYED.key is not None
    assert KEYED.key.hex() not in repr(KEYED)
    assert repr(KEYED.key) not in repr(KEYED)


def test_equal_bytes_are_sealed_differently_each_time() -> None:
    name, content, file = made(KEYED, BASE)
    assert objectfile.seal(KEYED, name, content) != file


def test_a_newer_version_is_named_as_such_when_its_check_is_right() -> None:
    name, _, _ = made(OPEN, BASE)
    with pytest.raises(UnknownFormat):
        objectfile.unseal(OPEN, name, seal_open(name, b"\0" * 10, version=2))


def test_malformed_contents_are_refused() -> None:
    name, _, _ = made(OPEN, b"abc")
    good = b"\0" + (3).to_bytes(8, "little") + b"\0"
    base = b"0" * 64 + b"-01234567"
    assert opened(OPEN, name, seal_open(name, good + b"abc")) == b"abc"
    wrong = [
        b"",  # empty
        good[:9],  # cut
        b"\3" + good[1:] + b"abc",  # unknown encoding
        b"\0" + (4).to_bytes(8, "little") + b"\0abc",  # other size
        good[:9] + b"\x49abc",  # base beyond the end
        good[:9] + b"\x49" + base + b"abc",  # base without a difference
        b"\2" + good[1:] + b"abc",  # difference without a base
        b"\2" + good[1:9] + b"\x02..abc",  # base of an odd name
        b"\1" + (3 << 30).to_bytes(8, "little") + b"\0abc",  # too large
        b"\1" + good[1:] + b"abc",  # no zstd
    ]
    for body in wrong:
        with pytest.raises(IntegrityError):
            opened(OPEN, name, seal_open(name, body))
    with pytest.raises(IntegrityError):
        opened(OPEN, name, seal_open(name, good + b"abc", flags=2))


def test_a_bomb_is_refused_by_the_size_that_it_declares() -> None:
    name, _, _ = made(OPEN, b"x")
    frame = delta.compress(bytes(300 << 20))
    assert len(frame) < 30_000
    for size in (1, 1000):
        body = b"\1" + size.to_bytes(8, "little") + b"\0" + frame
        with pytest.raises(IntegrityError):
            opened(OPEN, name, seal_open(name, body))


@pytest.mark.parametrize(
    "path",
    [
        "ulasis-backup-2026-11-22T020000Z-4f1c.rows.zst.enc.meta.json",
        "objects/0123456789abcdef/ab/../../x",
        f"objects/0123456789abcdef/ab/{'0' * 64}-01234567",
        f"objects/0123456789abcdef/00/{'0' * 64}-01234567/x",
        f"objects/0123456789abcdef/00/{'0' * 63}-01234567",
        f"objects/0123456789ABCDEF/00/{'0' * 64}-01234567",
        f"/objects/0123456789abcdef/00/{'0' * 64}-01234567",
        f"objects/0123456789abcdef/00/{'0' * 64}-01234567\n",
    ],
)
def test_what_is_no_path_of_an_object_has_no_name(path: str) -> None:
    assert objectfile.name_in(path) is None


def test_the_path_of_an_object_tells_its_name() -> None:
    name, _, _ = made(OPEN, BASE)
    path = objectfile.path_of(OPEN.id, name)
    assert objectfile.name_in(path) == name
    assert path.rpartition("/")[0] in objectfile.folders(OPEN.id)


def test_every_refusal_is_an_error_of_ours() -> None:
    name, _, _ = made(OPEN, BASE)
    for file in (b"", b"ULBO", b"ULBO\1\0", b"x" * 100, seal_open(name, b"\1" + b"\xff" * 60)):
        with pytest.raises(UlasisError):
            opened(OPEN, name, file)
