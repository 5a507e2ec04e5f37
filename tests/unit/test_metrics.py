"""Metrics: what Prometheus and its tools make of them, of the rules, and of the dashboard."""

from __future__ import annotations

import base64
import json
import re
import socket
import subprocess
import threading
import traceback
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr

from support.manifests import KEY, MORNING, Wanted, put_backup
from support.receivers import receiver
from support.shelf import check, context_at, put
from ulasis_backup.cli.runs import Run
from ulasis_backup.cli.session import Session
from ulasis_backup.errors import (
    INTERRUPTED,
    BackupNotFound,
    FollowUpFailed,
    SettingsError,
    StorageDenied,
)
from ulasis_backup.events import BytesMoved, PhaseBegan, PhaseEnded, ignore
from ulasis_backup.model import Verdict
from ulasis_backup.operations import metrics
from ulasis_backup.operations.metrics_page import served
from ulasis_backup.operations.runlog import RunRecord, Timings, last_runs, note_run
from ulasis_backup.operations.status import status
from ulasis_backup.operations.status_values import Status

ROOT = Path(__file__).parents[2]
PROMTOOL = ROOT / ".tools/promtool"
EXAMPLES = ROOT / "docs/examples"
EVENING = MORNING + timedelta(hours=10)
RUNS = {
    "backup": RunRecord(
        at=EVENING.isoformat(), exit_code=0, seconds=9.5, phases={"dump": 8.0},
        succeeded_at=EVENING.isoformat(),
    ),
    "verify-all": RunRecord(at=EVENING.isoformat(), exit_code=40, seconds=1.0),
}  # fmt: skip
KEYS = {"instance": "db1:3306", "group": "shop@b"}
needs_promtool = pytest.mark.skipif(
    not PROMTOOL.exists(), reason="promtool is not in .tools: run scripts/promtool"
)


@pytest.fixture
def found(tmp_path: Path) -> Status:
    world = context_at(tmp_path)
    check(world, put(world, days=-1), Verdict.FAILED, EVENING)
    check(world, put(world), Verdict.PROVEN, EVENING)
    return status(world, moment=EVENING)


def _values(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_the_metrics_say_what_the_status_says(found: Status) -> None:
    values = _values(metrics.as_text(found, RUNS).decode())
    labels = 'databases="shop",server="db1:3306"'
    newest = (
        f'ulasis_backup_newest_timestamp_seconds{{databases="shop",method="sql",{labels[17:]}}}'
    )

    assert values["ulasis_backup_status_level"] == 1
    assert values[newest] == MORNING.timestamp()
    assert values[f"ulasis_backup_newest_proven_timestamp_seconds{{{labels}}}"] == values[newest]
    assert values[f"ulasis_backup_rpo_seconds{{{labels}}}"] == 36_000
    assert values[f'ulasis_backup_backups{{{labels},verdict="failed"}}'] == 1
    assert values['ulasis_backup_run_exit_code{operation="verify-all"}'] == 40
    assert values['ulasis_backup_run_phase_seconds{operation="backup",phase="dump"}'] == 8.0
    assert 'ulasis_backup_run_succeeded_timestamp_seconds{operation="verify-all"}' not in values


def test_a_younger_backup_by_the_other_method_hides_none(tmp_path: Path) -> None:
    world = context_at(tmp_path)
    put(world, days=-6)
    for day in (-2, -1, 0):
        put_backup(world.repository, Wanted(days=day, key=KEY, method="rows"))

    values = _values(metrics.as_text(status(world, moment=EVENING), {}).decode())

    name = "ulasis_backup_newest_timestamp_seconds"
    found = {key: value for key, value in values.items() if key.startswith(name)}
    days = {"sql": -6, "rows": 0}
    assert found == {
        f'{name}{{databases="shop",method="{method}",server="db1:3306"}}': (
            MORNING + timedelta(days=day)
        ).timestamp()
        for method, day in days.items()
    }


@needs_promtool
def test_prometheus_finds_nothing_wrong_with_them(found: Status) -> None:
    done = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=metrics.as_text(found, RUNS),
        capture_output=True, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr, done.stdout) == (0, b"", b"")


