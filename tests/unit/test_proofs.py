"""Proofs: only authentic ones of this very manifest count, in the order in which they were made."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.manifests import KEY, Wanted, put_backup
from support.memory import MemoryStorage
from ulasis_backup.errors import IntegrityError, UnknownFormat
from ulasis_backup.model import Verdict
from ulasis_backup.repository import prooffile, proofs
from ulasis_backup.repository.manifest import Manifest
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.repository.proofs import Check, Proof, standing
from ulasis_backup.repository.repository import Repository, listing, load
from ulasis_backup.storage.base import Blob

MORNING = datetime(2026, 11, 22, 2, tzinfo=UTC)
SECRET = "shop.customers_of_the_clinic"
KINDS = {
    "v": (Check.VERIFY, Verdict.INTACT),
    "V": (Check.VERIFY, Verdict.FAILED),
    "?": (Check.VERIFY, Verdict.COULD_NOT_CHECK),
    "t": (Check.TEST_RESTORE, Verdict.PROVEN),
    "T": (Check.TEST_RESTORE, Verdict.FAILED),
    "!": (Check.TEST_RESTORE, Verdict.COULD_NOT_CHECK),
}


def proof(manifest: Manifest | None, kind: str = "v", hours: int = 0, reason: str = "") -> Proof:
    check, verdict = KINDS[kind]
    moment = (MORNING + timedelta(hours=hours)).isoformat()
    return Proof(
        backup=manifest.header.id if manifest else "b",
        manifest=manifest.digest if manifest else "",
        check=check,
        verdict=verdict,
        started_at=moment,
        finished_at=moment,
        host="db-host",
        tool="ulasis-backup 1",
        reason=reason,
    )


def told(story: str) -> list[Proof]:
    """Return the proofs of a *story* in letters, an hour apart, numbered."""
    return [
        dataclasses.replace(proof(None, kind, hours), number=hours + 1)
        for hours, kind in enumerate(story)
    ]


@pytest.fixture
def shelf() -> Repository:
    return Repository(MemoryStorage(), KEY)


def backup(shelf: Repository, *, encrypted: bool = True) -> tuple[PayloadName, Manifest]:
    name = put_backup(shelf, Wanted(key=shelf.key, encrypted=encrypted))
    return name, load(shelf, name)


def paths(shelf: Repository, manifest: Manifest) -> list[str]:
    return [blob.name for blob in shelf.storage.list(f"proofs/{manifest.header.id}")]


def verdict_in_list(shelf: Repository, manifest: Manifest) -> Verdict:
    return proofs.standings(shelf, listing(shelf).entries)[manifest.header.id].verdict


@pytest.mark.parametrize(
    ("story", "verdict"),
    [
        ("", Verdict.UNCHECKED),
        ("?", Verdict.UNCHECKED),
        ("v", Verdict.INTACT),
        ("t", Verdict.PROVEN),
        ("tv", Verdict.PROVEN),
        ("tV", Verdict.FAILED),
        ("tT", Verdict.FAILED),
        ("tVv", Verdict.INTACT),
        ("Vv", Verdict.INTACT),
        ("Tv", Verdict.FAILED),
        ("TVv", Verdict.FAILED),
        ("Tt", Verdict.PROVEN),
        ("TvtV?", Verdict.FAILED),
        ("tV?v!", Verdict.INTACT),
        ("tTtv", Verdict.PROVEN),
    ],
)
def test_what_stands_follows_from_the_story(story: str, verdict: Verdict) -> None:
    assert standing(told(story)).verdict is verdict


@given(st.text("vV?tT!", max_size=12))
def test_a_failure_at_the_end_beats_whatever_was_before(story: str) -> None:
    assert standing(told(f"{story}V")).verdict is Verdict.FAILED
    assert standing(told(f"{story}T")).verdict is Verdict.FAILED
    assert standing(told(f"{story}t")).verdict is Verdict.PROVEN


@given(st.text("vV?tT!", max_size=12), st.text("?!", max_size=4))
def test_a_check_that_could_not_be_carried_out_changes_nothing_but_the_note(
    story: str, unknown: str
) -> None:
    before, after = standing(told(story)), standing(told(story + unknown))
    assert (after.verdict, after.at, after.good) == (before.verdict, before.at, before.good)
    if unknown:
        assert "could not be checked" in after.note


@given(st.text("vV?tT!", max_size=12))
def test_bytes_that_are_good_prove_nothing_and_take_no_proof_away(story: str) -> None:
    before, after = standing(told(story)).verdict, standing(told(f"{story}v")).verdict
    if before is Verdict.PROVEN:
        assert after is Verdict.PROVEN
    else:
        assert after in (Verdict.INTACT, Verdict.FAILED)


@given(st.text("vV?tT!", max_size=12))
def test_a_partial_backup_is_never_proven(story: str) -> None:
    whole, partial = standing(told(story)), standing(told(story), partial=True)
    assert partial.verdict is not Verdict.PROVEN
    if whole.verdict is not Verdict.PROVEN:
        assert partial == whole


@given(st.text("vV?tT!", max_size=14))
def test_a_listing_opens_few_proofs_and_says_the_same_as_all_of_them(story: str) -> None:
    shelf = Repository(MemoryStorage(), KEY)
    _, manifest = backup(shelf)
    for kind in story:
        proofs.record(shelf, manifest, proof(manifest, kind))
    everything = proofs.history(shelf, manifest)
    assert not everything.doubts
    in_list = proofs.standings(shelf, listing(shelf).entries)[manifest.header.id]
    assert in_list == standing(everything.proofs)


def test_the_age_of_a_proof_is_that_of_the_test_restore_not_of_the_last_look() -> None:
    found = standing(told("vtv?"))
    assert found.at == (MORNING + timedelta(hours=1)).isoformat()
    assert found.good
    assert found.good.finished_at == (MORNING + timedelta(hours=2)).isoformat()
    assert found.check is Check.TEST_RESTORE


def test_the_order_is_that_of_the_numbers_not_of_clocks(shelf: Repository) -> None:
    _, manifest = backup(shelf)
    proofs.record(shelf, manifest, proof(manifest, "t", hours=24 * 365 * 50))
    proofs.record(shelf, manifest, proof(manifest, "V", hours=-5))
    assert verdict_in_list(shelf, manifest) is Verdict.FAILED
    assert [one.number for one in proofs.history(shelf, manifest).proofs] == [1, 2]


def test_of_two_made_at_once_the_failure_counts(shelf: Repository) -> None:
    _, manifest = backup(shelf)
    for kind in ("V", "v", "t"):
        one = dataclasses.replace(proof(manifest, kind), number=1)
        shelf.storage.put(prooffile.new_path(one), [prooffile.serialise(one, manifest)])
    assert verdict_in_list(shelf, manifest) is Verdict.FAILED
    assert standing(proofs.history(shelf, manifest).proofs).verdict is Verdict.FAILED


@pytest.mark.parametrize("key", [KEY, None], ids=["signed", "unsigned"])
@pytest.mark.parametrize("encrypted", [True, False])
def test_what_was_recorded_is_read(key: bytes | None, *, encrypted: bool) -> None:
    shelf = Repository(MemoryStorage(), key)
    _, manifest = backup(shelf, encrypted=encrypted)
    said = dataclasses.replace(
        proof(manifest, "T", reason=f"{SECRET}: a row differs"), phases={"load": 1.5, "read": 2.0},
        server="mariadb 10.11", bytes=12, notes=("one", "two\n😀"), round="ab",
    )  # fmt: skip
    proofs.record(shelf, manifest, said)
    (found,) = proofs.history(shelf, manifest).proofs
    assert found == dataclasses.replace(said, number=1)


def test_a_name_that_is_no_text_is_stored_all_the_same(shelf: Repository) -> None:
    _, manifest = backup(shelf)
    proofs.record(shelf, manifest, proof(manifest, "V", reason="table t\udce9"))
    (found,) = proofs.history(shelf, manifest).proofs
    assert found.reason == "table t?"


def test_of_an_encrypted_backup_a_proof_tells_nothing_but_size_time_and_verdict(
    shelf: Repository,
) -> None:
    _, manifest = backup(shelf)
    sizes = set()
    for table in (SECRET, "t"):
        one = dataclasses.replace(proof(manifest, "V", reason=table), notes=(table,))
        proofs.record(shelf, manifest, one)
    for path in paths(shelf, manifest):
        data = b"".join(shelf.storage.open(path))
        sizes.add(len(data))
        assert set(json.loads(data)) == {
            "format", "backup", "manifest", "number", "check", "verdict", "started_at",
            "finished_at", "round", "details_encrypted", "mac",
        }  # fmt: skip
        for secret in (b"clinic", b"db-host", b"ulasis-backup 1"):
            assert secret not in data
    assert len(sizes) == 1, "the size tells the length of a name"


def put(shelf: Repository, path: str, data: bytes) -> None:
    shelf.storage.put(path, [data], replace=True)


def test_a_proof_that_was_changed_anywhere_is_never_believed(shelf: Repository) -> None:
    _, manifest = backup(shelf)
    proofs.record(shelf, manifest, proof(manifest, "t"))
    (path,) = paths(shelf, manifest)
    whole = b"".join(shelf.storage.open(path))
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        put(shelf, path, bytes(changed))
        found = proofs.history(shelf, manifest)
        assert not found.proofs, place
        assert len(found.doubts) == 1, place
        assert verdict_in_list(shelf, manifest) is Verdict.UNCHECKED
    put(shelf, path, whole)
    assert verdict_in_list(shelf, manifest) is Verdict.PROVEN


@pytest.mark.parametrize("old", ["-failed-", "00000001-", "-verify-"])
def test_a_proof_under_another_name_is_never_believed(shelf: Repository, old: str) -> None:
    _, manifest = backup(shelf)
    proofs.record(shelf, manifest, proof(manifest, "V"))
    (path,) = paths(shelf, manifest)
    data = b"".join(shelf.storage.open(path))
    shelf.storage.delete(path)
    new = {"-failed-": "-intact-", "00000001-": "00000002-", "-verify-": "-test-restore-"}[old]
    put(shelf, path.replace(old, new), data)
    assert verdict_in_list(shelf, manifest) is Verdict.UNCHECKED
    assert proofs.history(shelf, manifest).doubts


def test_an_unsigned_proof_of_a_signed_backup_is_never_believed(shelf: Repository) -> None:
    _, manifest = backup(shelf)
    forged = dataclasses.replace(proof(manifest, "t"), number=1)
    unsigned = dataclasses.replace(manifest, data_key=None)
    put(shelf, prooffile.new_path(forged), prooffile.serialise(forged, unsigned))
    found = proofs.standings(shelf, listing(shelf).entries)[manifest.header.id]
    assert found.verdict is Verdict.UNCHECKED
    assert "not signed" in found.doubts[0]


def test_a_proof_of_another_backup_is_never_believed(shelf: Repository) -> None:
    _, first = backup(shelf)
    _, second = backup(shelf)
    proofs.record(shelf, first, proof(first, "t"))
    (path,) = paths(shelf, first)
    data = b"".join(shelf.storage.open(path))
    put(shelf, path.replace(first.header.id, second.header.id), data)
    assert verdict_in_list(shelf, second) is Verdict.UNCHECKED
    assert verdict_in_list(shelf, first) is Verdict.PROVEN
    assert proofs.history(shelf, second).doubts


def test_a_proof_of_another_manifest_does_not_count() -> None:
    shelf = Repository(MemoryStorage(), None)
    _, manifest = backup(shelf)
    older = dataclasses.replace(manifest, digest="00" * 32)
    proofs.record(shelf, older, proof(older, "t"))
    assert verdict_in_list(shelf, manifest) is Verdict.UNCHECKED
    assert "another manifest" in proofs.history(shelf, manifest).doubts[0]


def test_with_a_key_nobody_vouches_for_proofs_of_an_unsigned_backup() -> None:
    shelf = Repository(MemoryStorage(), None)
    _, manifest = backup(shelf)
    proofs.record(shelf, manifest, proof(manifest, "t"))
    assert verdict_in_list(shelf, manifest) is Verdict.PROVEN
    seen = Repository(shelf.storage, KEY)
    assert not proofs.history(seen, manifest).proofs
    assert verdict_in_list(seen, manifest) is Verdict.FAILED


def test_without_the_key_nothing_is_known_of_a_signed_backup(shelf: Repository) -> None:
    _, manifest = backup(shelf)
    proofs.record(shelf, manifest, proof(manifest, "t"))
    blind = Repository(shelf.storage, None)
    found = proofs.standings(blind, listing(blind).entries)[manifest.header.id]
    assert found.verdict is Verdict.UNCHECKED
    assert "without the key" in found.note


def test_with_another_key_it_could_not_be_checked(shelf: Repository) -> None:
    _, manifest = backup(shelf)
    proofs.record(shelf, manifest, proof(manifest, "t"))
    other = Repository(shelf.storage, bytes(32))
    assert verdict_in_list(other, manifest) is Verdict.COULD_NOT_CHECK


def test_a_forged_number_hides_no_later_proof(shelf: Repository) -> None:
    _, manifest = backup(shelf)
    proofs.record(shelf, manifest, proof(manifest, "t"))
    junk = (
        f"proofs/{manifest.header.id}/999999999999-2026-11-22T020000Z-verify-intact-00000000.json"
    )
    put(shelf, junk, b"{}")
    proofs.record(shelf, manifest, proof(manifest, "V"))
    found = proofs.history(shelf, manifest)
    assert [one.number for one in found.proofs] == [1, 2]
    assert verdict_in_list(shelf, manifest) is Verdict.FAILED
    assert len(found.doubts) == 2, "it does not count, and the numbers before it are missing"


def test_a_proof_that_was_removed_is_missed_unless_it_is_the_last(shelf: Repository) -> None:
    _, manifest = backup(shelf)
    for kind in "tVv":
        proofs.record(shelf, manifest, proof(manifest, kind))
    shelf.storage.delete(paths(shelf, manifest)[1])
    found = proofs.standings(shelf, listing(shelf).entries)[manifest.header.id]
    assert found.doubts == (f"proofs of {manifest.header.id} are missing: number 2 to 2",)


def test_a_proof_of_a_newer_version_is_named_and_not_used(shelf: Repository) -> None:
    _, manifest = backup(shelf)
    proofs.record(shelf, manifest, proof(manifest, "t"))
    (path,) = paths(shelf, manifest)
    data = b"".join(shelf.storage.open(path)).replace(b'"format":1', b'"format":2')
    put(shelf, path, data)
    name = prooffile.parse_path(path)
    assert name
    with pytest.raises(UnknownFormat):
        prooffile.parse(data, name=name, manifest=manifest)
    assert "newer version" in proofs.history(shelf, manifest).doubts[0]


def test_a_huge_proof_is_not_read(shelf: Repository) -> None:
    _, manifest = backup(shelf)
    proofs.record(shelf, manifest, proof(manifest, "t"))
    (path,) = paths(shelf, manifest)
    put(shelf, path, b" " * (prooffile.MOST_BYTES + 1))
    assert "larger" in proofs.history(shelf, manifest).doubts[0]


def test_damage_and_forgery_are_told_apart() -> None:
    shelf = Repository(MemoryStorage(), None)
    _, manifest = backup(shelf)
    proofs.record(shelf, manifest, proof(manifest, "t"))
    (path,) = paths(shelf, manifest)
    data = b"".join(shelf.storage.open(path)).replace(b"db-host", b"db-hose")
    name = prooffile.parse_path(path)
    assert name
    with pytest.raises(IntegrityError, match="damaged"):
        prooffile.parse(data, name=name, manifest=manifest)


def test_proofs_go_with_their_backup_and_no_others(shelf: Repository) -> None:
    _, first = backup(shelf)
    _, second = backup(shelf)
    for manifest in (first, second):
        proofs.record(shelf, manifest, proof(manifest, "t"))
    proofs.delete_proofs(shelf, first.header.id)
    proofs.delete_proofs(shelf, first.header.id)
    assert not paths(shelf, first)
    assert verdict_in_list(shelf, second) is Verdict.PROVEN


def test_proofs_of_a_backup_that_is_gone_are_nothing_odd(shelf: Repository) -> None:
    name, manifest = backup(shelf)
    proofs.record(shelf, manifest, proof(manifest, "t"))
    for file in (name.manifest, str(name)):
        shelf.storage.delete(file)
    found = listing(shelf)
    assert not found.entries
    assert not found.oddities
    assert proofs.standings(shelf, found.entries) == {}


class CountingStorage(MemoryStorage):
    """Counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = count()

    def list(self, folder: str = "", *, deep: bool = False) -> Iterator[Blob]:
        next(self.asked)
        return super().list(folder, deep=deep)


