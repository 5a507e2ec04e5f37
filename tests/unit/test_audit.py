"""The audit log: what is put behind what, and that any tampering with it is found and named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.auditing import BEGIN, KEY, Scribe, bodies, body, filled, new_signer
from ulasis_backup.errors import IntegrityError, SettingsError, WrongKey
from ulasis_backup.repository import audit, auditfile
from ulasis_backup.repository.audit import Memory
from ulasis_backup.repository.auditfile import Event, Facts, Kind
from ulasis_backup.repository.auditverify import Grade, Known, check_log
from ulasis_backup.repository.repository import Repository
from ulasis_backup.streams import signing

SECRET = "customers_of_the_bank"


@pytest.fixture
def log(tmp_path: Path) -> Scribe:
    """Return a log of nine entries: the key, then four runs."""
    return filled(tmp_path)


def test_a_log_begins_with_its_key_and_each_entry_names_the_one_before(log: Scribe) -> None:
    entries = log.entries()

    assert [entry.seq for entry in entries] == list(range(1, 10))
    assert [entry.kind for entry in entries] == [Kind.KEY] + 8 * [Kind.RUN]
    assert entries[0].previous == ""
    assert [one.previous for one in entries[1:]] == [one.digest for one in entries[:-1]]
    assert {entry.key for entry in entries} == {log.signer.fingerprint}
    assert log.wrong(log.known(4)) == []


def test_an_end_names_its_begin_and_what_is_open_is_carried_on(log: Scribe) -> None:
    log.write(body(Event.BEGAN, "one"))
    log.write(body(Event.BEGAN, "two"))
    log.write(body(Event.ENDED, "one", code=0))
    said = list(bodies(log))

    assert [one.run for one in said[-1].open] == ["two"]
    assert said[-1].of == 10
    assert said[-1].open[0].seq == 11


def test_a_run_is_called_interrupted_once_and_never_after_its_end(log: Scribe) -> None:
    log.write(body(Event.BEGAN, "one"))

    assert log.write(body(Event.INTERRUPTED, "one")) is not None
    assert log.write(body(Event.INTERRUPTED, "one")) is None
    assert list(bodies(log))[-1].open == ()


def test_without_memory_the_end_is_found_all_the_same(log: Scribe) -> None:
    log.memory = Memory()
    log.run()

    assert log.numbers() == list(range(1, 12))
    assert [entry.kind for entry in log.entries()].count(Kind.KEY) == 1
    assert log.wrong() == []


@pytest.mark.parametrize("key", [KEY, None])
def test_a_body_is_sealed_where_there_is_a_key_and_its_size_tells_no_command(
    tmp_path: Path, key: bytes | None
) -> None:
    scribe = Scribe(tmp_path, key=key)
    scribe.write(body(Event.BEGAN, "a", SECRET))
    scribe.write(body(Event.ENDED, "a", SECRET, messages=("x" * 100,)))
    raw = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())

    assert (SECRET.encode() in raw) is (key is None)
    assert (b"anna" in raw) is (key is None)
    assert [one.command for one in bodies(scribe)] == [SECRET, SECRET]
    if key:
        assert len({len(scribe.path(seq).read_bytes()) for seq in (2, 3)}) == 1


def test_chain_and_signatures_are_checked_without_the_key_and_contents_are_not_read(
    log: Scribe,
) -> None:
    without = log.other(key=None)
    keys = audit.Keys(without.shelf)

    assert check_log("db1", without.raws()).findings == ()
    with pytest.raises(WrongKey):
        keys.body_of(log.entries()[1])


def test_another_key_of_the_user_begins_another_sealing_key_and_reads_no_old_body(
    log: Scribe,
) -> None:
    log.key = bytes(32)
    log.run()
    entries = log.entries()
    keys = audit.Keys(log.shelf)

    assert keys.body_of(entries[-1]).command == "backup"
    with pytest.raises(WrongKey):
        keys.body_of(entries[1])
    assert log.wrong() == []


def test_the_key_of_the_bodies_is_kept_twice_and_its_loss_is_no_excuse(log: Scribe) -> None:
    one, other = sorted((log.folder / "keys").iterdir())
    one.unlink()
    assert [said.command for said in bodies(log)] == 8 * ["backup"]

    other.unlink()
    with pytest.raises(IntegrityError, match="is gone"):
        list(bodies(log))


def _changed_field(log: Scribe) -> None:
    log.change(4, at="2020-01-01T00:00:00+00:00")


def _changed_and_hashed_anew(log: Scribe) -> None:
    log.change(4, at="2026-11-25T02:04:30+00:00")
    log.rehash(5)


def _dropped(log: Scribe) -> None:
    log.path(4).unlink()


def _dropped_and_closed_up(log: Scribe) -> None:
    log.path(4).unlink()
    for seq in range(5, 10):
        log.path(seq).rename(log.path(seq - 1))
        log.change(seq - 1, seq=seq - 1)
    log.rehash(4)


def _swapped(log: Scribe) -> None:
    four, five = log.path(4).read_bytes(), log.path(5).read_bytes()
    log.path(4).write_bytes(five)
    log.path(5).write_bytes(four)


def _tail_cut(log: Scribe) -> None:
    for seq in (8, 9):
        log.path(seq).unlink()


def _begin_cut(log: Scribe) -> None:
    for seq in (1, 2, 3):
        log.path(seq).unlink()


def _duplicated(log: Scribe) -> None:
    shutil.copy(log.path(9), log.path(10))


def _inserted_by_another_key(log: Scribe) -> None:
    log.other().run()


def _signed_by_a_key_that_is_not_told_of(log: Scribe) -> None:
    entry = log.entries()[3]
    data = auditfile.serialise(auditfile.Entry(
        host="db1", seq=4, at=entry.at, kind=Kind.RUN, previous=entry.previous, key="",
        body=body(Event.ENDED, "x", "list"),
    ), new_signer())  # fmt: skip
    log.path(4).write_bytes(data)


def _made_anew_with_another_key(log: Scribe) -> None:
    shutil.rmtree(log.folder)
    forger = log.other()
    for _ in range(4):
        forger.run("list")


def _moved_from_another_host(log: Scribe) -> None:
    other = log.other(host="db2")
    for _ in range(4):
        other.run()
    shutil.rmtree(log.folder)
    other.folder.rename(log.folder)


def _old_copy_put_back(log: Scribe) -> None:
    copy = log.place / "copy"
    shutil.copytree(log.folder, copy)
    log.run()
    shutil.rmtree(log.folder)
    copy.rename(log.folder)


def _sealed_body_flipped(log: Scribe) -> None:
    data = log.path(4).read_bytes()
    at = data.index(b'"body_encrypted":"') + 40
    flipped = b"A" if data[at : at + 1] != b"A" else b"B"
    log.path(4).write_bytes(data[:at] + flipped + data[at + 1 :])


def _trim_forged(log: Scribe) -> None:
    entries = log.entries()
    facts = Facts(
        first=5, previous=entries[3].digest, gone=4, publics=(log.signer.public.hex(),)
    )  # fmt: skip
    forger = log.other()
    audit.append_facts(forger.writer(), Kind.TRIMMED, facts, Memory())
    for seq in (1, 2, 3, 4):
        log.path(seq).unlink()


def _trim_changed(log: Scribe) -> None:
    stored = audit.trim(log.writer(), (BEGIN + timedelta(minutes=4)).isoformat(), log.memory)
    assert stored
    log.memory = stored.memory
    log.path(4).unlink()
    facts = {**log.raw(10)["facts"], "first": 5}
    log.change(10, facts=facts)


TAMPERINGS: dict[Callable[[Scribe], None], tuple[int, str]] = {
    _changed_field: (4, "its signature is not right"),
    _changed_and_hashed_anew: (4, "its signature is not right"),
    _dropped: (4, "is missing"),
    _dropped_and_closed_up: (4, "its signature is not right"),
    _swapped: (4, "says that it is entry 5"),
    _tail_cut: (9, "is gone: this machine remembers it"),
    _begin_cut: (1, "is missing, and all up to 3"),
    _duplicated: (10, "says that it is entry 9"),
    _inserted_by_another_key: (10, "no key before it vouches"),
    _signed_by_a_key_that_is_not_told_of: (4, "a key that the log does not know"),
    _made_anew_with_another_key: (9, "is another one: this machine remembers it"),
    _moved_from_another_host: (4, "says that it is entry 4 of db2"),
    _old_copy_put_back: (11, "is gone: this machine remembers it"),
    _sealed_body_flipped: (4, "its signature is not right"),
    _trim_forged: (1, "is missing, and all up to 4"),
    _trim_changed: (10, "its signature is not right"),
}


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda tamper: tamper.__name__.strip("_"))
def test_each_tampering_is_found_and_named(log: Scribe, tamper: Callable[[Scribe], None]) -> None:
    assert log.wrong() == []
    tamper(log)
    found = [(one.seq, one.what) for one in log.wrong()]
    seq, words = TAMPERINGS[tamper]

    assert any(number == seq and words in what for number, what in found), found


def test_the_anchor_of_a_manifest_finds_what_this_machine_has_forgotten(log: Scribe) -> None:
    anchor = log.known(9, by="the manifest of shop")
    _made_anew_with_another_key(log)
    (found,) = check_log("db1", log.raws(), known=[anchor]).findings

    assert (found.seq, found.grade) == (9, Grade.WRONG)
    assert "is another one: the manifest of shop remembers it" in found.what


def test_an_anchor_of_a_log_that_is_gone_is_a_finding() -> None:
    anchor = Known(host="db1", seq=3, digest="00" * 32, by="the manifest of shop")
    (found,) = check_log("db1", [], known=[anchor]).findings

    assert "is gone" in found.what


@given(data=st.data())
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_byte_flipped_and_any_entry_dropped_or_swapped_is_found(
    shelf_of_entries: dict[int, bytes], data: st.DataObject
) -> None:
    numbers = sorted(shelf_of_entries)
    files = dict(shelf_of_entries)
    seq = data.draw(st.sampled_from(numbers))
    how = data.draw(st.sampled_from(["flip", "drop", "swap"]))
    if how == "flip":
        at = data.draw(st.integers(0, len(files[seq]) - 1))
        bit = data.draw(st.integers(0, 7))
        changed = bytearray(files[seq])
        changed[at] ^= 1 << bit
        files[seq] = bytes(changed)
    elif how == "drop":
        del files[seq]
    else:
        other = data.draw(st.sampled_from([number for number in numbers if number != seq]))
        files[seq], files[other] = files[other], files[seq]
    with TemporaryDirectory() as place:
        scribe = Scribe(Path(place))
        scribe.folder.mkdir(parents=True)
        last = max(numbers)
        scribe.memory = Memory(
            head=auditfile.Head(seq=last, digest=auditfile.digest_of(shelf_of_entries[last]))
        )
        for number, content in files.items():
            scribe.path(number).write_bytes(content)

        assert scribe.wrong() != []


@pytest.fixture(scope="module")
def shelf_of_entries(tmp_path_factory: pytest.TempPathFactory) -> dict[int, bytes]:
    scribe = filled(tmp_path_factory.mktemp("log"), runs=3)
    return {raw.seq: raw.data for raw in scribe.raws()}


def test_a_cut_tail_is_told_by_the_log_itself_from_the_next_entry_on(log: Scribe) -> None:
    _tail_cut(log)
    log.run("list")
    kinds = [entry.kind for entry in log.entries()]
    (found,) = log.wrong()

    assert kinds[7:] == [Kind.LOST, Kind.RUN, Kind.RUN]
    assert found.seq == 8
    assert "tells that entry 9, which this host had stored, was not there" in found.what


def test_a_key_that_is_at_hand_introduces_the_next_one(log: Scribe) -> None:
    old = log.signer
    log.signer = new_signer()
    log.former = {old.fingerprint: old}
    log.run()

    assert log.entries()[9].key == old.fingerprint
    assert log.entries()[10].key == log.signer.fingerprint
    assert log.wrong() == []
    assert log.wrong(pins=frozenset({old.fingerprint})) == []


def test_a_new_key_after_the_old_one_was_lost_is_a_finding_until_it_is_trusted(
    log: Scribe,
) -> None:
    old, log.signer = log.signer, new_signer()
    log.run()
    (found,) = log.wrong()

    assert (found.seq, log.signer.fingerprint in found.what) == (10, True)
    assert log.wrong(pins=frozenset({old.fingerprint, log.signer.fingerprint})) == []
    assert log.wrong(pins=frozenset({log.signer.fingerprint})) != []


def _trimmed(log: Scribe, minutes: int) -> None:
    stored = audit.trim(log.writer(), (BEGIN + timedelta(minutes=minutes)).isoformat(), log.memory)
    assert stored
    log.memory = stored.memory


def test_a_trim_is_signed_and_exactly_what_it_says_is_accepted(log: Scribe) -> None:
    _trimmed(log, 5)

    assert log.numbers() == list(range(5, 11))
    assert log.wrong() == []
    log.path(5).unlink()
    assert [found.seq for found in log.wrong()] == [5]


def test_a_trim_that_was_cut_off_is_no_finding_and_the_next_one_goes_on(log: Scribe) -> None:
    kept = log.path(4).read_bytes()
    _trimmed(log, 5)
    log.path(4).write_bytes(kept)

    assert log.wrong() == []
    assert [one.seq for one in check_log("db1", log.raws()).findings] == [4]
    _trimmed(log, 6)
    assert log.numbers() == list(range(6, 12))
    assert log.wrong() == []


def test_keys_stay_known_and_trusted_after_two_trims(log: Scribe) -> None:
    old, log.signer = log.signer, new_signer()
    log.former = {old.fingerprint: old}
    log.run()
    second, log.signer = log.signer, new_signer()
    log.former = {second.fingerprint: second}
    log.run()
    _trimmed(log, 4)
    log.run()
    _trimmed(log, 12)

    assert log.numbers()[0] == 12
    assert log.wrong() == []
    assert log.wrong(pins=frozenset({second.fingerprint})) == []
    assert log.wrong(pins=frozenset({old.fingerprint})) != []


def test_a_trim_stops_before_what_is_not_whole(log: Scribe) -> None:
    _changed_field(log)
    before = (BEGIN + timedelta(minutes=8)).isoformat()
    facts = audit.trimming(log.shelf.storage, log.host, before)

    assert facts is not None
    assert facts.first <= 4
    _trimmed(log, 8)
    assert any(found.seq == 4 for found in log.wrong())


def test_the_last_entry_always_stays(log: Scribe) -> None:
    _trimmed(log, 10_000)

    assert log.numbers() == [9, 10]
    assert log.wrong() == []


def test_a_trim_of_what_a_young_manifest_names_is_a_finding(log: Scribe) -> None:
    young, old = log.known(3, at=BEGIN.isoformat()), log.known(3, at="2025-01-01T00:00:00+00:00")
    _trimmed(log, 5)

    assert "was trimmed, although a manifest, which names it" in log.wrong(young)[0].what
    assert log.wrong(old) == []


def test_a_clock_that_was_put_back_is_a_note(log: Scribe) -> None:
    log.clock -= timedelta(hours=1)
    log.run()
    report = check_log("db1", log.raws())

    assert [(one.seq, one.grade) for one in report.findings] == [(10, Grade.NOTE)]


def test_two_hosts_share_a_repository(log: Scribe) -> None:
    other = log.other(host="db2")
    other.run()
    log.run()

    assert audit.hosts_of(log.shelf.storage) == ("db1", "db2")
    assert log.wrong() == other.wrong() == []


CHILD = """
import sys
from pathlib import Path
from support.auditing import Scribe
from ulasis_backup.streams.signing import signer_in
place, name = Path(sys.argv[1]), sys.argv[2]
scribe = Scribe(place, signer=signer_in(place / "key"))
for number in range(int(sys.argv[3])):
    scribe.run(f"{name}-{number}")
