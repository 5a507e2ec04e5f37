"""``demo``: the whole cycle from nothing, and nothing is left behind."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from support.faults import processes_with
from support.server import Command

pytestmark = [pytest.mark.server, pytest.mark.slow]


def test_the_demo_restores_everything_and_leaves_nothing(tmp_path: Path) -> None:
    temporary = Path("/tmp") / f"ulasis-demo-test-{os.getpid()}"
    temporary.mkdir()
    try:
        home = tmp_path / "home"
        home.mkdir()
        # No settings at all, and none of the folder it is run in.
        command = Command(home=home, settings={"TMPDIR": str(temporary)})
        done = command.run("--json", "demo")
        assert done.code == 0, done.said
        found = json.loads(done.out)
        assert found["restored"] == {"differences": [], "equal": True}
        assert found["disaster"]["differences"]
        assert found["rows"] >= 200_000
        assert found["verdict"] == "intact"
        assert found["proof"] == "proven"
        rows = found["rows_method"]
        assert rows["equal"] is True
        assert rows["second_bytes"] < rows["first_bytes"] / 10
        assert found["seconds"] < 120
        assert list(home.iterdir()) == []
        assert list(temporary.iterdir()) == []
        assert processes_with(str(temporary)) == []
    finally:
        temporary.rmdir()
