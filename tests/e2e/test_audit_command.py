"""The audit log as users meet it: the real command records, survives, and is checked."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from support.auditing import Scribe
from support.faults import wait_until
from support.forgery import forge_dump
from support.manifests import Wanted, put_backup
from support.server import STATE, Command, finish, make_orders
from ulasis_backup.app import build
from ulasis_backup.cli.audit import document_of
from ulasis_backup.config import read_config
from ulasis_backup.events import ignore
from ulasis_backup.model import AuditAnchor
from ulasis_backup.mysql.server import Server
from ulasis_backup.operations.audit import read_log
from ulasis_backup.repository import auditfile
from ulasis_backup.repository.names import parse_payload
from ulasis_backup.repository.repository import Repository, ensure
from ulasis_backup.storage.local import LocalStorage
from ulasis_backup.streams.signing import signer_in

PAGE = Path(__file__).parents[2] / "docs/reference/audit.md"
KEY = "5c" * 32
PASSWORD = "s3cret-pass-of-nobody"


@pytest.fixture
def lone(tmp_path: Path) -> Command:
    """Return the command with an empty repository and no server."""
    made = Command(
        home=tmp_path,
        settings={
            "BACKUP_DIR": str(tmp_path / "backups"), "BACKUP_STATE_DIR": str(tmp_path / "state"),
            "BACKUP_AUDIT_HOST": "db1", "BACKUP_SERVER_NAME": "db1", "DB_NAME": "shop",
            "DB_PASSWORD": PASSWORD, "BACKUP_ENCRYPTION_KEY": KEY,
        },
    )  # fmt: skip
    ensure(Repository(LocalStorage(made.folder), None))
    return made


def entries(command: Command) -> list[dict[str, Any]]:
    """Return what ``audit show`` would print, without a command that tells of itself."""
    environment = {"BACKUP_STATE_DIR": str(command.home / STATE), **command.settings}
    config = read_config(flags={}, environment=environment, folder=command.home)
    found = [document_of(one) for one in read_log(build(config, ignore))]
    said: list[dict[str, Any]] = json.loads(json.dumps(found))
    return said


def runs(command: Command) -> list[tuple[str, str]]:
    return [
        (one["says"]["command"], one["says"]["event"]) for one in entries(command) if one["says"]
    ]


def folder(command: Command, host: str = "db1") -> Path:
    return command.folder / "audit" / host


def last(command: Command, host: str = "db1") -> Path:
    return max(folder(command, host).glob("*.json"))


def in_hook(
    command: Command, what: str, hook: str, *, then: str = "exec sleep 100"
) -> subprocess.Popen[str]:
    """Begin to do *what*; return when it is in its *hook*, which does *then*."""
    script = command.home / "hook"
    script.write_text(f"#!/bin/sh\ntouch there\n{then}\n")
    script.chmod(0o755)
    process = command.having(**{hook: str(script)}).start(what)
    wait_until((command.home / "there").exists)
    return process


def documented() -> list[str]:
    text = PAGE.read_text(encoding="utf-8").split("## What is recorded")[1].split("\n## ")[0]
    return re.findall(r"(?m)^\| `([a-z -]+)` \| (?:one|two) \|", text)


def test_begin_and_end_are_told_with_who_what_and_how_it_ended(lone: Command) -> None:
    lone.ok("prune")
    began, ended = (one["says"] for one in entries(lone)[-2:])

    assert (began["command"], began["event"]) == ("prune", "began")
    assert (ended["event"], ended["code"], ended["outcome"]) == ("ended", 0, "ok")
    assert began["run"] == ended["run"]
    assert ended["of"] == 2
    assert began["arguments"] == ["--json", "prune"]
    assert began["who"]["uid"] == os.getuid()
    assert (began["server"], began["databases"]) == ("db1", ["shop"])
    assert lone.ok("audit", "verify")["findings"] == []


def test_a_failure_is_told_with_its_code_and_message(lone: Command) -> None:
    assert lone.run("verify", "nothing").code == 31
    ended = entries(lone)[-1]["says"]

    assert (ended["command"], ended["code"]) == ("verify", 31)
    assert "nothing" in ended["messages"][0]


def test_what_only_reads_in_passing_has_one_entry_and_monitors_have_none(lone: Command) -> None:
    for words in (("list",), ("prune", "--dry-run"), ("metrics",), ("audit", "verify")):
        lone.ok(*words)
    lone.run("status")

    assert runs(lone) == [("list", "ended"), ("prune", "ended")]


def test_a_run_killed_between_its_action_and_its_entry_is_told_of_by_the_next(
    lone: Command,
) -> None:
    process = in_hook(lone, "prune", "BACKUP_HOOK_AFTER_PRUNE")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    lone.ok("list")
    said = [one["says"] for one in entries(lone)[-3:]]

    assert [one["event"] for one in said] == ["began", "interrupted", "ended"]
    assert [one["command"] for one in said] == ["prune", "prune", "list"]
    assert said[1]["run"] == said[0]["run"]
    assert "gone" in said[1]["messages"][0]
    assert lone.run("audit", "verify").code == 0
    lone.ok("list")
    assert [event for _, event in runs(lone)].count("interrupted") == 1


def test_a_run_that_still_lives_is_not_called_interrupted(lone: Command) -> None:
    process = in_hook(
        lone, "prune", "BACKUP_HOOK_BEFORE_PRUNE", then="while [ ! -e go ]; do sleep 0.05; done"
    )
    lone.ok("list")
    (lone.home / "go").touch()
    assert finish(process).code == 0

    assert runs(lone)[-3:] == [("prune", "began"), ("list", "ended"), ("prune", "ended")]


def test_a_run_that_a_signal_stops_says_so_itself(lone: Command) -> None:
    process = in_hook(lone, "prune", "BACKUP_HOOK_BEFORE_PRUNE")
    process.terminate()
    assert finish(process).code == 143

    assert runs(lone) == [("prune", "began"), ("prune", "ended")]
    assert entries(lone)[-1]["says"]["code"] == 143


def test_without_state_the_next_run_still_tells_of_the_one_that_was_killed(lone: Command) -> None:
    process = in_hook(lone, "prune", "BACKUP_HOOK_BEFORE_PRUNE")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    for path in (lone.home / "state").glob("audit-*.json"):
        path.unlink()
    lone.ok("list")

    assert ("prune", "interrupted") in runs(lone)


@contextlib.contextmanager
def disk(command: Command, place: Path) -> Iterator[Command]:
    """Yield the command with its repository on the file system *place*."""
    moved = command.having(BACKUP_DIR=str(place / "backups"))
    moved.ok("init")
    yield moved


def test_a_disk_mounted_read_only_stops_nothing_and_the_entry_comes_later(
    lone: Command, small_disk: Path
) -> None:
    with disk(lone, small_disk) as command:
        before = runs(command)
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
        done = command.run("list")
        status = command.run("--json", "status")
        verified = command.run("--json", "audit", "verify")
        subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)

        assert done.code == 0, done.said
        assert done.err.count("the audit log cannot be written now") == 1
        assert "the next run stores it" in done.err
        assert "audit waits" in [problem["key"] for problem in status.json["problems"]]
        assert (verified.code, verified.json["waiting"]) == (0, 1)
        command.ok("prune")
        said = [one["says"] for one in entries(command) if one["says"]][len(before) :]
        assert [(one["command"], one["late"]) for one in said] == [
            ("list", True), ("prune", False), ("prune", False),
        ]  # fmt: skip
        assert command.ok("audit", "verify")["waiting"] == 0


def test_a_full_disk_stops_no_hold_that_needs_no_room(lone: Command, small_disk: Path) -> None:
    with disk(lone, small_disk) as command:
        name = put_backup(Repository(LocalStorage(command.folder), bytes.fromhex(KEY)), Wanted(
            server_name="db1", key=bytes.fromhex(KEY)
        ))  # fmt: skip
        filler = small_disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
        done = command.run("release", str(name))
        filler.unlink()
        command.ok("list")

        assert done.code == 0, done.said
        assert "the audit log cannot be written now: no room left" in done.err
        assert [one for one in runs(command) if one[0] == "release"] == [
            ("release", "began"), ("release", "ended"),
        ]  # fmt: skip
        assert command.run("audit", "verify").code == 0


def test_where_neither_can_be_written_the_command_works_and_warns_once(
    lone: Command, small_disk: Path
) -> None:
    with disk(lone, small_disk) as command:
        (lone.home / "no-folder").touch()
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
        done = command.having(BACKUP_STATE_DIR=str(lone.home / "no-folder")).run("list")
        subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)

        assert done.code == 0, done.said
        assert done.err.count("this is not in the audit log") == 1


def test_a_key_that_cannot_be_read_stops_nothing(lone: Command) -> None:
    (lone.home / "state").mkdir()
    (lone.home / "state" / "audit-key").write_text("no key")
    done = lone.run("prune")

    assert done.code == 0
    assert "holds no Ed25519 key" in done.err


def test_without_a_repository_a_list_leaves_nothing_and_a_first_run_waits(tmp_path: Path) -> None:
    command = Command(home=tmp_path, settings={"BACKUP_DIR": str(tmp_path / "backups")})
    assert command.run("list").err == ""
    assert not (tmp_path / "backups").exists()

    assert command.run("keys", "generate", "--output", "key").code == 0
    assert not (tmp_path / "backups").exists()
    command.ok("init")

    assert ("keys generate", "began") in runs(command)
    assert ("init", "ended") in runs(command)


def test_off_means_that_nothing_is_written(tmp_path: Path) -> None:
    command = Command(
        home=tmp_path, settings={"BACKUP_DIR": str(tmp_path / "b"), "BACKUP_AUDIT": "off"}
    )
    command.ok("init")
    command.ok("prune")

    assert not (tmp_path / "b" / "audit").exists()
    assert not list((tmp_path / ".state").glob("audit*"))


@pytest.mark.parametrize("days", ["30", "364", "-1"])
def test_less_than_a_year_is_refused(lone: Command, days: str) -> None:
    done = lone.having(BACKUP_AUDIT_DAYS=days).run("list")

    assert done.code == 2
    assert "BACKUP_AUDIT_DAYS" in done.err


def test_settings_that_changed_are_named_and_secrets_only_as_changed(lone: Command) -> None:
    changed = lone.having(
        BACKUP_RETENTION_DAYS="31", DB_PASSWORD="another-secret", BACKUP_ENCRYPTION_KEY="6d" * 32
    )
    lone.ok("prune")
    changed.ok("prune")
    changed.ok("prune")
    began, _, again, _ = (one["says"] for one in entries(changed)[-4:])

    found = {one["setting"]: (one["before"], one["after"]) for one in began["changes"]}
    assert found["BACKUP_RETENTION_DAYS"] == ("30", "31")
    assert found["DB_PASSWORD"] == ("changed", "changed")
    assert found["BACKUP_ENCRYPTION_KEY"][0].startswith("aes-256:")
    assert set(found) == {"BACKUP_RETENTION_DAYS", "DB_PASSWORD", "BACKUP_ENCRYPTION_KEY"}
    assert again["changes"] == []
    state = b"".join(p.read_bytes() for p in (lone.home / "state").rglob("*") if p.is_file())
    for secret in (PASSWORD, "another-secret", KEY, "6d" * 32):
        assert secret.encode() not in state


def test_an_option_of_the_command_line_is_no_change_of_settings(lone: Command) -> None:
    lone.ok("--database", "other", "prune")
    lone.ok("prune")

    assert [one["says"]["changes"] for one in entries(lone)[-4:]] == [[], [], [], []]


def test_what_arguments_say_is_discreet_and_steers_no_terminal(lone: Command) -> None:
    lone.run("hold", "nothing\x1b[2J", "--note", f"the password is {PASSWORD}")
    raw = json.dumps(entries(lone))
    shown = lone.run("audit", "show")

    assert PASSWORD not in raw + shown.out
    assert "\x1b" not in shown.out
    assert shown.code == 0


def test_a_log_that_was_cut_is_found_told_and_can_be_accepted(lone: Command) -> None:
    lone.ok("list")
    last(lone).unlink()

    assert lone.run("audit", "verify").code == 41
    status = lone.run("--json", "status", "--no-server").json
    assert ("critical", "audit cut") in [(p["level"], p["key"]) for p in status["problems"]]
    told = lone.run("prune")
    assert told.code == 0
    assert "the log was cut off, replaced or put back" in told.err
    verified = lone.run("--json", "audit", "verify")
    (found,) = verified.json["findings"]
    assert (verified.code, found["seq"]) == (41, 2)
    accepted = lone.run("audit", "verify", "--accept", f"db1/{found['seq']}")
    assert accepted.code == 0, accepted.said


def test_anchors_show_what_a_machine_without_memory_cannot_know(
    lone: Command, tmp_path: Path
) -> None:
    lone.ok("list")
    shelf = Repository(LocalStorage(lone.folder), bytes.fromhex(KEY))
    head = lone.ok("audit", "verify")["logs"][0]
    anchor = AuditAnchor(host="db1", seq=head["last"], digest=head["digest"], key="00" * 16)
    put_backup(shelf, Wanted(server_name="db1", key=shelf.key, audit=anchor))
    elsewhere = lone.having(BACKUP_STATE_DIR=str(tmp_path / "elsewhere"))

    found = elsewhere.ok("audit", "verify")
    assert (found["anchors"], found["findings"]) == (1, [])
    shutil.rmtree(folder(lone))
    gone = elsewhere.run("audit", "verify")
    assert gone.code == 41
    assert "is gone: the manifest of shop" in gone.said
    sealed = elsewhere.having(BACKUP_ENCRYPTION_KEY=None).run("audit", "verify")
    assert sealed.code == 60


def test_without_the_key_chain_and_signatures_are_checked_and_the_rest_is_not(
    lone: Command,
) -> None:
    lone.ok("list")
    without = lone.having(BACKUP_ENCRYPTION_KEY=None)
    done = without.run("audit", "verify")

    assert done.code == 60
    assert "cannot be read" in done.out
    shown = without.having(BACKUP_AUDIT="off").run("audit", "show")
    assert "(sealed)" in shown.out
    assert "DOUBTFUL" not in shown.out
    assert "no key is configured" in shown.out
    data = last(lone).read_bytes()
    last(lone).write_bytes(data.replace(b'"seq":', b'"seq" :'))
    assert without.run("audit", "verify").code == 41


def test_the_key_of_the_contents_removed_is_no_lack_of_a_key(lone: Command) -> None:
    lone.ok("list")
    shutil.rmtree(folder(lone) / "keys")
    done = lone.run("audit", "verify")

    assert done.code == 41
    assert "the key of the audit log of db1, is gone" in done.said
    lone.ok("list")
    assert lone.run("audit", "verify").code == 41


def test_a_repository_without_a_log_is_not_fine(tmp_path: Path) -> None:
    command = Command(
        home=tmp_path, settings={"BACKUP_DIR": str(tmp_path / "b"), "BACKUP_AUDIT": "off"}
    )
    command.ok("init")

    assert command.run("audit", "verify").code == 60
    assert command.run("audit", "show").code == 60


def test_two_machines_share_a_repository_and_each_has_its_log(lone: Command) -> None:
    other = lone.having(BACKUP_AUDIT_HOST="db2", BACKUP_STATE_DIR=str(lone.home / "state-of-db2"))
    other.ok("prune")
    lone.ok("prune")
    found = lone.ok("audit", "verify")

    assert [log["host"] for log in found["logs"]] == ["db1", "db2"]
    assert found["findings"] == []
    shutil.rmtree(folder(lone, "db2"))
    folder(lone).rename(folder(lone, "db2"))
    assert other.run("audit", "verify", "--host", "db2").code == 41


def test_commands_at_once_write_one_chain(lone: Command) -> None:
    processes = [lone.start("list") for _ in range(5)]
    assert [finish(process).code for process in processes] == [0] * 5

    assert runs(lone) == [("list", "ended")] * 5
    assert lone.run("audit", "verify").code == 0


def test_a_new_key_is_introduced_by_the_old_one(lone: Command) -> None:
    done = lone.ok("audit", "rotate-key")
    lone.ok("list")
    found = lone.ok("audit", "verify")

    assert found["logs"][0]["keys"] == [done["old"], done["new"]]
    assert found["findings"] == []
    assert lone.run("audit", "verify", "--key", done["old"]).code == 0
    (lone.home / "state" / "audit-key").unlink()
    lone.ok("list")
    assert lone.run("audit", "verify").code == 41
    third = str(lone.run("--json", "audit", "verify").json["logs"][0]["keys"][-1])
    assert lone.run("audit", "verify", "--key", done["old"], "--key", third).code == 0


def test_prune_trims_what_is_old_enough_and_a_dry_run_says_so(lone: Command) -> None:
    fresh = lone.having(BACKUP_AUDIT_HOST="db7")
    scribe = Scribe(
        lone.folder, host="db7", key=bytes.fromhex(KEY),
        signer=signer_in(lone.home / "state" / "audit-key"),
        clock=datetime.now(UTC) - timedelta(days=500),
    )  # fmt: skip
    for _ in range(3):
        scribe.run()
    scribe.clock = datetime.now(UTC) - timedelta(days=300)
    scribe.run()

    assert fresh.ok("prune", "--dry-run")["audit_entries"] == 7
    assert fresh.having(BACKUP_AUDIT_DAYS="0").ok("prune")["audit_entries"] == 0
    assert fresh.ok("prune")["audit_entries"] == 7
    assert scribe.numbers()[0] == 8
    assert fresh.ok("audit", "verify", "--host", "db7")["findings"] == []
    told = fresh.run("audit", "show", "--host", "db7", "--since", "400d")
    assert "7 old entries were removed" in told.out


def test_since_takes_a_date_or_a_span_and_refuses_the_rest(lone: Command) -> None:
    lone.ok("prune")
    assert len(lone.ok("audit", "show", "--since", "1h")["entries"]) == 3
    assert lone.ok("audit", "show", "--since", "2999-01-01")["entries"] == []
    assert len(lone.ok("audit", "show", "--host", "db1")["entries"]) == 5
    assert lone.run("audit", "show", "--since", "yesterday").code == 2


def test_help_is_quick_and_imports_no_cryptography(lone: Command) -> None:
    code = (
        "import sys; from ulasis_backup.cli import main; "
        "print([m for m in sys.modules if m.startswith('cryptography')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert lone.home.exists()


def _ways(command: Command, tmp_path: Path) -> dict[str, Callable[[], object]]:
    """Return how each command of the page is run, in an order in which it can be."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    schedule = ("--for", "windows", "--output", str(folder))
    made: dict[str, str] = {}

    def daemon() -> None:
        process = command.start("daemon")
        wait_until(lambda: ("daemon", "began") in runs(command))
        process.terminate()
        assert finish(process).code == 0

    def backup() -> None:
        made["name"] = command.backup()

    def named(*words: str) -> Callable[[], object]:
        return lambda: command.ok(*(made["name"] if word == "NAME" else word for word in words))

    return {
        "init": named("init"),
        "keys generate": named("keys", "generate", "--output", "a-key"),
        "check": lambda: command.run("check"),
        "self-test": lambda: command.having(BACKUP_PROGRAMS_DIR=str(folder)).run("self-test"),
        "backup": backup,
        "list": named("list"),
        "show": named("show", "NAME"),
        "verify": named("verify", "NAME"),
        "verify-all": named("verify-all"),
        "test-restore": named("test-restore", "NAME"),
        "restore": named("restore", "NAME", "--yes", "--skip-pre-restore-backup"),
        "undo": named("undo", "--yes"),
        "settle": named("settle"),
        "drop-leftovers": named("drop-leftovers", "--yes"),
        "export": named("export", "NAME", "--output", str(tmp_path / "out.sql")),
        "hold": named("hold", "NAME"),
        "release": named("release", "NAME"),
        "prune": named("prune"),
        "schedule install": named("schedule", "install", *schedule),
        "schedule remove": lambda: command.run("schedule", "remove", "--for", "cron"),
        "daemon": daemon,
        "audit show": named("audit", "show"),
        "audit rotate-key": named("audit", "rotate-key"),
    }