"""


def test_several_processes_write_one_chain_and_lose_nothing(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    children = [
        subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), name, "10"], env=environment)
        for name in names
    ]
    assert [child.wait(60) for child in children] == [0, 0, 0, 0]
    scribe = Scribe(tmp_path, signer=signing.signer_in(tmp_path / "key"))
    report = check_log("db1", scribe.raws())
    commands = [said.command for said in bodies(scribe)]

    # Each writer has a clock of its own.
    assert [found for found in report.findings if found.grade is not Grade.NOTE] == []
    assert sorted(set(commands)) == sorted(f"{name}-{n}" for name in names for n in range(10))
    assert len(commands) == 80
    assert list(bodies(scribe))[-1].open == ()


def test_names_of_machines_become_names_of_folders_and_stay_apart() -> None:
    assert auditfile.host_name("DB1.example.com") == "db1.example.com"
    odd = [auditfile.host_name(text) for text in ("a b", "a/b", "../x", "", "ü", "x" * 100)]

    assert len(set(odd)) == len(odd)
    assert all(auditfile.host_name(name) == name and "/" not in name for name in odd)


def test_two_that_make_the_key_at_once_agree(tmp_path: Path) -> None:
    child = (
        "import sys; from pathlib import Path; from ulasis_backup.streams.signing import *; "
        "print(signer_in(Path(sys.argv[1])).fingerprint)"
    )
    path = tmp_path / "state" / "audit-key"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", child, str(path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    said = {one.communicate(timeout=60)[0] for one in children}

    assert said == {f"{signing.read_signer(path).fingerprint}\n"}
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["audit-key"]


def test_a_file_that_is_no_key_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "audit-key"
    path.write_text("nothing")

    with pytest.raises(SettingsError, match="holds no Ed25519 key"):
        signing.signer_in(path)
    assert path.read_text() == "nothing"


def test_a_signature_has_one_text(log: Scribe) -> None:
    data = b"data"
    signature = log.signer.sign(data)

    assert signing.is_signed(data, signature, log.signer.public)
    assert not signing.is_signed(data, signature.upper(), log.signer.public)
    assert not signing.is_signed(data + b"!", signature, log.signer.public)
    assert not signing.is_signed(data, "no", log.signer.public)


def test_what_is_read_without_a_repository_key_is_plain(tmp_path: Path) -> None:
    scribe = filled(tmp_path, key=None, runs=1)

    assert audit.writing_key(Repository(scribe.shelf.storage, None), "db1") is None
    assert not (scribe.folder / "keys").exists()
