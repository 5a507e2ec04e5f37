"""Hooks as real scripts around real runs."""

from __future__ import annotations

import os
import signal
import socket
import stat
import time
from pathlib import Path

import pytest

from support.manifests import Wanted, put_backup
from support.receivers import receiver, wait_until
from support.server import Command, finish
from ulasis_backup.repository import runs
from ulasis_backup.repository.repository import Repository, load
from ulasis_backup.storage.local import LocalStorage


@pytest.fixture
def prune(tmp_path: Path) -> Command:
    """Return the command with a repository, so that `prune` works without a server."""
    made = Command(
        home=tmp_path,
        settings={
            "BACKUP_DIR": str(tmp_path / "backups"), "BACKUP_STATE_DIR": str(tmp_path / "state"),
            "BACKUP_SERVER_NAME": "db1", "DB_NAME": "ulasis,other", "DB_PASSWORD": "s3cret-pass",
            "BACKUP_ENCRYPTION_KEY": "5c" * 32,
        },
    )  # fmt: skip
    made.ok("init")
    return made


def script(folder: Path, text: str, name: str = "hook") -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_hooks_learn_of_the_run_and_of_no_secret(prune: Command, tmp_path: Path) -> None:
    hook = script(tmp_path, 'env > "$1"; echo "said by $1"', "a hook with spaces")
    done = prune.having(
        BACKUP_HOOK_BEFORE_PRUNE=f"'{hook}' before", BACKUP_HOOK_AFTER_PRUNE=f"'{hook}' after"
    ).run("prune")

    assert done.code == 0
    assert "hook=BACKUP_HOOK_BEFORE_PRUNE" in done.err
    assert 'line="said by after"' in done.err
    before, after = ((tmp_path / name).read_text() for name in ("before", "after"))
    lines = after.splitlines()
    for wanted in (
        "ULASIS_HOOK=after", "ULASIS_OPERATION=prune", "ULASIS_DATABASES=ulasis,other",
        "ULASIS_SERVER=db1", f"ULASIS_REPOSITORY={prune.folder}", "ULASIS_STATUS=ok",
        "ULASIS_EXIT_CODE=0", "ULASIS_MESSAGE=",
    ):  # fmt: skip
        assert wanted in lines
    assert "ULASIS_STATUS" not in before
    assert "s3cret-pass" not in before + after
    assert "5c5c" not in before + after


def test_a_path_with_spaces_alone_is_one_word(prune: Command, tmp_path: Path) -> None:
    hook = script(tmp_path, "touch ran", "a hook with spaces")

    assert prune.having(BACKUP_HOOK_BEFORE_PRUNE=hook).run("prune").code == 0
    assert (tmp_path / "ran").exists()


def test_no_shell_reads_the_command_line(prune: Command, tmp_path: Path) -> None:
    prune.having(BACKUP_HOOK_BEFORE_PRUNE="echo x; touch ran").run("prune")

    assert not (tmp_path / "ran").exists()


def test_a_before_that_fails_stops_the_run_and_its_last_words_are_told(
    prune: Command, tmp_path: Path
) -> None:
    hook = script(tmp_path, "echo one; echo 'the mount is gone' >&2; exit 3")
    with receiver() as slack:
        done = prune.having(
            BACKUP_HOOK_BEFORE_PRUNE=hook, SLACK_WEBHOOK_URL=slack.url,
            BACKUP_HOOK_AFTER_PRUNE=script(tmp_path, "touch after-ran", "after"),
        ).run("prune")  # fmt: skip

    assert done.code == 50
    assert "BACKUP_HOOK_BEFORE_PRUNE ended with status 3: one / the mount is gone" in done.err
    assert "phase=prune" not in done.err
    assert not (tmp_path / "after-ran").exists()
    assert "the mount is gone" in slack.bodies()[0]


def test_a_backup_that_its_hook_stops_is_a_failed_run_after_which_nothing_is_pruned(
    prune: Command, tmp_path: Path
) -> None:
    storage, key = LocalStorage(prune.folder), bytes.fromhex("5c" * 32)
    wanted = Wanted(server_name="db1", database="other", key=key)
    name = put_backup(Repository(storage, key), wanted)
    series = load(Repository(storage, key), name).header.series
    runs.succeed(storage, series, at="2026-11-22T02:00:00+00:00", backup_id=name.backup_id)

    hook = script(tmp_path, "exit 3")
    assert prune.having(BACKUP_HOOK_BEFORE_BACKUP=hook).run("backup").code != 0

    last = runs.last_run(storage, series)
    assert (last.state, last.error) == (runs.State.FAILED, "HookFailed")


def test_an_after_that_fails_is_a_warning(prune: Command, tmp_path: Path) -> None:
    done = prune.having(BACKUP_HOOK_AFTER_PRUNE=script(tmp_path, "exit 3")).run("prune")

    assert done.code == 0
    assert "WARNING  BACKUP_HOOK_AFTER_PRUNE ended with status 3" in done.err