def test_the_verdicts_of_many_backups_cost_one_listing() -> None:
    storage = CountingStorage()
    shelf = Repository(storage, KEY)
    for _ in range(20):
        _, manifest = backup(shelf)
        proofs.record(shelf, manifest, proof(manifest, "t"))
    entries = listing(shelf).entries
    before = next(storage.asked)
    found = proofs.standings(shelf, entries)
    assert next(storage.asked) - before == 2
    assert len(found) == 20


def test_the_longest_texts_still_make_a_proof_that_is_read(shelf: Repository) -> None:
    _, manifest = backup(shelf)
    for text in ("\x01" * 9000, "😀" * 9000):
        one = dataclasses.replace(proof(manifest, "V", reason=text), notes=(text,) * 500)
        proofs.record(shelf, manifest, one)
    found = proofs.history(shelf, manifest)
    assert len(found.proofs) == 2
    assert not found.doubts


def test_the_last_try_of_a_test_restore_is_known_whatever_came_of_it() -> None:
    hours = {"": None, "v": None, "t": 0, "t!": 1, "Tv": 0, "!v?": 0, "v!tv": 2}
    for story, hour in hours.items():
        moment = "" if hour is None else (MORNING + timedelta(hours=hour)).isoformat()
        assert standing(told(story)).tried_at == moment, story
