"""A real Prometheus scrapes our page, and the rules of the documents fire."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from support.manifests import MORNING
from support.memory import MemoryStorage
from support.server import free_port
from support.shelf import check, context_at, put
from ulasis_backup.model import Verdict
from ulasis_backup.operations import metrics
from ulasis_backup.operations.metrics_page import served
from ulasis_backup.operations.status import status

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / ".tools/prometheus"
RULES = ROOT / "docs/examples/prometheus-rules.yml"
SECONDS = 60
WANTED = {
    "UlasisBackupTooOld", "UlasisBackupNotProven", "UlasisBackupFailedVerdict",
    "UlasisBackupStorageNoRoom",
}  # fmt: skip
pytestmark = pytest.mark.skipif(
    not PROMETHEUS.exists(), reason="prometheus is not in .tools: run scripts/promtool"
)


def page(folder: Path, *, bad: bool) -> bytes:
    """Return metrics as of now: all is well, or everything is wrong that the rules look at."""
    world = context_at(folder)
    storage = world.repository.storage
    assert isinstance(storage, MemoryStorage)
    moment = datetime.now(MORNING.tzinfo)
    today = (moment - MORNING).days
    if bad:
        storage.free = 3
        check(world, put(world, days=today - 40), Verdict.PROVEN, MORNING)
        check(world, put(world, days=today - 3), Verdict.FAILED, MORNING)
        put(world, days=today - 2)
    else:
        storage.free = 10**12
        name = put(world, days=today)
        check(world, name, Verdict.PROVEN, MORNING + timedelta(days=today))
    return metrics.as_text(status(world, moment=moment), {})


@contextmanager
def prometheus(folder: Path, port: int) -> Iterator[str]:
    """Run Prometheus on loopback with our rules, which wait for nothing; yield its address."""
    rules = re.sub(r"(?m)^( +for:) \w+$", r"\1 0s", RULES.read_text("utf-8"))
    (folder / "rules.yml").write_text(rules, "utf-8")
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [
            {"job_name": "ulasis", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        ],
    }
    # JSON is YAML.
    (folder / "prometheus.yml").write_text(json.dumps(settings), "utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = [
        str(PROMETHEUS), f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield address
        finally:
            process.terminate()
            process.wait(30)


def asked(address: str, path: str) -> dict[str, object]:
    with urllib.request.urlopen(f"http://{address}/api/v1/{path}", timeout=5) as answer:
        found: dict[str, object] = json.load(answer)["data"]
    return found


def firing(address: str) -> set[str] | None:
    """Return the names of the alerts that fire; None where Prometheus does not answer."""
    with suppress(OSError):
        alerts = asked(address, "alerts")["alerts"]
        assert isinstance(alerts, list)
        return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}
    return None


def test_the_rules_fire_for_what_is_wrong_and_fall_silent_when_it_is_not(tmp_path: Path) -> None:
    pages = {bad: page(tmp_path / str(bad), bad=bad) for bad in (True, False)}
    bad = True
    with (
        served("127.0.0.1:0", lambda: pages[bad]) as port,
        prometheus(tmp_path, port) as address,
    ):
        found = until(lambda: WANTED.issubset(firing(address) or ()))
        assert found, (firing(address), (tmp_path / "log").read_text()[-2000:])
        bad = False
        assert until(lambda: firing(address) == set()), firing(address)


def until(holds: Callable[[], bool]) -> bool:
    """Wait until *holds*, for a minute at the most; return whether it came."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.5)
    return False