@pytest.mark.server
def test_every_command_of_the_page_leaves_its_entries_and_no_secret(
    command: Command, server: Server, database: str, tmp_path: Path
) -> None:
    make_orders(server, database, rows=20)
    command = command.having(
        BACKUP_ENCRYPTION_KEY=KEY, BACKUP_METHOD="rows", BACKUP_AUDIT_HOST="db1",
        SLACK_WEBHOOK_URL="", SMTP_PASSWORD=PASSWORD,
    )  # fmt: skip
    ways = _ways(command, tmp_path)
    assert sorted(ways) == sorted(documented())
    for run in ways.values():
        run()
    found = entries(command)
    said = {(one["says"]["command"], one["says"]["event"]) for one in found if one["says"]}
    two = {name for name, event in said if event == "began"}

    assert {name for name, event in said if event == "ended"} == set(ways)
    assert set(ways) - two == {"list", "show", "audit show"}
    assert command.ok("audit", "verify")["findings"] == []
    assert not any(secret in json.dumps(found) for secret in (KEY, PASSWORD))
    _expect_sealed(command, database)
    _expect_anchored(command)


def _expect_sealed(command: Command, database: str) -> None:
    """Expect that no file of the log names a table, the database or who worked on it."""
    files = [path for path in (command.folder / "audit").rglob("*") if path.is_file()]
    raw = b"".join(path.read_bytes() for path in files)

    assert len(files) > 40
    for name in (database, "orders", "customers", "rotate-key", "test-restore", str(command.home)):
        assert name.encode() not in raw
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def _expect_anchored(command: Command) -> None:
    """Expect that the manifest names the entry with which its run began."""
    (manifest,) = (json.loads(path.read_bytes()) for path in command.folder.glob("*.meta.json"))
    anchor = manifest["audit"]
    data = (command.folder / auditfile.path_of("db1", anchor["seq"])).read_bytes()
    says = next(one["says"] for one in entries(command) if one["number"] == anchor["seq"])

    assert anchor["digest"] == auditfile.digest_of(data)
    assert (says["command"], says["event"]) == ("backup", "began")


