"""Verdicts that are kept: recorded by checks, shown by list and show, rested on by later runs.

The repository is the one in tests/data, so that no server is needed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support.manifests import Wanted, put_backup
from support.memory import MemoryStorage
from support.server import Command, Result, finish
from ulasis_backup.app import build
from ulasis_backup.config import read_config
from ulasis_backup.errors import (
    AuthenticationFailed,
    BlobMissing,
    CouldNotCheck,
    IntegrityError,
    Refused,
    StorageDenied,
    UlasisError,
)
from ulasis_backup.events import Event, Notice, PhaseBegan, PhaseEnded, ignore
from ulasis_backup.model import Verdict
from ulasis_backup.operations.context import Context, stamp
from ulasis_backup.operations.indexes import load_index
from ulasis_backup.operations.verify import Verification
from ulasis_backup.operations.verify import verify as verify_one
from ulasis_backup.operations.verify_all import Selection, choose, plan, verify_all
from ulasis_backup.repository import proofs
from ulasis_backup.repository.manifest import Manifest
from ulasis_backup.repository.names import PayloadName, parse_payload
from ulasis_backup.repository.proofs import Check, Proof, Standing
from ulasis_backup.repository.repository import Repository, listing, load
from ulasis_backup.storage.local import LocalStorage

GOLDEN = Path(__file__).parents[1] / "data" / "rows-format-1"
KEY = "5c" * 32
FIRST, SECOND, THIRD = (
    f"golden-backup-2026-11-24T{end}.rows.zst.enc"
    for end in ("215053Z-e594", "215053Z-3437", "215054Z-248b")
)
NOW = datetime(2026, 12, 24, 12, tzinfo=UTC)


@pytest.fixture
def golden(tmp_path: Path) -> Command:
    folder = tmp_path / "backups"
    shutil.copytree(GOLDEN, folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    settings = {
        "BACKUP_DIR": str(folder), "BACKUP_ENCRYPTION_KEY": KEY, "DB_NAME": "golden",
        "BACKUP_SERVER_NAME": "golden",
    }  # fmt: skip
    return Command(home=tmp_path, settings=settings)


@pytest.fixture
def context(golden: Command) -> Context:
    return world(golden)


def world(golden: Command) -> Context:
    return build(read_config(flags={}, environment=golden.settings, folder=golden.home), ignore)


def verify(context: Context, name: str) -> UlasisError | None:
    """Verify in this process, return what was wrong."""
    try:
        verify_one(context, named(name))
    except UlasisError as error:
        return error
    return None


def say(context: Context, name: str, verdict: Verdict, check: Check = Check.TEST_RESTORE) -> None:
    """Record *verdict* about the backup *name*, as a test restore would."""
    manifest = manifest_of(context, name)
    moment = stamp(datetime.now(UTC))
    proof = Proof(
        backup=manifest.header.id, manifest=manifest.digest, check=check, verdict=verdict,
        started_at=moment, finished_at=moment, host="h", tool="t",
        reason="orders differ" if verdict is Verdict.FAILED else "",
    )  # fmt: skip
    proofs.record(context.repository, manifest, proof)


def manifest_of(context: Context, name: str) -> Manifest:
    (found,) = (entry for entry in listing(context.repository).entries if str(entry.name) == name)
    return found.manifest


def named(name: str) -> PayloadName:
    found = parse_payload(name)
    assert found
    return found


def listed(golden: Command) -> dict[str, str]:
    """Return the verdicts that ``list`` shows, without the time to start it."""
    shelf = world(golden).repository
    entries = listing(shelf).entries
    found = proofs.standings(shelf, entries)
    return {str(entry.name): str(found[entry.manifest.header.id].verdict) for entry in entries}


def damage(golden: Command, name: str) -> bytes:
    path = golden.folder / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    return whole


def rounds(context: Context) -> list[str]:
    return [blob.name for blob in context.repository.storage.list("proofs")]


def test_verify_records_its_verdict_and_list_and_show_tell_it(golden: Command) -> None:
    assert set(listed(golden).values()) == {"unchecked"}
    done = golden.ok("verify", FIRST)
    assert (done["verdict"], done["recorded"]) == ("intact", True)
    assert listed(golden) == {FIRST: "intact", SECOND: "unchecked", THIRD: "unchecked"}
    assert re.search(r"intact \d+ (s|min) ago", golden.run("list").out)
    shown = golden.ok("show", FIRST)
    assert shown["verdict"] == "intact"
    assert [one["check"] for one in shown["proofs"]] == ["verify"]
    text = golden.run("show", FIRST).out
    assert "verdict     intact by verify" in text
    assert "Checked" in text


def test_a_failed_verify_is_remembered_until_the_bytes_are_good_again(
    golden: Command, context: Context
) -> None:
    verify(context, FIRST)
    whole = damage(golden, FIRST)
    done = golden.run("verify", FIRST)
    assert done.code == 41, done.said
    entry = golden.ok("list")["backups"][0]
    assert (entry["backup"], entry["verdict"]) == (FIRST, "failed")
    assert "not authentic" in entry["verdict_note"]
    (golden.folder / FIRST).write_bytes(whole)
    assert listed(golden)[FIRST] == "failed", "nobody has looked since"
    assert verify(context, FIRST) is None
    assert listed(golden)[FIRST] == "intact"


def test_a_proven_backup_stays_proven_when_its_bytes_are_looked_at(
    golden: Command, context: Context
) -> None:
    say(context, FIRST, Verdict.PROVEN)
    assert verify(context, FIRST) is None
    assert listed(golden)[FIRST] == "proven"


def test_other_backups_that_need_a_lost_object_are_failed_too(
    golden: Command, context: Context
) -> None:
    say(context, FIRST, Verdict.PROVEN)
    say(context, THIRD, Verdict.PROVEN)
    needed = {name: load_index(context, named(name)).objects for name in (FIRST, SECOND, THIRD)}
    (last,) = needed[THIRD] - needed[SECOND]
    (path,) = (golden.folder / "objects").rglob(last)
    kept = path.read_bytes()
    path.unlink()
    assert isinstance(verify(context, THIRD), BlobMissing)
    assert listed(golden) == {FIRST: "proven", SECOND: "unchecked", THIRD: "failed"}
    path.write_bytes(kept)
    (shared,) = needed[FIRST] & needed[SECOND] & needed[THIRD]
    (path,) = (golden.folder / "objects").rglob(shared)
    path.write_bytes(path.read_bytes()[:-1])
    assert isinstance(verify(context, SECOND), AuthenticationFailed)
    assert set(listed(golden).values()) == {"failed"}
    assert f"check of {SECOND}" in golden.ok("show", FIRST)["verdict_note"]


def test_a_read_for_another_end_fails_what_it_cannot_read_too(
    golden: Command, context: Context, tmp_path: Path
) -> None:
    for name in (FIRST, SECOND, THIRD):
        say(context, name, Verdict.PROVEN)
    needed = [load_index(context, named(name)).objects for name in (FIRST, SECOND, THIRD)]
    (shared,) = needed[0] & needed[1] & needed[2]
    (path,) = (golden.folder / "objects").rglob(shared)
    path.write_bytes(path.read_bytes()[:-1])
    assert golden.run("export", SECOND, "-o", str(tmp_path / "out.sql")).code != 0
    assert set(listed(golden).values()) == {"failed"}


def test_what_a_round_found_good_before_it_was_interrupted_fails_with_its_object(
    golden: Command, context: Context
) -> None:
    interrupted(context, 1)
    assert listed(golden)[FIRST] == "intact"
    needed = [load_index(context, named(name)).objects for name in (FIRST, SECOND, THIRD)]
    (shared,) = needed[0] & needed[1] & needed[2]
    (path,) = (golden.folder / "objects").rglob(shared)
    path.unlink()
    list(verify_all(context, plan(context, Selection())))
    assert set(listed(golden).values()) == {"failed"}


def test_latest_proven_is_a_name_and_says_where_there_is_none(
    golden: Command, context: Context
) -> None:
    assert verify(context, SECOND) is None
    done = golden.run("show", "latest-proven")
    assert done.code == 31
    assert f"test-restore {THIRD}" in done.err
    assert f"{SECOND} (intact)" in done.err
    for name in (FIRST, SECOND):
        say(context, name, Verdict.PROVEN)
    assert golden.ok("show", "latest-proven")["payload"] == SECOND
    assert golden.ok("verify", "latest-proven")["backup"] == SECOND
    say(context, SECOND, Verdict.FAILED)
    assert golden.ok("show", "latest-proven")["payload"] == FIRST


def test_the_newest_is_not_restored_by_that_word_when_it_failed_its_test(
    golden: Command, context: Context, tmp_path: Path
) -> None:
    say(context, SECOND, Verdict.PROVEN)
    say(context, THIRD, Verdict.FAILED)
    target = tmp_path / "out.sql"
    done = golden.run("export", "latest", "-o", str(target))
    assert done.code == Refused.exit_code
    assert "orders differ" in done.err
    assert SECOND in done.err
    assert not target.exists()
    assert golden.run("restore", "latest", "--yes").code == Refused.exit_code
    named = golden.run("export", THIRD, "-o", str(target))
    assert named.code == 0, named.said
    assert "failed its last test-restore" in named.err


def test_a_repository_that_may_not_be_written_to_still_gets_its_verdict(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise StorageDenied("read only", hint="it is a test")

    monkeypatch.setattr(LocalStorage, "put", denied)
    told: list[Event] = []
    found = list(verify_all(replace(context, observe=told.append)))
    assert [one.verdict for one in found] == [Verdict.INTACT] * 3
    assert not any(one.recorded for one in found)
    assert all("could not be recorded: read only" in one.warnings[0] for one in found)
    assert any(isinstance(event, Notice) and "read only" in event.message for event in told)


def interrupted(context: Context, after: int) -> list[Verification]:
    """Run verify-all until *after* backups are checked, as if it were killed then."""
    found = []
    for one in verify_all(context, plan(context, Selection())):
        found.append(one)
        if len(found) == after:
            break
    return found


def test_an_interrupted_round_is_gone_on_with(context: Context) -> None:
    interrupted(context, 2)
    again = plan(context, Selection())
    assert [str(entry.name) for entry in again.due] == [THIRD]
    found = list(verify_all(context, again))
    assert [one.name for one in found] == [FIRST, SECOND, THIRD]
    assert [bool(one.earlier) for one in found] == [True, True, False]
    assert not rounds(context)[1:], "the mark is gone"
    assert len(plan(context, Selection()).due) == 3


def test_a_round_that_is_begun_anew_checks_all(context: Context) -> None:
    interrupted(context, 2)
    found = list(verify_all(context, plan(context, Selection(restart=True))))
    assert [one.earlier for one in found] == ["", "", ""]
    assert len(plan(context, Selection()).due) == 3


def test_a_round_never_rests_on_a_check_of_another_round(context: Context) -> None:
    list(verify_all(context))
    assert verify(context, SECOND) is None
    interrupted(context, 1)
    assert [str(entry.name) for entry in plan(context, Selection()).due] == [SECOND, THIRD]


def test_what_failed_in_an_interrupted_round_is_checked_again(
    context: Context, golden: Command
) -> None:
    damage(golden, FIRST)
    assert interrupted(context, 2)[0].verdict is Verdict.FAILED
    assert [str(entry.name) for entry in plan(context, Selection()).due] == [FIRST, THIRD]


def test_a_changed_backup_is_not_taken_for_the_one_that_was_checked(
    context: Context, golden: Command
) -> None:
    interrupted(context, 2)
    names = [named(FIRST), named(SECOND)]
    for folder in ("proofs",):
        first, second = (golden.folder / folder / name.backup_id for name in names)
        for path in first.iterdir():
            path.unlink()
        for path in second.iterdir():
            shutil.copy(path, first / path.name)
    assert FIRST in [str(entry.name) for entry in plan(context, Selection()).due]


def test_a_killed_run_is_gone_on_with_by_the_next(golden: Command) -> None:
    process = golden.start("verify-all")
    folder = golden.folder / "proofs"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not list(folder.glob("golden*/*.json")):
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    done: Result = finish(process)
    recorded = len(list(folder.glob("golden*/*.json")))
    assert recorded
    again = golden.ok("verify-all")
    assert len(again["backups"]) == 3
    if done.code == -signal.SIGKILL and list(folder.glob("round-*")) == []:
        assert again["earlier"] in (0, recorded)
    assert set(listed(golden).values()) == {"intact"}


def test_a_backup_that_is_removed_meanwhile_is_no_failure(
    context: Context, golden: Command
) -> None:
    told: list[Event] = []

    def observe(event: Event) -> None:
        told.append(event)
        if isinstance(event, PhaseEnded):
            # While the first is read the others go, as a prune of backups takes them.
            for path in (*golden.folder.glob(f"{SECOND}*"), *golden.folder.glob(f"{THIRD}*")):
                path.unlink(missing_ok=True)

    found = list(verify_all(replace(context, observe=observe)))
    assert [one.name for one in found] == [FIRST]
    assert sum(isinstance(event, Notice) for event in told) == 2


def test_progress_says_how_far_it_is(context: Context) -> None:
    told: list[str] = []

    def observe(event: Event) -> None:
        if isinstance(event, PhaseBegan):
            told.append(event.subject)

    list(verify_all(replace(context, observe=observe)))
    assert told[0] == f"1 of 3, 0 % done: {FIRST}"
    assert told[-1].startswith("3 of 3, 6")


def test_a_share_is_checked_each_time_the_longest_unchecked_first(golden: Command) -> None:
    seen = [golden.ok("verify-all", "--percent", "30")["backups"] for _ in range(4)]
    assert [[one["backup"] for one in found] for found in seen] == [
        [FIRST],
        [SECOND],
        [THIRD],
        [FIRST],
    ]


def test_only_what_was_not_checked_for_days_is_due_and_none_is_said(golden: Command) -> None:
    golden.ok("verify", SECOND)
    found = golden.ok("verify-all", "--stale", "1")
    assert [one["backup"] for one in found["backups"]] == [FIRST, THIRD]
    assert found["not_due"] == 1
    nothing = golden.run("verify-all", "--stale", "1")
    assert nothing.code == 0
    assert "3 backups were not due and are not checked" in nothing.out
    assert "0 intact" in nothing.out


def test_a_damaged_manifest_is_a_failure_whatever_is_due(golden: Command) -> None:
    golden.ok("verify-all")
    damage(golden, f"{FIRST}.meta.json")
    done = golden.run("--json", "verify-all", "--stale", "1")
    assert done.code == IntegrityError.exit_code
    assert done.json["failed"] == 1


def test_without_the_key_nothing_is_checked_and_nothing_is_recorded(golden: Command) -> None:
    done = golden.having(BACKUP_ENCRYPTION_KEY=None).run("--json", "verify-all")
    assert done.code == CouldNotCheck.exit_code
    assert done.json["could_not_check"] == 3
    assert set(listed(golden).values()) == {"unchecked"}


def stands(verdict: Verdict, days: float) -> Standing:
    at = (NOW - timedelta(days=days)).isoformat()
    good = Proof(
        backup="b", manifest="", check=Check.VERIFY, verdict=Verdict.INTACT, started_at=at,
        finished_at=at, host="", tool="",
    )  # fmt: skip
    return Standing(verdict=verdict, good=None if verdict is Verdict.UNCHECKED else good)


def test_what_is_due_follows_from_when_it_was_last_found_good() -> None:
    shelf = Repository(MemoryStorage(), None)
    names = [put_backup(shelf, Wanted(days=day)).backup_id for day in range(5)]
    entries = listing(shelf).entries
    found = (
        (Verdict.INTACT, 9),
        (Verdict.PROVEN, 2),
        (Verdict.UNCHECKED, 0),
        (Verdict.FAILED, 1),
        (Verdict.INTACT, -400),
    )
    standings = {name: stands(*one) for name, one in zip(names, found, strict=True)}

    def due(**wanted: object) -> list[int]:
        selection = replace(Selection(), **wanted)  # type: ignore[arg-type]
        chosen = choose(entries, standings, selection, NOW)
        return [names.index(entry.manifest.header.id) for entry in chosen]

    assert due(stale=timedelta(days=5)) == [2, 3, 4, 0]
    assert due(stale=timedelta(days=0)) == [2, 3, 4, 0, 1]
    assert due(percent=40.0) == [2, 3]
    assert due(percent=41.0) == [2, 3, 4]
    assert due(percent=100.0, stale=timedelta(days=5)) == [2, 3, 4, 0]


def test_a_manifest_that_was_made_anew_has_no_proof_of_the_old_one() -> None:
    shelf = Repository(MemoryStorage(), None)
    name = put_backup(shelf)
    manifest = load(shelf, name)
    moment = NOW.isoformat()
    proof = Proof(
        backup=manifest.header.id, manifest=manifest.digest, check=Check.TEST_RESTORE,
        verdict=Verdict.PROVEN, started_at=moment, finished_at=moment, host="", tool="",
    )  # fmt: skip
    proofs.record(shelf, manifest, proof)
    with pytest.raises(ValueError, match="manifest that was checked"):
        proofs.record(shelf, replace(manifest, digest="00"), proof)