def test_an_after_learns_of_a_failure(prune: Command, tmp_path: Path) -> None:
    hook = script(tmp_path, 'echo "$ULASIS_STATUS $ULASIS_EXIT_CODE $ULASIS_MESSAGE" > told')
    done = prune.having(
        BACKUP_HOOK_AFTER_BACKUP=hook, DB_SOCKET=str(tmp_path / "nobody"), DB_NAME="ulasis"
    ).run("backup")

    assert done.code == 11
    assert (tmp_path / "told").read_text().startswith("failed 11 no connection to the server")


@pytest.mark.parametrize("text", ["/nowhere/hook", "'unpaired", "/etc/hostname"])
def test_a_hook_that_cannot_be_run_stops_the_run(prune: Command, text: str) -> None:
    done = prune.having(BACKUP_HOOK_BEFORE_PRUNE=text).run("prune")

    assert done.code == 50
    assert "BACKUP_HOOK_BEFORE_PRUNE" in done.err
    assert "HINT" in done.err


def test_a_long_command_line_is_no_path(prune: Command, tmp_path: Path) -> None:
    word = "x" * 300
    done = prune.having(BACKUP_HOOK_BEFORE_PRUNE=f"/usr/bin/touch {word[:9]} -- {word}").run(
        "prune"
    )

    assert done.code == 50
    assert "File name too long" in done.err
    assert (tmp_path / word[:9]).exists()


def test_a_hook_that_takes_too_long_is_ended_with_all_it_started(
    prune: Command, tmp_path: Path
) -> None:
    hook = script(tmp_path, "trap '' TERM; sleep 1000 & echo $! > child; echo waiting; wait")
    done = prune.having(BACKUP_HOOK_BEFORE_PRUNE=hook, BACKUP_HOOK_TIMEOUT="1").run("prune")

    assert done.code == 50
    assert "BACKUP_HOOK_BEFORE_PRUNE was ended after 1 s: waiting" in done.err
    assert not alive(int((tmp_path / "child").read_text()))


def test_what_a_hook_leaves_in_the_background_is_not_waited_for(
    prune: Command, tmp_path: Path
) -> None:
    hook = script(tmp_path, "sleep 1000 & echo $! > child")
    done = prune.having(BACKUP_HOOK_BEFORE_PRUNE=hook).run("prune")

    child = int((tmp_path / "child").read_text())
    try:
        assert done.code == 0
        assert alive(child)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_signal_ends_the_hook_that_runs(prune: Command, tmp_path: Path) -> None:
    hook = script(tmp_path, "echo $$ > child; exec sleep 1000")
    process = prune.having(BACKUP_HOOK_BEFORE_PRUNE=hook).start("prune")
    wait_until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text())
    process.terminate()

    assert finish(process).code == 143
    assert not alive(int((tmp_path / "child").read_text()))


def alive(pid: int) -> bool:
    """Tell whether *pid* runs; a zombie, whom nobody has buried yet, does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_failure_is_told_of_although_a_signal_ends_the_hook_after_it(
    prune: Command, tmp_path: Path
) -> None:
    hook = script(tmp_path, "echo $$ > child; exec sleep 1000")
    with receiver() as slack:
        process = prune.having(
            BACKUP_HOOK_AFTER_BACKUP=hook, DB_SOCKET=str(tmp_path / "nobody"), DB_NAME="ulasis",
            SLACK_WEBHOOK_URL=slack.url,
        ).start("backup")  # fmt: skip
        wait_until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text())
        process.terminate()
        done = finish(process)

    assert done.code == 11
    assert "FAILED: server unreachable" in slack.bodies()[0]
    assert not alive(int((tmp_path / "child").read_text()))


def test_after_sigterm_people_are_told_first_and_the_hook_gets_a_moment(
    prune: Command, tmp_path: Path
) -> None:
    hook = script(tmp_path, "cat state/alerts-*.json > seen; exec sleep 1000")
    address = str(tmp_path / "silent")
    with receiver() as slack, receiver() as ping, socket.socket(socket.AF_UNIX) as silent:
        silent.bind(address)
        silent.listen()
        process = prune.having(
            BACKUP_HOOK_AFTER_BACKUP=hook, DB_SOCKET=address, DB_NAME="ulasis",
            SLACK_WEBHOOK_URL=slack.url, BACKUP_PING_URL=f"{ping.url}/uuid",
        ).start("backup")  # fmt: skip
        peer, _ = silent.accept()
        with peer:
            process.terminate()
            begun = time.monotonic()
            wait_until((tmp_path / "seen").exists)
            told, pinged = list(slack.bodies()), ping.paths()
            done = finish(process)

    assert done.code == 143
    assert time.monotonic() - begun < 15
    assert "FAILED: stopped by a signal" in told[0]
    assert pinged == ["/uuid/start", "/uuid/fail"]
    assert '"queue": []' in (tmp_path / "seen").read_text()
    assert "BACKUP_HOOK_AFTER_BACKUP was ended after 5 s" in done.err