@pytest.mark.server
@pytest.mark.parametrize("method", ["sql", "rows"])
def test_the_first_backup_of_a_repository_is_anchored_too(
    command: Command, server: Server, database: str, method: str
) -> None:
    make_orders(server, database, rows=5)
    command = command.having(BACKUP_METHOD=method, BACKUP_AUDIT_HOST="db1")
    command.backup()

    _expect_anchored(command)
    found = command.ok("audit", "verify")
    assert (found["anchors"], found["findings"]) == (1, [])


def test_the_end_that_was_cut_off_is_missed_however_the_path_is_written(lone: Command) -> None:
    for _ in range(3):
        lone.ok("list")
    link = lone.home / "link"
    link.symlink_to(lone.folder)
    linked = lone.having(BACKUP_DIR=str(link))
    assert linked.ok("audit", "verify")["remembered"]
    last(lone).unlink()
    for one in (lone, linked):
        done = one.run("audit", "verify")
        assert (done.code, "this machine remembers it" in done.said) == (41, True), done.said


def test_what_nobody_remembers_is_not_said_to_be_held_against(lone: Command) -> None:
    lone.ok("list")
    elsewhere = lone.having(BACKUP_STATE_DIR=str(lone.home / "other"))
    done = elsewhere.run("audit", "verify")
    assert done.code == 0, done.said
    assert "this machine remembers nothing of this log" in done.said


