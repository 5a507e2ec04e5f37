"""Hooks: commands of the user before and after a run, without a shell, with a time limit.

What a hook prints goes to the log, line by line. It learns of the run from its environment, which
is ours without every secret.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from ulasis_backup.errors import Refused
from ulasis_backup.settings import SECRETS, Settings

GRACE_SECONDS = 5
"""What a hook that is told to end gets before it is killed."""
LAST_WORDS = 3
OPERATIONS = {"verify-all": "verify", "test-restore": "verify"}
"""Which hooks an operation has, where that is not its own name."""


class HookFailed(Refused):
    """A hook could not be run, ended with another status than 0, or took too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A command of the user. ``name`` is its setting, ``seconds`` its time limit."""

    name: str
    words: tuple[str, ...]
    seconds: float
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


def hook_of(
    settings: Settings, moment: str, operation: str, facts: Mapping[str, str]
) -> Hook | None:
    """Return the hook ``before`` or ``after`` *operation*, told of *facts*; None without one.

    Raises HookFailed for a command line that cannot be parted into words.
    """
    setting = f"backup_hook_{moment}_{OPERATIONS.get(operation, operation)}"
    text: str = getattr(settings, setting, "")
    if not text.strip():
        return None
    kept = {k: v for k, v in os.environ.items() if k.lower() not in SECRETS and k != "MYSQL_PWD"}
    told = {"HOOK": moment, "OPERATION": operation, **facts}
    return Hook(
        name=setting.upper(),
        words=_words(setting.upper(), text),
        seconds=settings.backup_hook_timeout,
        environment={**kept, **{f"ULASIS_{k}": v.replace("\0", "") for k, v in told.items()}},
    )


def hurried(hook: Hook, seconds: float) -> Hook:
    """Return *hook* with *seconds* at the most."""
    return replace(hook, seconds=min(hook.seconds, seconds))


def run(hook: Hook) -> None:
    """Run *hook* to its end. Raises HookFailed with its last words."""
    process: subprocess.Popen[str] | None = None
    try:
        with _signals_held_back():
            process = _start(hook)
        listener = _Listener(hook, process)
        listener.start()
        status = _wait(hook, process)
        # What it left in the background may hold the pipe open: it is not waited for.
        listener.join(1.0)
    except BaseException:
        # We are being stopped: what we started must not go on alone.
        if process is not None and process.poll() is None:
            _end_group(process)
        raise
    _expect_good(hook, status, listener.last_words())


def _start(hook: Hook) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            hook.words, env=dict(hook.environment), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            text=True, errors="backslashreplace",
        )  # fmt: skip
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a command"
        message = f"{hook.name} cannot be run: {why}: {hook.words[0]}"
        raise HookFailed(message, hint="give its full path, and make it executable") from None


def _expect_good(hook: Hook, status: int | None, last_words: str) -> None:
    if status is None:
        raise HookFailed(
            f"{hook.name} was ended after {hook.seconds:g} s{last_words}",
            hint="make it faster, or set BACKUP_HOOK_TIMEOUT higher",
        )
    if status != 0:
        ended = f"status {status}" if status > 0 else f"signal {-status}"
        raise HookFailed(
            f"{hook.name} ended with {ended}{last_words}",
            hint=f"mend what it complains of, or take {hook.name} away",
        )


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Let SIGTERM and SIGINT come a moment later, when it is known what they have to end.

    By handlers, not by a mask or by ignoring: the hook would inherit these.
    """
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _frame: came.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for sent in came:
            signal.raise_signal(sent)


class _Listener(threading.Thread):
    """Logs what a hook prints, and remembers its last words."""

    def __init__(self, hook: Hook, process: subprocess.Popen[str]) -> None:
        super().__init__(daemon=True)
        self._hook = hook
        self._process = process
        self._last: list[str] = []

    def run(self) -> None:
        """Read until nobody holds the other end any more."""
        logger = structlog.get_logger()
        with suppress(OSError, ValueError):
            for line in self._process.stdout or ():
                logger.info("hook says", hook=self._hook.name, line=line.rstrip("\n"))
                if line.strip():
                    self._last = [*self._last, line.strip()][-LAST_WORDS:]

    def last_words(self) -> str:
        """Return the end of what it printed, to stand behind a message."""
        return f": {' / '.join(self._last)}" if self._last else ""


def _wait(hook: Hook, process: subprocess.Popen[str]) -> int | None:
    """Return the status of *process*, None if it took too long; then its whole group is ended."""
    try:
        return process.wait(timeout=hook.seconds)
    except subprocess.TimeoutExpired:
        _end_group(process)
        return None


def _end_group(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=GRACE_SECONDS)
    # The leader may have gone while others of the group are deaf.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _words(name: str, text: str) -> tuple[str, ...]:
    # A path with spaces in it is one word. A long command line is no name of a file: OSError.
    with suppress(OSError):
        if Path(text).is_file():
            return (text,)
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        message = f"{name} is no command line: {str(error).lower()}"
        raise HookFailed(message, hint="quotes must come in pairs; there is no shell") from None