@needs_promtool
def test_the_alert_rules_fire_when_they_have_to() -> None:
    done = subprocess.run(
        [PROMTOOL, "test", "rules", ROOT / "tests/data/alert-rules-test.yml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_dashboard_and_document_name_metrics_that_exist(found: Status) -> None:
    text = metrics.as_text(found, RUNS).decode()
    there = set(re.findall(r"(?m)^# HELP (\S+)", text)) | {
        "ulasis_backup_repository_free_bytes", "ulasis_backup_repository_full_timestamp_seconds",
    }  # fmt: skip
    named = re.compile(r"\bulasis_backup_[a-z_]+\b")
    for name in ("prometheus-rules.yml", "grafana-dashboard.json"):
        assert set(named.findall((EXAMPLES / name).read_text())) <= there, name
    document = (ROOT / "docs/reference/metrics.md").read_text()
    assert set(named.findall(document)) == there


def test_the_dashboard_is_one_of_grafana() -> None:
    board = json.loads((EXAMPLES / "grafana-dashboard.json").read_text())
    places = [panel["gridPos"] for panel in board["panels"]]

    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]) >= 10
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert all(panel["targets"] for panel in board["panels"])


def test_a_file_for_the_collector_is_whole_and_readable(found: Status, tmp_path: Path) -> None:
    path = tmp_path / "textfile/ulasis.prom"
    metrics.write_file(path, found, RUNS)

    assert path.read_bytes() == metrics.as_text(found, RUNS)
    assert path.stat().st_mode & 0o777 == 0o644
    assert [child.name for child in path.parent.iterdir()] == [path.name]
    (tmp_path / "file").write_text("")
    with pytest.raises(FollowUpFailed, match="BACKUP_METRICS_FILE"):
        metrics.write_file(tmp_path / "file/x.prom", found, RUNS)


@contextmanager
def _gateway(code: int = 200) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    got: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(code)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_metrics_are_pushed_to_a_gateway(found: Status) -> None:
    with _gateway() as (address, got):
        metrics.push(address, found, RUNS, keys=KEYS)

    ((path, body),) = got
    assert path.startswith("/metrics/job/ulasis_backup/group")
    assert "/instance/" in path
    assert body == metrics.as_text(found, RUNS)


def test_a_gateway_that_is_not_there_is_told_without_its_address(tmp_path: Path) -> None:
    world = context_at(tmp_path, backup_pushgateway_url=SecretStr("http://user:hush@127.0.0.1:9"))
    put(world)

    with pytest.raises(FollowUpFailed) as raised:
        metrics.publish(world.config, status(world, moment=EVENING), {})

    assert "hush" not in str(raised.value) + raised.value.hint
    with _gateway(500) as (address, _), pytest.raises(FollowUpFailed):
        metrics.push(address, status(world, moment=EVENING), {}, keys=KEYS)


@pytest.mark.parametrize("address", ["http://user:hu%40sh@{}", "user:hu%40sh@{}"])
def test_a_login_in_the_address_of_a_gateway_reaches_it(found: Status, address: str) -> None:
    with receiver() as gateway:
        metrics.push(address.format(gateway.url[7:]), found, RUNS, keys=KEYS)

    ((path, body),) = gateway.accepted
    assert path.startswith("/metrics/job/ulasis_backup/")
    assert body.encode() == metrics.as_text(found, RUNS)
    login = base64.b64encode(b"user:hu@sh").decode()
    assert gateway.headers[0]["Authorization"] == f"Basic {login}"


@pytest.mark.parametrize(
    "address", ["http://user:hush@127.0.0.1:po@rt", "http://[hush", "http://a b:hush"]
)
def test_an_address_that_is_none_is_told_without_it(found: Status, address: str) -> None:
    with pytest.raises(FollowUpFailed, match="BACKUP_PUSHGATEWAY_URL was not reached") as raised:
        metrics.push(address, found, RUNS, keys=KEYS)

    assert "hush" not in "".join(traceback.format_exception(raised.value))


def test_a_gateway_that_speaks_something_else_is_told(found: Status) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_greet, args=(server,))
        thread.start()
        with pytest.raises(FollowUpFailed, match="was not reached: BadStatusLine"):
            metrics.push(f"127.0.0.1:{server.getsockname()[1]}", found, RUNS, keys=KEYS)
        thread.join()


def _greet(server: socket.socket) -> None:
    peer, _ = server.accept()
    with peer:
        peer.recv(1 << 16)
        peer.sendall(b"220 mail.example.com ESMTP\r\n")


def test_the_page_of_the_daemon_answers_and_says_when_it_cannot() -> None:
    pages = [b"one\n", b"two\n"]

    def page() -> bytes:
        if pages:
            return pages.pop(0)
        raise StorageDenied("no")

    with served("127.0.0.1:0", page) as port:
        address = f"http://127.0.0.1:{port}"
        answers = [urllib.request.urlopen(f"{address}/metrics").read() for _ in range(2)]  # noqa: S310 (ours)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{address}/")  # noqa: S310 (ours)
        with pytest.raises(SettingsError, match="cannot listen"), served(f"127.0.0.1:{port}", page):
            pass
    assert answers == [b"one\n", b"one\n"], "an answer is given again for a while"
    pages.clear()
    with served("127.0.0.1:0", page) as port, pytest.raises(urllib.error.HTTPError, match="503"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics")


def test_runs_are_remembered_with_their_phases_and_last_success(tmp_path: Path) -> None:
    config = context_at(tmp_path).config
    timings = Timings()
    observe = timings.watching(ignore)
    for event in (PhaseBegan(name="dump"), BytesMoved(done=1), PhaseEnded(name="dump")):
        observe(event)

    for code in (0, 11):
        note_run(
            config, "backup", ended=EVENING + timedelta(hours=code), exit_code=code, seconds=2.0,
            phases=timings.seconds, good=code == 0,
        )  # fmt: skip

    record = last_runs(config)["backup"]
    assert record.exit_code == 11
    assert record.succeeded_at == EVENING.isoformat()
    assert set(record.phases) == {"dump"}


def test_a_state_folder_that_cannot_be_written_harms_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = context_at(tmp_path, backup_state_dir=tmp_path / "file/state").config

    note_run(config, "backup", ended=EVENING, exit_code=0, seconds=1.0, phases={}, good=True)

    assert last_runs(config) == {}


def test_what_other_settings_have_pushed_stays(found: Status, tmp_path: Path) -> None:
    others: tuple[dict[str, object], ...] = ({}, {"db_name": "b"}, {"backup_dir": tmp_path / "b"})
    with _gateway() as (address, got):
        url = SecretStr(address)
        for other in others:
            config = context_at(tmp_path, **{"backup_pushgateway_url": url, **other}).config
            metrics.publish(config, found, RUNS)
        metrics.publish(context_at(tmp_path, backup_pushgateway_url=url).config, None, RUNS)

    paths = [path for path, _ in got]
    assert len(set(paths)) == 3
    assert paths[3] == paths[0], "what cannot be read replaces what was"


def test_metrics_of_a_repository_that_cannot_be_read_are_not_green(tmp_path: Path) -> None:
    (tmp_path / "backups").write_text("a file in the way")
    path = tmp_path / "ulasis.prom"
    config = context_at(tmp_path, backup_dir=tmp_path / "backups", backup_metrics_file=path).config
    metrics.publish(config, status(context_at(tmp_path / "other")), {})

    Run("backup", config, at_terminal=False).end(StorageDenied.exit_code, Session())

    values = _values(path.read_text())
    assert values["ulasis_backup_status_level"] == 3
    assert values['ulasis_backup_run_exit_code{operation="backup"}'] == StorageDenied.exit_code
    assert not any("newest" in name or "repository" in name for name in values)


def test_a_slip_at_a_terminal_and_ctrl_c_are_no_last_run(tmp_path: Path) -> None:
    config = context_at(tmp_path, backup_dir=tmp_path / "backups").config

    Run("verify", config, at_terminal=True).end(BackupNotFound.exit_code, Session())
    Run("backup", config, at_terminal=True).end(INTERRUPTED, Session())
    Run("prune", config, at_terminal=True).end(StorageDenied.exit_code, Session())

    assert set(last_runs(config)) == {"prune"}


def _ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not _ipv6(), reason="there is no IPv6 here")
def test_the_page_is_answered_at_an_address_of_ipv6() -> None:
    with (
        served("[::1]:0", lambda: b"found") as port,
        urllib.request.urlopen(f"http://[::1]:{port}/metrics") as answer,
    ):
        assert answer.read() == b"found"