def test_a_log_that_cannot_be_read_hides_none_of_the_others(lone: Command) -> None:
    lone.ok("list")
    other = lone.having(BACKUP_AUDIT_HOST="db2")
    other.ok("list")
    shutil.rmtree(folder(lone, "db2"))
    folder(lone, "db2").touch()
    # It is this machine that remembers a log of that name.
    done = other.run("audit", "verify")
    assert done.code == 60, done.said
    assert "db1: 2 entries" in done.said
    assert "NOT CHECKED: db2: its log cannot be read" in done.said


@pytest.mark.server
def test_a_manifest_that_was_changed_is_a_finding(
    command: Command, server: Server, database: str
) -> None:
    make_orders(server, database, rows=5)
    command = command.having(BACKUP_AUDIT_HOST="db1", BACKUP_ENCRYPTION_KEY=KEY)
    name = command.backup()
    (manifest,) = command.folder.glob("*.meta.json")
    text = manifest.read_text()
    digest = json.loads(text)["audit"]["digest"]
    manifest.chmod(0o600)
    manifest.write_text(text.replace(digest, "0" * len(digest)))
    done = command.run("audit", "verify")
    assert done.code == 41, done.said
    assert f"{name}.meta.json says of the log was changed" in done.said


@pytest.mark.server
def test_a_backup_that_is_signed_anew_is_not_the_one_that_was_made(
    command: Command, server: Server, database: str
) -> None:
    """Who has the repository's key can do that, and no check of the backup itself can tell."""
    make_orders(server, database, rows=50)
    command = command.having(BACKUP_AUDIT_HOST="db1", BACKUP_ENCRYPTION_KEY=KEY)
    name = command.backup()
    assert command.ok("audit", "verify")["findings"] == []

    environment = {"BACKUP_STATE_DIR": str(command.home / STATE), **command.settings}
    config = read_config(flags={}, environment=environment, folder=command.home)
    payload = parse_payload(name)
    assert payload
    forge_dump(
        build(config, ignore), payload, lambda dump: dump.replace(b"customer 7", b"customer 8")
    )

    assert command.ok("verify", name)["verdict"] == "intact"
    done = command.run("--json", "audit", "verify")
    assert done.code == 41, done.said
    assert f"{name} is not the backup that was made" in done.said


