"""The command ``ulasis-backup``: global options, the commands, and the edge where errors end."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn, TextIO

import typer

from ulasis_backup import __version__, errors
from ulasis_backup.cli import (
    alerts,
    audit,
    backups,
    keep,
    proving,
    repository,
    restores,
    schedules,
    setup,
    statuses,
    undo,
    verifying,
)
from ulasis_backup.cli.session import Session, session_of
from ulasis_backup.errors import SettingsError, UlasisError

USAGE_HINT = "`ulasis-backup --help` lists commands and options"

STOPPED_RESTORE = (
    "until the swap the database is as it was, and `ulasis-backup settle` finishes or takes back "
    "what was left; one that was being restored in place is incomplete"
)

app = typer.Typer(
    name="ulasis-backup",
    help="Back up MySQL and MariaDB databases, verify the backups, and restore them.",
    epilog="To try it: `ulasis-backup demo`. To set it up: `ulasis-backup init`, then `check`.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    backups,
    verifying,
    proving,
    keep,
    repository,
    restores,
    undo,
    statuses,
    schedules,
    alerts,
    audit,
    setup,
):
    module.register(app)


class Forgiving(io.TextIOBase):
    """A stream whose failures do not become ours.

    A full disk under a log, a reader that has gone, a closed descriptor, or a letter that the
    terminal lacks must neither end a backup nor change the exit code of one that is made.
    """

    def __init__(self, stream: TextIO | None, descriptor: int) -> None:
        self._stream = stream
        self._descriptor = descriptor
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Return the encoding of the stream beneath."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write *text*, or drop it where that is not possible."""
        with self._forgiven():
            if self._stream is not None:
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        with self._forgiven():
            if self._stream is not None:
                self._stream.flush()

    def isatty(self) -> bool:
        """Tell whether a person is watching."""
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor beneath."""
        return self._descriptor

    @contextlib.contextmanager
    def _forgiven(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError):
            # What is still buffered goes nowhere, also at exit.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._descriptor)


class Terminated(BaseException):
    """SIGTERM arrived; everything is put in order on the way out."""


def _show_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"ulasis-backup {__version__}")
        raise typer.Exit


@app.callback()
def options(  # noqa: PLR0913 (one argument for each global option)
    context: typer.Context,
    *,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings file (TOML).")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Say more; twice for everything.")
    ] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say errors only.")] = False,
    backup_dir: Annotated[
        str | None, typer.Option("--backup-dir", metavar="DIR", help="BACKUP_DIR.")
    ] = None,
    database: Annotated[
        str | None, typer.Option("--database", metavar="NAME", help="DB_NAME.")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", metavar="NAME", help="DB_HOST.")] = None,
    port: Annotated[str | None, typer.Option("--port", metavar="NUMBER", help="DB_PORT.")] = None,
    socket: Annotated[
        str | None, typer.Option("--socket", metavar="PATH", help="DB_SOCKET.")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="NAME", help="DB_USER.")] = None,
    version: Annotated[  # noqa: ARG001 (its callback does the work)
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True,
            callback=lambda wanted: _show_version(wanted=wanted),
        ),
    ] = False,
) -> None:  # fmt: skip
    """Keep the global options for the command."""
    context.obj = Session(
        flags={
            "backup_dir": backup_dir, "db_name": database, "db_host": host, "db_port": port,
            "db_socket": socket, "db_user": user,
        },
        config_file=config,
        json=json,
        verbosity=-1 if quiet else verbose,
    )  # fmt: skip


def main() -> NoReturn:
    """Run the command line and end the process with the exit code of what happened."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.stdout, sys.stderr = Forgiving(sys.stdout, 1), Forgiving(sys.stderr, 2)
    code = _end(_run(_json_first(sys.argv[1:])))
    # What was done and said is done: a signal on the way out changes its exit code no more.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


def _end(code: int) -> int:
    """Let hooks, pings and alerts follow; whatever becomes of them, *code* is what happened."""
    session = session_of(sys.argv)
    try:
        return session.end(code)
    except (Terminated, KeyboardInterrupt):
        session.warn("stopped by a signal after the run; what was not sent is sent later")
    except Exception as error:  # noqa: BLE001 (the run is over; its outcome stands)
        session.warn(f"unexpected {type(error).__name__} after the run; this is a fault of ours")
    return code


def _json_first(arguments: list[str]) -> list[str]:
    """Let ``--json`` stand anywhere: behind the command is where people try it."""
    rest = [argument for argument in arguments if argument != "--json"]
    return rest if len(rest) == len(arguments) else ["--json", *rest]


def _run(arguments: list[str]) -> int:
    try:
        code = app(arguments, standalone_mode=False, prog_name="ulasis-backup")
    except typer.Exit as ended:
        code = ended.exit_code
    except typer.TyperException as error:
        return _fail(error.format_message(), USAGE_HINT, SettingsError.exit_code)
    except UlasisError as error:
        return _fail(error.message, error.hint, error.exit_code)
    except Terminated:
        code = errors.TERMINATED
    except (KeyboardInterrupt, typer.Abort):
        code = errors.INTERRUPTED
    except Exception as error:  # noqa: BLE001 (the edge: no traceback may show a secret)
        return _unexpected(error)
    # Typer turns Ctrl-C into an exit of this code.
    if code in (errors.INTERRUPTED, errors.TERMINATED):
        hint = STOPPED_RESTORE if "restore" in arguments else ""
        return _fail("stopped by a signal; no half-written backup is listed", hint, code)
    return code if isinstance(code, int) else 0


def _unexpected(error: Exception) -> int:
    if os.environ.get("ULASIS_BACKUP_TRACEBACK"):
        raise error
    where = error.__traceback__
    while where and where.tb_next:
        where = where.tb_next
    place = f" at {Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}" if where else ""
    message = f"unexpected {type(error).__name__}{place}; this is a fault of the program"
    hint = "set ULASIS_BACKUP_TRACEBACK=1, run it again, and report what it prints"
    return _fail(message, hint, errors.UNEXPECTED)


def _fail(message: str, hint: str, code: int) -> int:
    session_of(sys.argv).fail(message, hint, code)
    return code


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    # Once: a second signal must not cut the clean-up off.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated
