"""What a command does not load, it does not pay for."""

from __future__ import annotations

import subprocess
import sys

BACKUP = """
import sys
import ulasis_backup.cli.main, ulasis_backup.cli.runs, ulasis_backup.app
import ulasis_backup.operations.backup, ulasis_backup.operations.follow_up
import ulasis_backup.operations.prune, ulasis_backup.operations.watch
print(*sorted(name for name in ("numpy", "apprise") if name in sys.modules))
"""


def test_a_backup_does_not_load_what_only_others_need() -> None:
    """Of the 250 MB that it may take numpy alone would be eleven."""
    done = subprocess.run(
        [sys.executable, "-c", BACKUP], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