@pytest.mark.server
def test_a_backup_killed_after_its_manifest_is_told_of_and_its_manifest_names_its_begin(
    command: Command, server: Server, database: str
) -> None:
    make_orders(server, database, rows=5)
    command = command.having(BACKUP_AUDIT_HOST="db1")
    process = in_hook(command, "backup", "BACKUP_HOOK_AFTER_BACKUP")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    command.ok("list")

    assert runs(command) == [
        ("backup", "began"), ("backup", "interrupted"), ("list", "ended"),
    ]  # fmt: skip
    _expect_anchored(command)
    assert command.run("audit", "verify").code == 0


@pytest.mark.server
def test_a_restore_from_a_disk_mounted_read_only_works(
    command: Command, server: Server, database: str, small_disk: Path
) -> None:
    make_orders(server, database, rows=5)
    command = command.having(BACKUP_DIR=str(small_disk / "b"), BACKUP_AUDIT_HOST="db1")
    name = command.backup()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = command.run("restore", name, "--yes", "--skip-pre-restore-backup")
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)

    assert done.code == 0, done.said
    command.ok("list")
    said = [one["says"] for one in entries(command) if one["says"]]
    restores = [one for one in said if one["command"] == "restore"]
    assert [(one["event"], one["late"]) for one in restores] == [("began", True), ("ended", True)]
    assert restores[1]["backups"] == [name]
